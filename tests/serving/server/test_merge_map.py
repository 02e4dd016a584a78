"""Merge maps: of many frames some are shown, and what is kept is bounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from vipe.frames import Frames
from vipe.merging import MergeConfig, merge_video
from vipe.serving.server import merge_map
from vipe.serving.server.merge_map import Looking, Maps, MergeMap


def looked_at(frames: int, asked: int) -> tuple[Looking, list[dict[str, Any]], torch.Tensor]:
    """Look at so many frames of 3 x 3 patches; returns what is told, and where patches went."""
    told: list[dict[str, Any]] = []
    looking = Looking(asked, told.append)
    pieces = (
        Frames(
            pixels=torch.full((1, 3, 16, 16), i % 256, dtype=torch.uint8),
            seconds=torch.tensor([i / 2]),
            duration=frames / 2,
        )
        for i in range(frames)
    )
    assert len(list(looking.decoding(pieces))) == frames
    looking.encoded(frames)
    features = torch.randn(1, frames, 9, 4)
    position = torch.rand(1, frames, 9, 3)
    duration = torch.tensor([frames / 2])
    tokens = merge_video(features, position, duration, MergeConfig(budget=30), trace=True)
    looking.merged(tokens)
    assert tokens.assignment is not None
    return looking, told, tokens.assignment[0].view(frames, 9)


@pytest.mark.parametrize(("frames", "every"), [(5, 1), (10, 1), (11, 2), (30, 3), (31, 4)])
def test_of_many_frames_some_are_shown(
    monkeypatch: pytest.MonkeyPatch, frames: int, every: int
) -> None:
    monkeypatch.setattr(merge_map, "MOST_FRAMES", 10)
    looking, _, assignment = looked_at(frames, frames)
    made = looking.map
    assert made is not None
    assert made.every == every
    assert made.seconds == [i / 2 for i in range(0, frames, every)]
    assert len(made.pictures) == len(made.seconds) <= 10
    assert np.array_equal(made.assignment, assignment[::every].numpy())
    assert made.size.sum() == 9 * frames, "sizes count all frames"


def test_of_many_frames_not_every_one_is_told() -> None:
    _, told, _ = looked_at(1000, 1000)
    assert len(told) < 250
    assert {"stage": "decoding", "done": 1000, "of": 1000} in told
    assert told[-1] == {"stage": "merged", "patches": 9000, "tokens": 30}


def made(size: int) -> MergeMap:
    nothing = np.zeros((0, 0), np.int32)
    return MergeMap(
        pictures=[b"x" * size],
        seconds=[0.0],
        every=1,
        assignment=nothing,
        size=nothing,
        centre=nothing,
    )


def test_what_is_kept_is_bounded() -> None:
    maps = Maps(100)
    maps.keep("a", made(40))
    maps.keep("b", made(40))
    assert maps.get("a") is not None
    maps.keep("c", made(40))
    assert ("a" in maps, "b" in maps, "c" in maps) == (True, False, True), "the least lately asked"
    assert maps.nbytes == 80
    maps.keep("d", made(500))
    assert maps.get("d") is not None, "the last one always"
    assert maps.nbytes == 500
    maps.forget("d")
    maps.forget("never")
    assert (maps.get("d"), maps.nbytes) == (None, 0)
