"""Frames kept and patches pooled: what they leave, how much of it, and what of it is true."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import tiny
from vipe.clip_baselines import keep_frames, pool_places
from vipe.merging import MergeConfig, merge_clip, merge_video
from vipe.visual_tokens import VisualTokens

Baseline = Callable[..., VisualTokens]


@settings(max_examples=60)
@given(
    baseline=st.sampled_from([keep_frames, pool_places]),
    frames=st.integers(1, 9),
    grid=st.integers(1, 5),
    count=st.integers(1, 240),
)
def test_what_both_keep(baseline: Baseline, frames: int, grid: int, count: int) -> None:
    features, position, duration = tiny.patches(2, frames, grid=grid)
    tokens = baseline(features, position, duration, count)

    assert tokens.count <= max(count, grid**2 if baseline is keep_frames else 1)
    assert torch.equal(tokens.size.sum(1), torch.full((2,), float(frames * grid**2)))
    assert (tokens.size >= 1).all()
    assert torch.equal(tokens.duration, duration)
    assert (tokens.centre[:, 1:, 0] >= tokens.centre[:, :-1, 0]).all(), "in order of time"

    assert tokens.assignment is None
    assignment = baseline(features, position, duration, count, trace=True).assignment
    assert assignment is not None
    for video in range(2):
        stand_for = torch.bincount(assignment[video], minlength=tokens.count)
        assert torch.equal(stand_for, tokens.size[video].long())
    if baseline is pool_places:
        means = features.new_zeros(2, tokens.count, features.shape[-1])
        means = means.index_add(1, assignment[0], features.flatten(1, 2)) / tokens.size[..., None]
        assert_close(means, tokens.features)


def test_kept_frames_are_evenly_spaced_and_whole() -> None:
    features, position, duration = tiny.patches(1, 8)
    tokens = keep_frames(features, position, duration, 4 * 9)
    assert_close(tokens.features, features[:, [1, 3, 5, 7]].flatten(1, 2))
    assert_close(tokens.centre, position[:, [1, 3, 5, 7]].flatten(1, 2))
    assert tokens.size.eq(2).all()


def test_pooled_patches_are_means_of_their_places() -> None:
    features, position, duration = tiny.patches(1, 2, grid=4)
    tokens = pool_places(features, position, duration, 8)
    blocks = features.unflatten(2, (2, 2, 2, 2)).mean((3, 5)).flatten(1, 3)
    assert_close(tokens.features, blocks)
    assert tokens.size.eq(4).all()
    share = tokens.size[..., None] / 32
    assert_close((share * tokens.centre).sum(1), position.flatten(1, 2).mean(1))


def test_with_less_than_a_token_a_frame_frames_are_averaged() -> None:
    features, position, duration = tiny.patches(1, 6)
    tokens = pool_places(features, position, duration, 3)
    assert_close(tokens.features, features.unflatten(1, (3, 2)).mean((2, 3)))


@pytest.mark.parametrize("within", ["frames", "pooling"])
def test_the_config_chooses(within: str) -> None:
    config = MergeConfig(within=within, budget=20, frames_per_clip=4)  # type: ignore[arg-type]
    features, position, duration = tiny.patches(1, 4)
    baseline = keep_frames if within == "frames" else pool_places
    assert_close(
        merge_clip(features, position, duration, config)[0].features,
        baseline(features, position, duration, 18).features,
    )
    features, position, duration = tiny.patches(1, 30)
    tokens = merge_video(features, position, duration, config)
    assert tokens.count <= 20
    assert tokens.size.sum() == 30 * 9
