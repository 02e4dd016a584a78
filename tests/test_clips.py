"""Clips: the same ones, however the frames come."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from vipe.clips import in_clips
from vipe.frames import Frames


def cut(frames: Frames, lengths: list[int]) -> list[Frames]:
    """Cut frames into pieces of these lengths; the last piece is what is left."""
    pieces, start = [], 0
    for length in [*lengths, len(frames)]:
        part = slice(start, start + length)
        pieces.append(
            Frames(
                pixels=frames.pixels[part], seconds=frames.seconds[part], duration=frames.duration
            )
        )
        start += length
    return pieces


@given(count=st.integers(1, 5), length=st.integers(1, 12), lengths=st.lists(st.integers(0, 5)))
def test_clips_do_not_depend_on_the_pieces(count: int, length: int, lengths: list[int]) -> None:
    frames = tiny.frames(length, size=2)
    clips = list(in_clips([frames], count))
    assert [len(clip) for clip in clips[:-1]] == [count] * (len(clips) - 1)
    assert torch.equal(torch.cat([clip.pixels for clip in clips]), frames.pixels)
    assert torch.equal(torch.cat([clip.seconds for clip in clips]), frames.seconds)
    assert all(clip.duration == frames.duration for clip in clips)
    again = list(in_clips(iter(cut(frames, lengths)), count))
    assert [len(clip) for clip in again] == [len(clip) for clip in clips]
    for one, other in zip(clips, again, strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.seconds, other.seconds)


def test_a_video_is_at_least_as_long_as_what_was_seen_of_it() -> None:
    clips = in_clips([tiny.frames(4, size=2, duration=0.0)], 2)
    assert [clip.duration for clip in clips] == [0.75, 1.75]


def test_a_clip_is_given_as_soon_as_it_is_full() -> None:
    taken = 0

    def stream():
        nonlocal taken
        while True:
            taken += 1
            yield tiny.frames(1, size=2)

    clips = in_clips(stream(), 3)
    next(clips)
    assert taken == 3
    next(clips)
    assert taken == 6


def test_nothing_gives_nothing() -> None:
    assert list(in_clips([], 3)) == []


def test_sizes_must_agree() -> None:
    pieces = [tiny.frames(1, size=2), tiny.frames(1, size=4)]
    with pytest.raises(ValueError, match=r"frames of \(2, 2\) and of \(4, 4\) pixels"):
        list(in_clips(pieces, 2))
