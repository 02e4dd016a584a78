"""Seeing as a stream: weights of all that was seen so far, at stated seconds, in bounded memory."""

from __future__ import annotations

import gc
import io
import logging
import os
import re
import socket
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
import torch

import media
import tiny
from vipe import Frames, PerceptualWeights, ViPE
from vipe.errors import VideoError
from vipe.frames import EveryFrame, Rate, Sampling, Uniform, read_frames
from vipe.merging import HierarchicalMerge, MergeConfig
from vipe.streaming import see_parts, watch_stream


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=50, rate=10)


def assert_same(one: PerceptualWeights, other: PerceptualWeights) -> None:
    assert one.targets == other.targets
    for target in one.targets:
        assert torch.equal(one.A[target], other.A[target])
        assert torch.equal(one.B[target], other.B[target])


def until(seen: list[PerceptualWeights]) -> list[float]:
    return [float(one.metadata["until"]) for one in seen]


def first(frames: Frames, count: int, duration: float | None = None) -> Frames:
    return Frames(
        pixels=frames.pixels[:count],
        seconds=frames.seconds[:count],
        duration=frames.duration if duration is None else duration,
    )


def camera(frames: Frames) -> Iterator[Frames]:
    """One frame after the other, of a video whose length nobody knows."""
    for i in range(len(frames)):
        yield Frames(pixels=frames.pixels[i : i + 1], seconds=frames.seconds[i : i + 1])


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "vipe-read-ahead"]


# What is yielded, and when ----------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [Rate(4), EveryFrame(), Uniform(9), 3], ids=repr)
def test_the_last_weights_of_a_file_are_those_of_see(
    tiny_vipe: ViPE, clip: Path, sampling: int | Sampling
) -> None:
    seen = list(tiny_vipe.see_stream(clip, every=2, frames=sampling))
    whole = tiny_vipe.see(clip, frames=sampling)
    assert until(seen) == [2, 4, 5]
    assert_same(seen[-1], whole)
    assert seen[-1].metadata == {**whole.metadata, "until": "5.000"}
    with io.BytesIO(clip.read_bytes()) as stream:
        assert_same(list(tiny_vipe.see_stream(stream, every=9, frames=sampling))[-1], whole)
    assert not readers()


@pytest.mark.parametrize("every", [0.5, 1.0, 1.7, 2.0, 3.0, 100.0])
def test_each_yield_is_what_see_gives_of_the_frames_so_far(tiny_vipe: ViPE, every: float) -> None:
    frames = tiny.frames(23)  # at 0.25, 0.75, …, of 11.5 seconds; clips of four
    seen = list(tiny_vipe.see_stream(frames, every=every))
    seconds = until(seen)
    assert seconds[-1] == 11.5
    assert len(set(seconds)) == len(seconds) == int(11.25 / every) + 1
    for one, second in zip(seen, seconds, strict=True):
        count = int((frames.seconds < second).sum())
        assert one.metadata["frames"] == str(count)
        assert_same(one, tiny_vipe.see(first(frames, count, second)))
    assert_same(seen[-1], tiny_vipe.see(frames))


def test_weights_answer_while_the_video_goes_on(tiny_vipe: ViPE) -> None:
    frames = tiny.frames(20)
    given = 0

    def live() -> Iterator[Frames]:
        nonlocal given
        for frame in camera(frames):
            given += 1
            yield frame

    with closing(tiny_vipe.see_stream(live(), every=2)) as stream:
        seen = next(stream)
        assert given < 20
        seen.check_fits(tiny_vipe.language_model)
        assert isinstance(tiny_vipe.ask(seen, "Why?"), str)
        assert float(next(stream).metadata["until"]) == 4


def test_frames_far_apart_are_yielded_once(tiny_vipe: ViPE) -> None:
    pixels = tiny.frames(3).pixels
    video = Frames(pixels=pixels, seconds=torch.tensor([25.0, 26.0, 58.0]))
    seen = list(tiny_vipe.see_stream(camera(video), every=10))
    assert until(seen) == [50, 58]
    assert [one.metadata["frames"] for one in seen] == ["2", "3"]


def test_a_picture_is_a_stream_of_one_frame(tiny_vipe: ViPE) -> None:
    picture = tiny.frames(1, duration=0.0)
    (seen,) = tiny_vipe.see_stream(picture)
    assert_same(seen, tiny_vipe.see(picture))


def test_a_merge_is_not_disturbed_by_looking(unchecked: None) -> None:
    config = MergeConfig(frames_per_clip=2, budget=8)
    plain, watched = HierarchicalMerge(config), HierarchicalMerge(config)
    for _ in range(11):
        clip, extra = tiny.patches(1, 2), tiny.patches(1, 1)
        plain.push(*clip)
        watched.push(*clip)
        fork = watched.fork()
        fork.push(*extra)
        fork.result()
        one, other = plain.result(), watched.result()
        assert torch.equal(one.features, other.features)
        assert torch.equal(one.centre, other.centre)
        assert torch.equal(one.size, other.size)


# Live sources ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [3, Uniform(3)])
def test_a_live_video_cannot_be_sampled_evenly(tiny_vipe: ViPE, sampling: int | Sampling) -> None:
    with pytest.raises(VideoError, match="length is not known: sample it by Rate or EveryFrame"):
        tiny_vipe.see_stream(camera(tiny.frames(3)), frames=sampling)


@pytest.mark.parametrize("every", [0, -1.0, float("inf"), float("nan")])
def test_a_wrong_interval_is_an_error(tiny_vipe: ViPE, every: float) -> None:
    with pytest.raises(ValueError, match="every must be above 0"):
        tiny_vipe.see_stream(tiny.frames(3), every=every)
    with pytest.raises(ValueError, match="merge_ratio"):
        tiny_vipe.see_stream(tiny.frames(3), merge_ratio=1.0)


def test_no_frames_are_an_error(tiny_vipe: ViPE) -> None:
    with pytest.raises(ValueError, match="no frames"):
        list(tiny_vipe.see_stream([]))


def test_a_live_video_is_sampled_by_rate(tiny_vipe: ViPE) -> None:
    frames = tiny.frames(21)  # two a second
    (seen,) = tiny_vipe.see_stream(camera(frames), every=100, frames=Rate(1))
    chosen = [0, 1, *range(3, 21, 2)]  # the first for want of one at 0, then those of 1, 2, …
    wanted = Frames(pixels=frames.pixels[chosen], seconds=frames.seconds[chosen])
    assert_same(seen, tiny_vipe.see(wanted))


def test_a_pipe_is_seen_while_it_is_written(tiny_vipe: ViPE, tmp_path: Path) -> None:
    path = media.video(tmp_path / "live.mkv", frames=120, rate=10, key_every=5)
    content, (read, write) = path.read_bytes(), os.pipe()
    seen_something = threading.Event()

    def send() -> None:
        with open(write, "wb") as out:  # noqa: PTH123  # a descriptor, not a path
            out.write(content[: len(content) * 2 // 3])
            out.flush()
            seen_something.wait(20)
            out.write(content[len(content) * 2 // 3 :])

    sender = threading.Thread(target=send)
    sender.start()
    seen = []
    with open(read, "rb") as stream:  # noqa: PTH123
        for weights in tiny_vipe.see_stream(stream, every=3, frames=Rate(2)):
            waited = not seen_something.is_set()
            seen_something.set()
            seen.append(weights)
            assert waited or len(seen) > 1
    sender.join()
    assert until(seen) == [3, 6, 9, 11.5]
    frames = read_frames(path, Rate(2), size=64)
    assert_same(seen[-1], tiny_vipe.see(Frames(pixels=frames.pixels, seconds=frames.seconds)))


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_a_video_that_is_served(
    tiny_vipe: ViPE, tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = media.video(tmp_path / "clip.mkv", frames=60, rate=10, key_every=5)
    with (
        media.served(path.read_bytes(), share) as place,
        urlopen(f"http://{place}/") as response,
    ):
        seen = list(tiny_vipe.see_stream(response, every=2))
    if share == 1:
        assert until(seen) == [2, 4, 5.5]
        assert "cut_off" not in seen[-1].metadata
        assert not caplog.records
    else:
        assert until(seen)[0] == 2
        assert 2 < until(seen)[-1] < 5
        assert "of 6.00 s" in seen[-1].metadata["cut_off"]


def test_a_stream_is_seen_up_to_a_second(tiny_vipe: ViPE, clip: Path) -> None:
    frames = tiny.frames(23)
    for video in (frames, camera(frames)):
        seen = list(tiny_vipe.see_stream(video, every=4, until=5))
        assert until(seen) == [4, 5] if video is frames else until(seen) == [4, 4.75]
        assert seen[-1].metadata["frames"] == "10"
        assert_same(seen[-1], tiny_vipe.see(first(frames, 10, 5.0 if video is frames else 0.0)))
    spent: dict[str, float] = {}
    (seen,) = tiny_vipe.see_stream(clip, every=9, until=3, frames=Rate(2), seconds=spent)
    assert (seen.metadata["until"], seen.metadata["frames"]) == ("3.000", "6")
    assert min(spent.values()) > 0
    with pytest.raises(ValueError, match="until must be above 0"):
        tiny_vipe.see_stream(clip, until=0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_live(tiny_vipe: ViPE, tmp_path: Path) -> None:
    path = media.video(tmp_path / "clip.mkv", frames=30, rate=10)
    pipe = tmp_path / "pipe.mkv"
    os.mkfifo(pipe)
    sender = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    sender.start()
    (seen,) = tiny_vipe.see_stream(pipe, every=100)
    sender.join()
    assert (seen.metadata["video"], seen.metadata["frames"]) == ("pipe.mkv", "6")
    with pytest.raises(VideoError, match="sample it by Rate"):
        tiny_vipe.see(pipe)


def test_a_transport_stream_at_an_address(tiny_vipe: ViPE, tmp_path: Path) -> None:
    path = media.video(tmp_path / "clip.ts", frames=60, rate=10, key_every=5)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def send() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(path.read_bytes())

        sender = threading.Thread(target=send)
        sender.start()
        seen = list(tiny_vipe.see_stream(f"tcp://127.0.0.1:{server.getsockname()[1]}", every=2))
        sender.join()
    assert until(seen) == [2, 4, 5.5]
    assert seen[-1].metadata["video"] == "127.0.0.1"
    frames = read_frames(path, Rate(2), size=64)
    assert_same(seen[-1], tiny_vipe.see(Frames(pixels=frames.pixels, seconds=frames.seconds)))


def test_what_cannot_be_opened_is_named_without_its_password(tiny_vipe: ViPE) -> None:
    with pytest.raises(VideoError, match="cannot be opened") as caught:
        list(tiny_vipe.see_stream("rtsp://me:secret@127.0.0.1:9/camera?key=secret"))
    assert "rtsp://127.0.0.1:9/camera" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="the system has no such devices")
def test_a_device_that_is_no_camera(tiny_vipe: ViPE) -> None:
    with pytest.raises(VideoError, match="/dev/null cannot be opened"):
        list(tiny_vipe.see_stream(Path("/dev/null")))


# What breaks off ---------------------------------------------------------------------------------


def _mp4(path: Path) -> Path:
    path = path.with_suffix(".mp4")
    return media.video(path, frames=120, rate=10, container={"movflags": "faststart"})


def _mkv(path: Path) -> Path:
    return media.video(path.with_suffix(".mkv"), frames=120, rate=10)


def _avi(path: Path) -> Path:
    return media.video(path.with_suffix(".avi"), frames=120, rate=10, codec="mpeg4")


@pytest.mark.parametrize("make", [_mp4, _mkv, _avi])
@pytest.mark.parametrize("sampling", [Rate(2), EveryFrame()], ids=repr)
def test_a_truncated_file_is_seen_up_to_its_cut(
    tiny_vipe: ViPE,
    tmp_path: Path,
    make: Callable[[Path], Path],
    sampling: Sampling,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = media.cut(make(tmp_path / "cut"), 0.6)
    with pytest.raises(VideoError, match="is truncated"):
        tiny_vipe.see(path, frames=sampling)
    with caplog.at_level(logging.WARNING, "vipe"):
        seen = list(tiny_vipe.see_stream(path, every=2, frames=sampling))
    seconds = until(seen)
    assert seconds[:-1] == [2 * (i + 1) for i in range(len(seconds) - 1)]
    assert 4 <= seconds[-1] < 10
    assert f"{path.name} is truncated" in seen[-1].metadata["cut_off"]
    assert all("cut_off" not in one.metadata for one in seen[:-1])
    assert f"what was seen until {seconds[-1]:.2f} s is kept" in caplog.text
    seen[-1].check_fits(tiny_vipe.language_model)
    assert all(B.isfinite().all() and B.any() for B in seen[-1].B.values())


def test_what_cannot_be_decoded_at_all_stays_an_error(tiny_vipe: ViPE, tmp_path: Path) -> None:
    no_index = media.cut(media.video(tmp_path / "no index.mp4", frames=120), 0.5)
    (tmp_path / "text.mp4").write_text("no video")
    for path, reason in (
        (no_index, "truncated"),
        (tmp_path / "text.mp4", "is not a video"),
        (tmp_path / "absent.mp4", "no such file"),
    ):
        with pytest.raises(VideoError, match=reason):
            list(tiny_vipe.see_stream(path))
    assert not readers()


def test_a_frame_of_a_stream_that_does_not_decode(
    tiny_vipe: ViPE, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    path = media.video(
        tmp_path / "live.mkv", frames=40, rate=10, codec="mjpeg", pixel_format="yuvj420p"
    )
    content = bytearray(path.read_bytes())
    # Each frame is a picture of its own: the 21st is wiped out, up to the next one's header.
    starts = [match.start() for match in re.finditer(b"\xff\xd8\xff", content)]
    wiped = slice(starts[20], starts[21] - 16)
    content[wiped] = bytes(len(content[wiped]))
    read, write = os.pipe()

    def send() -> None:
        with open(write, "wb") as out:  # noqa: PTH123  # a descriptor, not a path
            out.write(content)

    sender = threading.Thread(target=send)
    sender.start()
    with open(read, "rb") as stream:  # noqa: PTH123
        seen = list(tiny_vipe.see_stream(stream, every=3, frames=EveryFrame()))
    sender.join()
    assert until(seen) == [3, pytest.approx(3.9)]
    assert [one.metadata["frames"] for one in seen] == ["29", "39"]
    (warning,) = (one for one in recwarn if "damaged" in str(one.message))
    assert "1 packets could not be decoded, the first after 1.90 s" in str(warning.message)


def test_a_camera_that_breaks_off(tiny_vipe: ViPE, caplog: pytest.LogCaptureFixture) -> None:
    frames = tiny.frames(9)

    def live(count: int) -> Iterator[Frames]:
        yield from camera(first(frames, count))
        raise ConnectionResetError("reset\nby peer")

    seen = list(tiny_vipe.see_stream(live(7), every=2))
    assert until(seen) == [2, 3.25]
    assert seen[-1].metadata["cut_off"] == "reset by peer"
    assert "what was seen until 3.25 s is kept" in caplog.text
    assert_same(seen[-1], tiny_vipe.see(first(frames, 7, 0.0)))
    with pytest.raises(ConnectionResetError):
        list(tiny_vipe.see_stream(live(0)))


def test_a_mistake_of_the_source_is_no_cut(tiny_vipe: ViPE) -> None:
    def live() -> Iterator[Frames]:
        yield tiny.frames(2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(tiny_vipe.see_stream(live()))
    assert not readers()


def test_a_folder_with_a_picture_that_does_not_decode(tiny_vipe: ViPE, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(5):
        Image.fromarray(media.picture(i)).save(tmp_path / f"{i}.png")
    media.cut(tmp_path / "3.png", 0.5)
    seen = list(tiny_vipe.see_stream(tmp_path, every=2, frames=EveryFrame()))
    assert until(seen) == [2, 2]
    assert "3.png is a truncated or damaged picture" in seen[-1].metadata["cut_off"]


# Memory and threads ------------------------------------------------------------------------------


def test_a_long_stream_is_seen_in_bounded_memory() -> None:
    encoder = tiny.ColourEncoder()
    config = MergeConfig(frames_per_clip=4, budget=12)
    alive, most = 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def live() -> Iterator[Frames]:
        nonlocal alive, most
        for i in range(3000):
            pixels = np.full((1, 3, 8, 8), i % 251, np.uint8)
            weakref.finalize(pixels, gone)  # torch keeps the array as long as it has its memory
            alive += 1
            most = max(most, alive)
            yield Frames(pixels=torch.from_numpy(pixels), seconds=torch.tensor([i / 10]))

    held = []
    merged = HierarchicalMerge.push

    def push(self: HierarchicalMerge, *given: torch.Tensor) -> None:
        merged(self, *given)
        held.append(self.live_tokens)

    watch = watch_stream(encoder, live(), None, clip=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HierarchicalMerge, "push", push)
        tokens = [part.tokens for part in see_parts(watch, config, 10.0)]
    gc.collect()
    assert len(tokens) == 30
    assert alive == 0
    assert most <= 4 * 4
    assert max(held) <= 12 * 10  # budget · log₂(750 clips)
    assert all(part.count <= 12 for part in tokens)
    assert tokens[-1].size.sum() == 3000 * encoder.patches
    assert watch.frames == 3000
    assert encoder.encoded <= 3000 + 3 * 30  # what is encoded once more is less than a clip


@pytest.mark.parametrize("live", [False, True])
def test_closing_early_leaves_no_thread(tiny_vipe: ViPE, clip: Path, live: bool) -> None:
    video = camera(tiny.frames(50)) if live else clip
    stream = tiny_vipe.see_stream(video, every=1, frames=EveryFrame())
    assert not readers()
    next(stream)
    stream.close()
    assert not readers()
    stream = tiny_vipe.see_stream(clip, every=1)
    next(stream)
    del stream
    assert not readers()
