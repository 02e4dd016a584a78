"""Frames: the right ones, at the right seconds, whatever the container; and clear errors."""

from __future__ import annotations

import io
import math
import os
import shutil
import warnings
from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

import media
from vipe.errors import VideoError
from vipe.frames import (
    EveryFrame,
    Frames,
    Rate,
    Uniform,
    fingerprint,
    iter_frames,
    probe,
    read_frames,
)
from vipe.frames.container import Container
from vipe.frames.sampling import Sampling
from vipe.frames.video import Video

KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "fragments.mp4": {"container": {"movflags": "frag_keyframe+empty_moov"}},
    "h264.mkv": {},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "live.webm": {"codec": "libvpx", "container": {"live": "1"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "prores.mov": {"codec": "prores", "pixel_format": "yuv422p10le"},
    "lossless.mkv": {"codec": "ffv1"},
    "h264.ts": {},
    "h264.flv": {},
    "bare.h264": {},
    "bare.m2v": {"codec": "mpeg2video"},
    "late.mp4": {"start": 5.0},
    "late.mkv": {"start": 5.0},
    "late.ts": {"start": 5.0},
    "cover.mp4": {"cover": True},
    "sound.mp4": {"sound": 2.0},
    "sound.mkv": {"sound": 2.0},
}


def numbers(frames: Frames) -> list[int]:
    return [media.number(pixels) for pixels in frames.pixels]


def on_screen(times: list[float], moments: list[float]) -> list[int]:
    """The rule, said again: the last frame not after each moment, else the first; each once."""
    return sorted({max(0, bisect_right(times, moment + 1e-6) - 1) for moment in moments})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    return media.video(folder / "clip.mp4")


# Which frames, and when.


@pytest.mark.parametrize("name", KINDS)
def test_every_container_gives_the_right_frames_at_the_right_seconds(
    name: str, folder: Path
) -> None:
    path = media.video(folder / name, **KINDS[name])
    times = [i / 30 for i in range(30)]

    every = read_frames(path, EveryFrame())
    assert numbers(every) == list(range(30))
    # Matroska's clock has milliseconds.
    np.testing.assert_allclose(every.seconds, times, atol=6e-4)
    assert every.duration == pytest.approx(1, abs=2e-3)
    info = probe(path)
    assert (info.kind, info.height, info.width) == ("video", *media.SIZE)
    assert info.rate == pytest.approx(30)
    assert info.frames in (None, 30)

    for sampling in (Uniform(1), Uniform(7), Uniform(30), Uniform(100), Rate(4)):
        frames = read_frames(path, sampling)
        expected = on_screen(every.seconds.tolist(), sampling.moments(every.duration))
        assert numbers(frames) == expected
        assert torch.equal(frames.seconds, every.seconds[expected])


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.integers(5, 700), min_size=1, max_size=20),
    sampling=st.one_of(
        st.builds(Uniform, st.integers(1, 30)),
        st.builds(Rate, st.sampled_from([0.3, 1, 2.0, 10, 33])),
    ),
    suffix=st.sampled_from(["mkv", "mp4"]),
    key_every=st.integers(1, 8),
)
def test_a_variable_rate_goes_by_the_clock_and_not_by_the_count(
    gaps: list[int], sampling: Uniform | Rate, suffix: str, key_every: int, folder: Path
) -> None:
    times = [sum(gaps[:i]) for i in range(len(gaps))]
    path = media.video(
        folder / f"variable.{suffix}", milliseconds=times, codec="mpeg4", key_every=key_every
    )
    frames = read_frames(path, sampling)
    expected = on_screen([t / 1000 for t in times], sampling.moments(frames.duration))
    assert numbers(frames) == expected
    np.testing.assert_allclose(frames.seconds, [times[i] / 1000 for i in expected], atol=1e-4)


@given(frames=st.integers(1, 200), duration=st.floats(0, 1e5))
def test_uniform_moments_are_the_middles_of_equal_parts(frames: int, duration: float) -> None:
    moments = Uniform(frames).moments(duration)
    assert len(moments) == frames
    assert moments[0] + moments[-1] == pytest.approx(duration)
    np.testing.assert_allclose(np.diff(moments), duration / frames, atol=1e-6)


@given(per_second=st.floats(0.01, 100), duration=st.floats(0, 1000))
def test_rate_moments_fill_the_duration(per_second: float, duration: float) -> None:
    moments = Rate(per_second).moments(duration)
    assert moments[0] == 0
    assert moments[-1] < duration or len(moments) == 1
    assert moments[-1] + 1 / per_second >= duration - 1e-5 / per_second


@pytest.mark.parametrize("wrong", [lambda: Uniform(0), lambda: Rate(0.0), lambda: Rate(math.nan)])
def test_samplings_without_frames_are_refused(wrong: Callable[[], Sampling]) -> None:
    with pytest.raises(ValueError, match="got"):
        wrong()


def test_one_frame_and_few_frames_come_once_each(folder: Path) -> None:
    one = read_frames(media.video(folder / "one.mp4", frames=1))
    assert numbers(one) == [0]
    assert one.seconds.tolist() == [0]
    assert numbers(read_frames(media.video(folder / "three.mp4", frames=3), Uniform(8))) == [
        0,
        1,
        2,
    ]


# Jumping.


@pytest.fixture(scope="module", params=["long.mp4", "long.mkv", "long.avi", "long.ts"])
def long(request: pytest.FixtureRequest, folder: Path) -> Path:
    codec = "mpeg4" if request.param == "long.avi" else "libx264"
    return media.video(folder / request.param, frames=900, key_every=30, codec=codec)


@pytest.mark.parametrize("sampling", [Uniform(3), Uniform(8), Uniform(40), Rate(0.25)])
def test_jumping_and_decoding_through_give_the_same_frames(
    long: Path, sampling: Uniform | Rate, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps, decoded = 0, 0
    jump, frames_of = Container.jump, Video._frames_of

    def counted_jump(self: Container, target: int) -> bool:
        nonlocal jumps
        jumps += 1
        return jump(self, target)

    def counted_frames(self: Video, packet: Any) -> Any:
        nonlocal decoded
        for item in frames_of(self, packet):
            decoded += 1
            yield item

    monkeypatch.setattr("vipe.frames.video._BLIND", 2.0)  # for .ts, which has no index
    monkeypatch.setattr(Video, "_frames_of", counted_frames)
    with monkeypatch.context() as context:
        context.setattr(Video, "_aim", lambda *_: None)
        through = read_frames(long, sampling)
    decoded_through, decoded = decoded, 0
    monkeypatch.setattr(Container, "jump", counted_jump)
    jumped = read_frames(long, sampling)

    assert torch.equal(through.seconds, jumped.seconds)
    assert torch.equal(through.pixels, jumped.pixels)
    moments = sampling.moments(through.duration)
    behind = np.array(moments) - through.seconds.numpy()
    assert (behind > -1e-5).all()
    assert (behind < 1 / 30 + 1e-3).all()
    if len(moments) <= 10:
        assert jumps >= 2
        assert decoded < decoded_through


def test_frames_that_nothing_refers_to_are_not_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.video(folder / "spare.mp4", frames=120, key_every=120)
    every = read_frames(path, EveryFrame())
    decoded = 0
    frames_of = Video._frames_of

    def counted(self: Video, packet: Any) -> Any:
        nonlocal decoded
        for item in frames_of(self, packet):
            decoded += 1
            yield item

    monkeypatch.setattr(Video, "_frames_of", counted)
    frames = read_frames(path, Uniform(4))
    assert decoded < 80
    assert torch.equal(frames.pixels, every.pixels[[15, 45, 75, 105]])


def test_a_jump_that_lands_late_is_made_good(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.video(folder / "astray.mp4", frames=300, key_every=30)
    right = read_frames(path, Uniform(4))
    jump = Container.jump
    monkeypatch.setattr(Container, "jump", lambda self, target: jump(self, target + 10**6))
    astray = read_frames(path, Uniform(4))
    assert torch.equal(astray.seconds, right.seconds)
    assert torch.equal(astray.pixels, right.pixels)


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["armwrestling.mp4", "pancake.mkv", "surfing.mp4"])
def test_real_clips_give_the_frames_that_decoding_all_gives(name: str, shared_data: Path) -> None:
    path = shared_data / "clips" / name
    every = read_frames(path, EveryFrame(), size=56)
    frames = read_frames(path, Uniform(8), size=56)
    expected = on_screen(every.seconds.tolist(), Uniform(8).moments(frames.duration))
    assert torch.equal(frames.seconds, every.seconds[expected])
    assert torch.equal(frames.pixels, every.pixels[expected])


# Upright, and of the size asked for.

_ONE = 1 << 16
MATRICES = {
    "as it is": ([_ONE, 0, 0, _ONE], lambda x: x),
    "90° clockwise": ([0, _ONE, -_ONE, 0], lambda x: np.rot90(x, -1)),
    "180°": ([-_ONE, 0, 0, -_ONE], lambda x: np.rot90(x, 2)),
    "90° anticlockwise": ([0, -_ONE, _ONE, 0], lambda x: np.rot90(x, 1)),
    "mirrored": ([-_ONE, 0, 0, _ONE], lambda x: x[:, ::-1]),
    "upside down": ([_ONE, 0, 0, -_ONE], lambda x: x[::-1]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_rotation_in_the_metadata_is_applied(name: str, folder: Path) -> None:
    (a, b, c, d), turn = MATRICES[name]
    plain = read_frames(media.video(folder / "plain.mp4", frames=2), EveryFrame())
    path = media.video(folder / "turned.mp4", frames=2, matrix=[a, b, 0, c, d, 0, 0, 0, 1 << 30])
    turned = read_frames(path, EveryFrame())
    info = probe(path)
    assert (info.height, info.width) == tuple(turned.pixels.shape[2:])
    for before, after in zip(plain.pixels, turned.pixels, strict=True):
        assert np.array_equal(turn(before.permute(1, 2, 0).numpy()), after.permute(1, 2, 0))
    small = read_frames(path, EveryFrame(), size=(20, 30))
    assert small.pixels.shape == (2, 3, 20, 30)


@pytest.mark.parametrize("size", [(47, 95), (1, 33), (31, 17)])
def test_odd_sizes(size: tuple[int, int], folder: Path) -> None:
    path = media.video(folder / "odd.mkv", frames=2, size=size, codec="ffv1", pixel_format="bgr0")
    frames = read_frames(path)
    assert frames.pixels.shape == (2, 3, *size)
    assert np.array_equal(frames.pixels[0].permute(1, 2, 0), media.picture(0, size))


@pytest.mark.parametrize("size", [(24, 48), (33, 17), 32, (96, 200)])
def test_resizing_is_as_good_as_pillows(size: Any, folder: Path) -> None:
    path = folder / "smooth.png"
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    image = coarse.resize((128, 96), Image.Resampling.BICUBIC)
    image.save(path)
    with av.open(str(folder / "smooth.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=1)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "bgr0"
        out.mux(stream.encode(av.VideoFrame.from_image(image)) + stream.encode())
    video = read_frames(folder / "smooth.mkv", size=size).pixels[0].int()
    still = read_frames(path, size=size).pixels[0].int()
    height, width = (size, size) if isinstance(size, int) else size
    pillow = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    assert np.array_equal(still.permute(1, 2, 0), pillow)
    # swscale's bicubic kernel is a little sharper than Pillow's; without antialiasing, or with
    # swscale's default flags, the difference is above 5.
    assert (video - still).abs().float().mean() < 2


def test_a_size_of_nothing_is_refused(clip: Path) -> None:
    with pytest.raises(ValueError, match="above zero"):
        read_frames(clip, size=0)


# Pictures.


def test_a_picture_is_a_video_of_one_frame(folder: Path) -> None:
    path = folder / "one.png"
    Image.fromarray(media.picture(5)).save(path)
    for sampling in (Uniform(8), EveryFrame(), Rate(2.0)):
        frames = read_frames(path, sampling)
        assert numbers(frames) == [5]
        assert frames.seconds.tolist() == [0]
        assert frames.duration == 0
    info = probe(path)
    assert (info.kind, info.height, info.width) == ("picture", *media.SIZE)
    assert (info.duration, info.rate, info.frames) == (0, 0, 1)


@pytest.mark.parametrize(
    "suffix", ["jpg", "png", "webp", "bmp", "tiff", "gif", "avif", "ppm", "dat"]
)
def test_picture_formats_are_known_by_content(suffix: str, folder: Path) -> None:
    path = folder / f"still.{suffix}"
    kind = "PNG" if suffix == "dat" else None
    Image.fromarray(media.picture(5)).save(path, format=kind)
    assert probe(path).kind == "picture"
    assert numbers(read_frames(path)) == [5]


def test_exif_orientation_is_applied(folder: Path) -> None:
    path = folder / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate 90° clockwise to show
    Image.fromarray(media.picture(5)).save(path, exif=exif, quality=100)
    pixels = read_frames(path).pixels[0]
    assert (probe(path).height, probe(path).width) == tuple(pixels.shape[1:]) == media.SIZE[::-1]
    assert media.number(torch.rot90(pixels, 1, (1, 2))) == 5


def test_unusual_pixel_formats_of_pictures(folder: Path) -> None:
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(folder / "16bit.png")
    assert read_frames(folder / "16bit.png").pixels.unique().tolist() == [0x80]
    Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(folder / "clear.png")
    assert read_frames(folder / "clear.png").pixels.unique().tolist() == [255]
    Image.new("CMYK", (4, 4), (255, 0, 0, 0)).save(folder / "cmyk.jpg")
    assert read_frames(folder / "cmyk.jpg").pixels.shape == (1, 3, 4, 4)


def test_a_folder_of_pictures_plays_in_natural_order(tmp_path: Path) -> None:
    for i in range(12):
        Image.fromarray(media.picture(i)).save(tmp_path / f"shot {i}.png")
    (tmp_path / ".hidden.png").write_text("no picture")
    (tmp_path / "notes.txt").write_text("no picture")
    every = read_frames(tmp_path, EveryFrame())
    assert numbers(every) == list(range(12))
    assert every.seconds.tolist() == list(range(12))
    assert every.duration == 12
    info = probe(tmp_path, pictures_per_second=4.0)
    assert (info.kind, info.duration, info.rate, info.frames) == ("pictures", 3, 4, 12)
    assert numbers(read_frames(tmp_path, Uniform(4))) == [1, 4, 7, 10]
    quick = read_frames(tmp_path, Rate(2.0), pictures_per_second=4.0)
    assert numbers(quick) == [0, 2, 4, 6, 8, 10]
    assert quick.seconds.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


def test_a_folder_of_mixed_sizes_needs_a_size(tmp_path: Path) -> None:
    Image.fromarray(media.picture(0)).save(tmp_path / "0.png")
    Image.fromarray(media.picture(1, (20, 40))).save(tmp_path / "1.png")
    assert numbers(read_frames(tmp_path, size=64)) == [0, 1]
    with pytest.raises(VideoError, match="different sizes"):
        read_frames(tmp_path)


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [("gif", "gif", "rgb8"), ("webp", "libwebp_anim", "bgra"), ("apng", "apng", "rgb24")],
)
def test_animated_pictures_are_videos(
    suffix: str, codec: str, pixel_format: str, folder: Path
) -> None:
    path = media.video(
        folder / f"moving.{suffix}", frames=10, rate=10, codec=codec, pixel_format=pixel_format
    )
    assert probe(path).kind == "video"
    every = read_frames(path, EveryFrame())
    assert numbers(every) == list(range(10))
    np.testing.assert_allclose(every.seconds, np.arange(10) / 10, atol=1e-5)
    assert every.duration == pytest.approx(1)
    assert numbers(read_frames(path, Uniform(2))) == [2, 7]


# Where from.


@pytest.mark.parametrize("make", [str, Path, lambda p: io.BytesIO(p.read_bytes())])
def test_names_paths_and_streams(make: Callable[[Path], Any], clip: Path) -> None:
    source = make(clip)
    assert probe(source).duration == 1
    # A second time too: a stream is read from its start.
    assert numbers(read_frames(source, Uniform(3))) == [5, 15, 25]


def test_names_that_mean_something_to_ffmpeg(clip: Path, tmp_path: Path) -> None:
    for name in ("pipe:0", "concat:a|b.mp4", "%03d.mp4", "-"):
        shutil.copy(clip, tmp_path / name)
        assert probe(tmp_path / name).duration == 1


def test_a_stream_that_cannot_seek_is_refused() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with os.fdopen(reading, "rb") as stream, pytest.raises(VideoError, match="cannot be sought"):
        read_frames(stream)


def test_frames_stream_and_memory_does_not_grow(folder: Path) -> None:
    path = media.video(folder / "large.avi", frames=120, size=(480, 640), codec="mpeg4")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not Path("/proc/self/statm").exists():
        pytest.skip("resident memory is read from /proc")
    sizes = [resident() for _ in iter_frames(path, EveryFrame())]
    # 100 frames of 1.4 MB, RGB and decoded, were they kept.
    assert sizes[-1] - sizes[20] < 20e6


def test_a_reader_that_stops_early_closes_the_file(clip: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = iter_frames(clip, EveryFrame())
        next(frames)
        frames.close()  # type: ignore[attr-defined]


# Which content.


def test_a_fingerprint_is_of_the_content_alone(clip: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(clip, tmp_path / "other name.mkv"))
    assert fingerprint(copy) == fingerprint(str(clip))
    media.cut(copy, 0.9)
    assert fingerprint(copy) != fingerprint(clip)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        Image.fromarray(media.picture(index)).save(pictures / f"{index}.png")
    whole = fingerprint(pictures)
    (pictures / "notes.txt").write_text("no picture")
    (pictures / "2.png").rename(pictures / "10.png")  # still the last
    assert fingerprint(pictures) == whole
    (pictures / "10.png").rename(pictures / "00.png")
    changed = fingerprint(pictures)
    (pictures / "1.png").unlink()
    assert len({whole, changed, fingerprint(pictures), fingerprint(pictures / "0.png")}) == 4


def test_what_has_no_fingerprint(tmp_path: Path) -> None:
    for path, text in ((tmp_path, "without pictures"), (tmp_path / "gone.mp4", "no such file")):
        with pytest.raises(VideoError, match=text):
            fingerprint(path)


# What cannot be read.


def _renamed_text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 500)


def _no_index(path: Path) -> None:
    media.cut(media.video(path, frames=120), 0.5)


def _cut_after_index(path: Path) -> None:
    media.cut(media.video(path, frames=120, container={"movflags": "faststart"}), 0.6)


def _no_frames(path: Path) -> None:
    media.video(path, codec="mpeg4", container={"movflags": "faststart"})
    content = path.read_bytes()
    data = content.index(b"mdat") + 4
    path.write_bytes(content[:data] + bytes(len(content) - data))


def _zeroed_picture(path: Path) -> None:
    Image.fromarray(media.picture(1)).resize((300, 300)).save(path)
    media.cut(path, 0.5)


def _folder_without_pictures(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("nothing")


def _folder_with_a_bad_picture(path: Path) -> None:
    path.mkdir()
    (path / "a.jpg").write_text("nothing")


ERRORS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no such file": ("none.mp4", lambda path: None, "no such file"),
    "in a file": ("file/none.mp4", lambda path: path.parent.write_text("x"), "no such file"),
    "empty": ("empty.mp4", lambda path: path.touch(), "is empty"),
    "text": ("text.mp4", _renamed_text, "is not a video or picture"),
    "text as a picture": ("text.jpg", _renamed_text, "no frame of it can be decoded"),
    "text as text": ("text.txt", _renamed_text, "no video stream|not a video"),
    "text as bin": ("text.bin", _renamed_text, "no video stream|not a video"),
    "no index": ("short.mp4", _no_index, "is truncated"),
    "cut mp4": ("cut.mp4", _cut_after_index, "is truncated"),
    "cut mkv": ("cut.mkv", lambda path: media.cut(media.video(path, frames=120), 0.6), "is trunc"),
    "cut avi": (
        "cut.avi",
        lambda path: media.cut(media.video(path, frames=120, codec="mpeg4"), 0.5),
        "is truncated",
    ),
    "sound": ("sound.mp4", media.sound, r"no video stream \(only sound\)"),
    "sound with a cover": ("song.mp4", lambda path: media.sound(path, cover=True), "no video str"),
    "no frame": ("zeros.mp4", _no_frames, "no frame of it can be decoded"),
    "cut picture": ("cut.png", _zeroed_picture, "truncated or damaged picture"),
    "folder without pictures": ("folder", _folder_without_pictures, "without pictures"),
    "folder with a bad picture": ("bad", _folder_with_a_bad_picture, "a.jpg is not a picture"),
    "name of two lines": ("two\nlines.mp4", lambda path: None, "no such file"),
}


@pytest.mark.parametrize("case", ERRORS)
@pytest.mark.parametrize("sampling", [Uniform(8), EveryFrame(), Rate(2.0)], ids=repr)
def test_bad_input_ends_in_one_line_that_names_the_file(
    case: str, sampling: Sampling, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name, make, reason = ERRORS[case]
    path = tmp_path / name
    make(path)
    with pytest.raises(VideoError, match=reason) as caught:
        read_frames(path, sampling)
    message = str(caught.value)
    assert "\n" not in message
    assert name.replace("\n", " ") in message
    assert capfd.readouterr() == ("", "")


def test_a_cut_picture_is_one_whatever_pillow_was_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    _zeroed_picture(tmp_path / "cut.png")
    with pytest.raises(VideoError, match=r"cut\.png is a truncated or damaged picture"):
        read_frames(tmp_path / "cut.png", EveryFrame())
    assert ImageFile.LOAD_TRUNCATED_IMAGES, "as it was"


def test_a_file_that_may_not_be_read(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(VideoError, match=r"clip\.mp4 may not be read"):
        probe(clip)


def test_what_is_neither_file_nor_folder() -> None:
    with pytest.raises(VideoError, match="neither a file nor a folder"):
        probe(os.devnull)


# What can be read although it looks odd.


def test_sound_that_outlasts_the_pictures_is_no_truncation(folder: Path) -> None:
    path = media.video(folder / "outlasted.mkv", sound=4.0)
    frames = read_frames(path, Uniform(6))
    assert frames.duration == pytest.approx(1, abs=2e-3)
    assert numbers(frames) == [2, 7, 12, 17, 22, 27]


def test_a_cut_at_the_very_end_still_plays(folder: Path) -> None:
    path = media.video(
        folder / "nearly.mp4", frames=120, key_every=1, container={"movflags": "faststart"}
    )
    frames = read_frames(media.cut(path, 0.97), Uniform(8))
    assert len(frames) == 8


def test_a_damaged_middle_gives_what_is_left_and_warns(folder: Path) -> None:
    path = media.video(
        folder / "damaged.avi", frames=60, codec="mjpeg", pixel_format="yuvj420p",
        options={"threads": "2"},  # else as many as there are cores, which says how frames are cut
    )  # fmt: skip
    content = bytearray(path.read_bytes())
    for position in (20, 30, 40):
        start = len(content) * position // 60
        content[start : start + 1000] = bytes(1000)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"damaged\.avi is damaged"):
        frames = read_frames(path, EveryFrame())
    assert 40 <= len(frames) < 60
    assert set(numbers(frames)) >= {0, 1, 58, 59}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # all that was asked for is there
        assert len(read_frames(path, Uniform(4))) == 4
