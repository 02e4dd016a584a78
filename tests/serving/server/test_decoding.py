"""The decoding process: the same frames as in this one, and a hostile file ends it at worst."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import media
from vipe.errors import VideoError
from vipe.frames import Uniform, read_frames
from vipe.serving.server.decoding import Decoder
from vipe.serving.server.limits import Limits


def test_frames_are_those_that_are_decoded_here(decoder: Decoder, clips: list[Path]) -> None:
    for clip in clips[:2]:
        here = read_frames(clip, Uniform(5), size=64)
        there = list(decoder.frames(clip, "name", frames=5))
        assert torch.equal(torch.cat([piece.pixels for piece in there]), here.pixels)
        assert torch.equal(torch.cat([piece.seconds for piece in there]), here.seconds)
        assert {piece.duration for piece in there} == {here.duration}


def test_a_picture_is_a_video_of_one_frame(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    Image.fromarray(media.picture(3)).save(path, "PNG")
    (piece,) = decoder.frames(path, "name", frames=5)
    assert torch.equal(piece.pixels, read_frames(path, size=64).pixels)
    assert piece.duration == 0


def _playlist(folder: Path, other: Path) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{other}\n#EXT-X-ENDLIST\n".encode()


def _concat(folder: Path, other: Path) -> bytes:
    (folder / "other.mp4").write_bytes(other.read_bytes())
    return b"ffconcat version 1.0\nfile other.mp4\n"


def _text(folder: Path, other: Path) -> bytes:
    return b"Not a film.\n" * 40


@pytest.mark.parametrize("make", [_playlist, _concat, _text])
def test_what_is_no_video_or_names_other_files_is_not_opened(
    decoder: Decoder, clips: list[Path], tmp_path: Path, make: object
) -> None:
    path = tmp_path / "upload"
    path.write_bytes(make(tmp_path, clips[0]))  # type: ignore[operator]
    before = decoder.process
    with pytest.raises(VideoError, match=r"^holiday.mp4 is not a video"):
        list(decoder.frames(path, "holiday.mp4", frames=3))
    assert decoder.process == before


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(pixels=64 * 96 - 1), "6144 pixels a frame"),
        (Limits(frames=19), "20 frames"),
        (Limits(seconds=1.9), "2 seconds"),
    ],
)
def test_what_a_header_states_is_held_against_the_limits(
    decoder: Decoder, clips: list[Path], limits: Limits, reason: str
) -> None:
    decoder.limits = limits
    with pytest.raises(VideoError, match=f"clip.mp4 has {reason}, more than"):
        list(decoder.frames(clips[0], "clip.mp4", frames=3))


def test_pictures_have_limits_too(decoder: Decoder, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    Image.new("1", (3000, 3000)).save(path, "PNG")
    decoder.limits = Limits(pixels=1_000_000)
    with pytest.raises(VideoError, match=r"pixels a frame|too large"):
        list(decoder.frames(path, "bomb.png", frames=1))
    path = tmp_path / "animated"
    pictures = [Image.fromarray(np.full((8, 8), i, np.uint8)) for i in range(6)]
    pictures[0].save(path, "GIF", save_all=True, append_images=pictures[1:])
    decoder.limits = Limits(frames=5)
    with pytest.raises(VideoError, match="6 frames"):
        list(decoder.frames(path, "animated.gif", frames=1))


def test_one_that_takes_too_long_is_ended_and_another_takes_its_place(
    decoder: Decoder, clips: list[Path]
) -> None:
    list(decoder.frames(clips[0], "clip.mp4", frames=3))  # it is ready
    os.kill(decoder.process, signal.SIGSTOP)  # it hangs
    before = decoder.process
    decoder.limits = Limits(decode_seconds=0.2)
    with pytest.raises(VideoError, match=r"clip.mp4 takes longer than 0\.2 s"):
        list(decoder.frames(clips[0], "clip.mp4", frames=3))
    decoder.limits = Limits()
    assert len(list(decoder.frames(clips[0], "clip.mp4", frames=3))) == 3
    assert decoder.process != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_one_that_is_killed_is_the_file_s_error(decoder: Decoder, clips: list[Path]) -> None:
    pieces = decoder.frames(clips[0], "clip.mp4", frames=200)
    next(pieces)
    os.kill(decoder.process, signal.SIGKILL)
    with pytest.raises(VideoError, match="the decoder ended"):
        list(pieces)  # what it had said before is read still
    assert len(list(decoder.frames(clips[0], "clip.mp4", frames=3))) == 3


def test_it_knows_no_secrets_and_may_write_no_file(
    decoder: Decoder, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIPE_API_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    given: dict[str, str] = {}

    class Started(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, env: dict[str, str], **named: Any) -> None:
            given.update(env)
            super().__init__(*arguments, env=env, **named)

    list(decoder.frames(clips[0], "clip.mp4", frames=1))  # it is ready
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Started)
        Decoder(Limits(), 64).close()
    assert "secret" not in given.values()
    assert "PYTHONPATH" in given
    limits = Path(f"/proc/{decoder.process}/limits")
    if limits.exists():
        lines = {line[:25].strip(): line[25:].split() for line in limits.read_text().splitlines()}
        assert lines["Max file size"][0] == "0"
        assert lines["Max address space"][0].isdigit()
