"""What holds of every way to leave fewer tokens of a clip, the one of docs/extending.md too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.testing import assert_close

import pages
import tiny
from vipe import merging
from vipe.merging import HierarchicalMerge, MergeConfig, VisualTokens, merge_video

PAGE = "docs/extending.md"
WAYS = ("matching", "frames", "pooling", PAGE)
Merge = Callable[..., VisualTokens]


@pytest.fixture(params=WAYS)
def config(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MergeConfig:
    """Clips of four frames and at most twenty tokens; half of each is merged away."""
    within = request.param
    if within == PAGE:
        given = pages.run(PAGE, only="def nearest", torch=torch)
        within = "pooling"
        monkeypatch.setattr(merging, "pool_places", given["nearest"])
    return MergeConfig(within=within, merge_ratio=0.5, frames_per_clip=4, budget=20)


@pytest.mark.parametrize("frames", [1, 3, 4, 9, 30])
def test_no_patch_is_lost_and_none_is_counted_twice(config: MergeConfig, frames: int) -> None:
    features, position, duration = tiny.patches(2, frames)
    tokens = merge_video(features, position, duration, config)
    assert torch.equal(tokens.size.sum(1), torch.full((2,), float(frames * 9)))
    assert (tokens.size >= 1).all()
    assert tokens.count <= 20
    if frames > 1:
        assert tokens.count < frames * 9, "it merges"
    assert torch.equal(tokens.duration, duration)


@pytest.mark.parametrize("frames", [1, 4, 30])
def test_tokens_lie_within_the_video_in_order_of_time(config: MergeConfig, frames: int) -> None:
    features, position, duration = tiny.patches(2, frames)
    centre = merge_video(features, position, duration, config).centre
    low, high = position.flatten(1, 2).amin(1), position.flatten(1, 2).amax(1)
    assert (centre >= low[:, None] - 1e-5).all()
    assert (centre <= high[:, None] + 1e-5).all()
    assert (centre[:, 1:, 0] >= centre[:, :-1, 0]).all()


def test_equal_input_equal_merge(config: MergeConfig) -> None:
    given = tiny.patches(2, 11)
    one, two = (merge_video(*given, config) for _ in range(2))
    for name in ("features", "size", "centre"):
        assert torch.equal(getattr(one, name), getattr(two, name))


def test_equal_patches_are_no_trouble(config: MergeConfig) -> None:
    features, position, duration = tiny.patches(1, 8)
    tokens = merge_video(torch.ones_like(features), position, duration, config)
    assert_close(tokens.features, torch.ones_like(tokens.features))
    assert tokens.size.sum() == 8 * 9


def test_a_batch_is_its_videos(config: MergeConfig) -> None:
    # In float64, so that rounding (products of a batch are summed in another order) decides no tie.
    given = tiny.patches(3, 11, dtype=torch.float64)
    alone = [merge_video(*(part[i : i + 1] for part in given), config) for i in range(3)]
    together, wanted = merge_video(*given, config), VisualTokens.batch(alone)
    for name in ("size", "features", "centre"):
        assert_close(getattr(together, name), getattr(wanted, name))


def test_a_stream_gives_what_the_file_gives(config: MergeConfig) -> None:
    features, position, duration = tiny.patches(1, 10)
    merge = HierarchicalMerge(config)
    for start in range(0, 10, 4):
        part = slice(start, start + 4)
        merge.push(features[:, part], position[:, part], duration)
    tokens, whole = merge.result(), merge_video(features, position, duration, config)
    assert torch.equal(tokens.features, whole.features)
    assert torch.equal(tokens.size, whole.size)


def test_gradients_reach_the_features(config: MergeConfig) -> None:
    features, position, duration = tiny.patches(1, 8)
    features.requires_grad_()
    merge_video(features, position, duration, config).features.square().sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad.any()
