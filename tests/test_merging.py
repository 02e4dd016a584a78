"""The hierarchical merge: what it keeps (sizes, centres, means), how much, and what merges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import tiny
from vipe.encoders.encoder import patch_positions
from vipe.merging import HierarchicalMerge, MergeConfig, VisualTokens, merge_video, reduce_to

configs = st.builds(
    MergeConfig,
    merge_ratio=st.floats(0, 0.95),
    frames_per_clip=st.integers(1, 8),
    budget=st.integers(1, 60),
    locality=st.sampled_from([0.0, 0.5]),
    steps=st.sampled_from([0, 64]),
)


def clip_tokens(config: MergeConfig, frames: int, patches: int) -> int:
    """Tokens of one clip, as the config says."""
    return max(1, min(config.budget, round((1 - config.merge_ratio) * frames * patches)))


@settings(max_examples=60)
@given(config=configs, frames=st.integers(1, 20), grid=st.integers(1, 4), videos=st.integers(1, 2))
def test_what_every_merge_keeps(config: MergeConfig, frames: int, grid: int, videos: int) -> None:
    features, position, duration = tiny.patches(videos, frames, grid=grid)
    tokens = merge_video(features, position, duration, config)

    patches = grid**2
    lengths = [
        min(config.frames_per_clip, frames - start)
        for start in range(0, frames, config.frames_per_clip)
    ]
    wanted = sum(clip_tokens(config, length, patches) for length in lengths)
    assert tokens.count == min(config.budget, wanted)

    assert torch.equal(tokens.size.sum(1), torch.full((videos,), float(frames * patches)))
    assert (tokens.size >= 1).all()
    assert torch.equal(tokens.duration, duration)
    low, high = position.flatten(1, 2).amin(1), position.flatten(1, 2).amax(1)
    assert (tokens.centre >= low[:, None] - 1e-5).all()
    assert (tokens.centre <= high[:, None] + 1e-5).all()
    assert (tokens.centre[:, 1:, 0] >= tokens.centre[:, :-1, 0]).all(), "in order of time"

    share = tokens.size[..., None] / (frames * patches)
    assert_close((share * tokens.centre).sum(1), position.flatten(1, 2).mean(1))
    means = features.flatten(1, 2).mean(1)
    assert_close((share * tokens.features).sum(1), means, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.25, 0.5, 0.6, 0.75, 0.9, 0.95])
def test_the_count_is_the_share_that_is_kept(ratio: float) -> None:
    config = MergeConfig(merge_ratio=ratio, frames_per_clip=8, budget=512)
    tokens = merge_video(*tiny.patches(1, 8, grid=7), config)
    assert tokens.count == round((1 - ratio) * 8 * 49)


def test_a_thousand_frames_stay_within_the_budget() -> None:
    config = MergeConfig(merge_ratio=0.25, frames_per_clip=4, budget=20)
    features, position, duration = tiny.patches(1, 1000, grid=3, channels=4)
    merge = HierarchicalMerge(config)
    for clip, start in enumerate(range(0, 1000, 4), start=1):
        part = slice(start, start + 4)
        merge.push(features[:, part], position[:, part], duration)
        assert merge.live_tokens <= config.budget * (math.log2(clip) + 1)
    tokens = merge.result()
    assert tokens.count == 20
    assert tokens.size.sum() == 9000
    # Order and place survive: the tokens are spread over the video, none stands for most of it.
    assert tokens.centre[0, 0, 0] < 100 < 400 < tokens.centre[0, -1, 0]


@settings(max_examples=20)
@given(config=configs, frames=st.integers(1, 20))
def test_a_stream_gives_what_the_file_gives_each_time(config: MergeConfig, frames: int) -> None:
    features, position, duration = tiny.patches(2, frames)
    merge = HierarchicalMerge(config)
    for start in range(0, frames, config.frames_per_clip):
        part = slice(start, start + config.frames_per_clip)
        # Of a stream, the duration grows.
        merge.push(features[:, part], position[:, part], duration * (start + 1) / frames)
    for tokens in (
        merge.result(),
        merge.result(),
        merge_video(features, position, duration, config),
    ):
        again = merge.result()
        assert torch.equal(tokens.features, again.features)
        assert torch.equal(tokens.size, again.size)
        assert torch.equal(tokens.centre, again.centre)


@settings(max_examples=20)
@given(config=configs, frames=st.integers(1, 12), seed=st.integers(0, 99))
def test_a_batch_is_its_videos(config: MergeConfig, frames: int, seed: int) -> None:
    torch.manual_seed(seed)
    # In float64, so that rounding (products of a batch are summed in another order) decides no tie.
    features, position, duration = tiny.patches(3, frames, dtype=torch.float64)
    together = merge_video(features, position, duration, config)
    for i in range(3):
        row = slice(i, i + 1)
        one = merge_video(features[row], position[row], duration[row], config)
        assert torch.equal(together.size[row], one.size)
        assert_close(together.features[row], one.features)
        assert_close(together.centre[row], one.centre)


@settings(max_examples=60)
@given(config=configs, frames=st.integers(1, 20), grid=st.integers(1, 4), videos=st.integers(1, 2))
def test_every_patch_goes_into_one_token(
    config: MergeConfig, frames: int, grid: int, videos: int
) -> None:
    features, position, duration = tiny.patches(videos, frames, grid=grid)
    plain = merge_video(features, position, duration, config)
    tokens = merge_video(features, position, duration, config, trace=True)
    assert plain.assignment is None
    for name in ("features", "size", "centre", "duration"):
        assert torch.equal(getattr(plain, name), getattr(tokens, name)), "asking changes nothing"

    assignment = tokens.assignment
    assert assignment is not None
    assert assignment.shape == (videos, frames * grid**2)
    for video in range(videos):
        counts = torch.bincount(assignment[video], minlength=tokens.count)
        assert torch.equal(counts, tokens.size[video].long())
        for of_patches, of_tokens in ((position, tokens.centre), (features, tokens.features)):
            values = of_patches[video].flatten(0, 1)
            sums = values.new_zeros(tokens.count, values.shape[1])
            means = sums.index_add(0, assignment[video], values) / counts[:, None]
            assert_close(means, of_tokens[video], rtol=1e-4, atol=1e-5)


def test_where_patches_went_is_known_of_a_part_of_a_stream() -> None:
    features, position, duration = tiny.patches(1, 12)
    merge = HierarchicalMerge(MergeConfig(frames_per_clip=4, budget=10), trace=True)
    for clip, start in enumerate(range(0, 12, 4), start=1):
        part = slice(start, start + 4)
        merge.push(features[:, part], position[:, part], duration)
        for tokens in (merge.result(), merge.fork().result()):
            assert tokens.assignment is not None
            assert tokens.assignment.shape == (1, clip * 4 * 9)
            assert torch.equal(torch.bincount(tokens.assignment[0]), tokens.size[0].long())


def test_gradients_flow_to_the_features() -> None:
    config = MergeConfig(merge_ratio=0.6, frames_per_clip=2, budget=4)
    features, position, duration = tiny.patches(1, 4, grid=2, channels=3, dtype=torch.float64)

    def merged(features: torch.Tensor) -> torch.Tensor:
        return merge_video(features, position, duration, config).features

    assert torch.autograd.gradcheck(merged, features.requires_grad_())
    merged(features).square().sum().backward()
    assert features.grad is not None
    assert (features.grad != 0).all()


@pytest.mark.parametrize("frames", [1, 5, 16])
def test_without_merging_every_patch_stays_as_it_was(frames: int) -> None:
    features, position, duration = tiny.patches(2, frames)
    config = MergeConfig(merge_ratio=0.0, budget=10_000)
    tokens = merge_video(features, position, duration, config)
    assert torch.equal(tokens.features, features.flatten(1, 2))
    assert torch.equal(tokens.centre, position.flatten(1, 2))
    assert (tokens.size == 1).all()


def test_identical_patches_merge_first() -> None:
    # One frame of 2 × 2 patches: the upper two are the same, the lower two like nothing else.
    e = torch.eye(3)
    features = torch.stack([e[0], e[0], e[1], e[2]])[None, None]
    position = patch_positions(torch.tensor([2.0]), 2)[None]
    config = MergeConfig(merge_ratio=0.25)
    tokens = merge_video(features, position, torch.tensor([4.0]), config)
    assert torch.equal(tokens.features, e[None])
    assert torch.equal(tokens.size, torch.tensor([[2.0, 1.0, 1.0]]))
    wanted = [[2.0, 0.25, 0.5], [2.0, 0.75, 0.25], [2.0, 0.75, 0.75]]
    assert torch.equal(tokens.centre, torch.tensor([wanted]))


def test_tokens_merge_weighted_by_their_size() -> None:
    tokens = VisualTokens(
        features=torch.tensor([[[1.0, 0.0], [0.9, 0.0], [0.0, 1.0]]]),
        size=torch.tensor([[3.0, 1.0, 2.0]]),
        centre=torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.4], [2.0, 0.0, 0.8]]]),
        duration=torch.tensor([3.0]),
    )
    left = reduce_to(tokens, 2, by="time")
    first = int(left.size[0].argmax())
    assert left.size[0].sort().values.tolist() == [2.0, 4.0]
    assert_close(left.features[0, first], torch.tensor([0.975, 0.0]))
    assert_close(left.centre[0, first], torch.tensor([0.25, 0.0, 0.1]))


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.6])
def test_what_moves_is_not_merged_with_where_it_was(ratio: float) -> None:
    # A thing crosses a plain background of 4 × 4 patches from left to right in four frames.
    thing, background = torch.eye(2)
    features = background.repeat(1, 4, 16, 1)
    for t in range(4):
        features[0, t, 4 + t] = thing
    position = patch_positions(torch.arange(4) + 0.5, 4)[None]
    tokens = merge_video(features, position, torch.tensor([4.0]), MergeConfig(merge_ratio=ratio))
    shown = tokens.features[0, :, 0] > 0.5
    assert_close(tokens.centre[0, shown], position[0, range(4), range(4, 8)])
    assert (tokens.size[0, shown] == 1).all()


def test_what_is_still_merges_as_if_there_were_no_noise() -> None:
    # Eight frames of one picture of two surfaces, as it is and after a codec.
    picture = torch.eye(6)[[0] * 10 + [1] * 6]
    still = picture.repeat(1, 8, 1, 1)
    noise = 1e-3 * torch.randn(still.shape, generator=torch.Generator().manual_seed(0))
    position = patch_positions(torch.arange(8) + 0.5, 4)[None]

    def merged_with(features: torch.Tensor, steps: int) -> torch.Tensor:
        config = MergeConfig(steps=steps)
        tokens = merge_video(features, position, torch.tensor([8.0]), config, trace=True)
        assert tokens.assignment is not None
        return tokens.assignment

    assert torch.equal(merged_with(still + noise, 64), merged_with(still, 64))
    assert not torch.equal(merged_with(still + noise, 0), merged_with(still, 0))


def test_a_batch_of_different_counts_is_padded_at_the_end() -> None:
    short, long = tiny.tokens(1, 2), tiny.tokens(2, 5)
    batch = VisualTokens.batch([short, long])
    assert (len(batch), batch.count) == (3, 5)
    assert torch.equal(batch.size[0], torch.cat([short.size[0], torch.zeros(3)]))
    assert torch.equal(batch.features[0, :2], short.features[0])
    assert torch.equal(batch.centre[1:], long.centre)
    assert torch.equal(batch.duration, torch.cat([short.duration, long.duration]))
    chosen = batch.videos(torch.tensor([2, 0]), 2)
    assert torch.equal(chosen.features[1], short.features[0])
    assert torch.equal(chosen.size[0], long.size[1, :2])


def test_nothing_pushed_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frames"):
        HierarchicalMerge(MergeConfig()).result()


@pytest.mark.parametrize(
    "wrong",
    [{"merge_ratio": 1.0}, {"merge_ratio": -0.1}, {"budget": 0}, {"frames_per_clip": 0}],
)
def test_a_wrong_config_is_an_error(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.*must be at least"):
        MergeConfig(**wrong)  # type: ignore[arg-type]
