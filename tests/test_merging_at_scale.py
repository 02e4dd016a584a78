"""The hierarchical merge of 100,000 frames: bounded at every step, and nothing of them is lost."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import tiny
from vipe.merging import HierarchicalMerge, MergeConfig, VisualTokens, merge_clip, reduce_to

FRAMES, GRID = 100_000, 2
CONFIG = MergeConfig(merge_ratio=0.5, frames_per_clip=50, budget=24)


def part(video: tuple[Tensor, Tensor, Tensor], start: int) -> tuple[Tensor, Tensor, Tensor]:
    """The clip of a video that begins at a frame."""
    features, position, duration = video
    frames = slice(start, start + CONFIG.frames_per_clip)
    return features[:, frames], position[:, frames], duration


def of_the_file(video: tuple[Tensor, Tensor, Tensor]) -> VisualTokens:
    """What the merge is said to give, level by level of the whole tree at once.

    Neighbours join in pairs; what is left over at the end of a level waits for the end, where the
    rests join from the latest to the earliest.
    """

    def join(one: VisualTokens, other: VisualTokens) -> VisualTokens:
        both = VisualTokens.join(one, other)
        return reduce_to(both, CONFIG.budget, by="place", locality=CONFIG.locality)

    level = [
        merge_clip(*part(video, start), CONFIG)[0]
        for start in range(0, video[0].shape[1], CONFIG.frames_per_clip)
    ]
    rests: list[VisualTokens] = []  # the latest first
    while level:
        if len(level) % 2:
            rests.append(level.pop())
        level = [join(level[i], level[i + 1]) for i in range(0, len(level), 2)]
    whole = rests[0]
    for earlier in rests[1:]:
        whole = join(earlier, whole)
    return whole


@pytest.fixture(scope="module")
def video() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return tiny.patches(1, FRAMES, grid=GRID, channels=4)


def test_a_hundred_thousand_frames(unchecked: None, video: tuple[Tensor, Tensor, Tensor]) -> None:
    features, position, duration = video
    merge = HierarchicalMerge(CONFIG)
    clips = math.ceil(FRAMES / CONFIG.frames_per_clip)
    most, now_and_then = 0, []
    for clip, start in enumerate(range(0, FRAMES, CONFIG.frames_per_clip), start=1):
        given, where, _ = part(video, start)
        merge.push(given, where, duration * (start + 1) / FRAMES)  # a stream's length grows
        most = max(most, merge.live_tokens)
        # A level for each binary digit of the count of clips that is 1, and no more.
        assert merge.live_tokens <= CONFIG.budget * clip.bit_count()
        if clip % 500 == 0:  # somebody asks meanwhile, half a clip further on
            fork = merge.fork()
            fork.push(given[:, :3], where[:, :3] + 1, duration)
            now_and_then.append(fork.result().size.double().sum().item())
            assert now_and_then[-1] == (clip * CONFIG.frames_per_clip + 3) * GRID**2
    assert len(now_and_then) == 4
    assert most <= CONFIG.budget * math.log2(clips)

    tokens = merge.result()
    assert tokens.count == CONFIG.budget
    assert tokens.size.double().sum() == FRAMES * GRID**2
    assert tokens.size.min() >= 1
    low, high = position.flatten(1, 2).amin(1), position.flatten(1, 2).amax(1)
    assert (tokens.centre >= low[:, None]).all()
    assert (tokens.centre <= high[:, None]).all()
    assert (tokens.centre[:, 1:, 0] >= tokens.centre[:, :-1, 0]).all(), "in order of time"
    share = tokens.size[..., None].double() / (FRAMES * GRID**2)
    mean = position.flatten(1, 2).double().mean(1)
    assert_close((share * tokens.centre.double()).sum(1), mean, rtol=1e-5, atol=0)
    means = features.flatten(1, 2).double().mean(1)
    assert_close((share * tokens.features.double()).sum(1), means, rtol=0, atol=1e-5)

    whole = of_the_file(video)
    by_time = whole.centre[0, :, 0].argsort(stable=True)
    assert torch.equal(tokens.features[0], whole.features[0, by_time])
    assert torch.equal(tokens.size[0], whole.size[0, by_time])
    assert torch.equal(tokens.centre[0], whole.centre[0, by_time])
