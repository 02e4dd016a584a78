"""Injection: padding changes nothing, order is in the positions alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import tiny
from vipe.injection import Injection, InjectionConfig, PositionEncoding
from vipe.merging import VisualTokens


@pytest.fixture
def injection() -> Injection:
    return InjectionConfig(width=32, heads=4, depth=2).build(8).eval()


def test_a_padded_batch_is_its_videos(injection: Injection) -> None:
    videos = [tiny.tokens(1, count) for count in (5, 9, 3, 1, 7, 12, 2, 8, 8, 4, 6)]
    batch = VisualTokens.batch(videos)
    queries = injection(batch)
    assert queries.values.shape == (11, 12, 32)
    assert torch.isfinite(queries.values).all()
    assert torch.equal(queries.key_bias, batch.size.log())
    for i, video in enumerate(videos):
        alone = injection(video)
        assert_close(queries.values[i, : video.count], alone.values[0])
        assert_close(queries.gist[i], alone.gist[0])
        assert queries.key_bias[i, video.count :].eq(-torch.inf).all()
        assert_close(injection(video.pad(20)).values[0, : video.count], alone.values[0])


def test_the_gist_alone_is_that_of_the_queries(injection: Injection) -> None:
    batch = VisualTokens.batch([tiny.tokens(1, count) for count in (5, 9, 3)])
    assert_close(injection.gist(batch), injection(batch).gist)
    injection.train()
    assert_close(injection.gist(batch), injection(batch).gist)


def test_the_gist_holds_what_was_where_and_when_in_any_order(injection: Injection) -> None:
    video = tiny.tokens(2, 5)
    gist = injection.gist(video)
    order = torch.stack([torch.randperm(5), torch.randperm(5)])
    assert_close(injection.gist(video.take(order)), gist)
    # The same patches and the same places, but not together.
    for change in (
        {"features": video.features.flip(1)},
        {"centre": video.centre.flip(1)},
        {"duration": video.duration + 3},
        {"features": video.features + torch.rand_like(video.features)},
    ):
        assert not torch.allclose(injection.gist(replace(video, **change)), gist, atol=1e-3)


def test_in_the_gist_a_token_of_size_two_is_two(injection: Injection) -> None:
    where = injection.pool.where
    columns = 2 * len(where.scales)
    with torch.no_grad():  # what says the size as such
        where.project.weight[:, 9 + 4 * columns : 9 + 5 * columns] = 0
        where.project.weight[:, 4] = 0
    video = tiny.tokens(2, 5)
    one = replace(video, size=torch.full_like(video.size, 2))
    twice = replace(
        video,
        features=video.features.repeat_interleave(2, 1),
        centre=video.centre.repeat_interleave(2, 1),
        size=torch.ones(2, 10),
    )
    assert_close(injection.gist(one), injection.gist(twice))


def test_gists_of_a_training_batch_have_unit_variance_over_videos(injection: Injection) -> None:
    gist = injection.train().gist(tiny.tokens(12, 5))
    assert_close(gist.mean(0), torch.zeros(32), rtol=0, atol=1e-5)
    # Less the norm's epsilon beside the little that random videos differ by.
    assert (gist.var(0, unbiased=False) - 1).abs().max() < 0.01


def test_the_hidden_width_is_the_configs() -> None:
    shapes = [tuple(p.shape) for p in InjectionConfig(hidden=77).build(8).project.parameters()]
    assert shapes[:3] == [(77, 8), (77,), (384, 77)]


def test_gradients_are_finite_beside_padding(injection: Injection) -> None:
    batch = VisualTokens.batch([tiny.tokens(1, count) for count in (5, 9, 3)])
    queries = injection.train()(batch)
    (queries.values.square().sum() + queries.gist.pow(3).sum()).backward()
    gradients = [p.grad for p in injection.parameters()]
    assert all(g is not None and g.isfinite().all() and g.abs().sum() > 0 for g in gradients)


def test_tokens_in_another_order_are_the_same_queries_in_that_order(injection: Injection) -> None:
    tokens = tiny.tokens(2, 7)
    order = torch.stack([torch.randperm(7), torch.randperm(7)])
    moved = injection(tokens.take(order)).values
    assert_close(moved, injection(tokens).values.gather(1, order[..., None].expand(-1, -1, 32)))


def test_what_a_query_depends_on(injection: Injection) -> None:
    tokens = tiny.tokens(1, 4)
    before = injection(tokens).values
    for name in ("features", "size", "centre", "duration"):
        changed = {n: getattr(tokens, n) for n in ("features", "size", "centre", "duration")}
        changed[name] = changed[name] + torch.rand_like(changed[name])
        assert not torch.allclose(injection(VisualTokens(**changed)).values, before, atol=1e-3)


def test_positions_vary_as_much_as_features_at_the_start() -> None:
    encoding = PositionEncoding(5, 384)
    positions = encoding(tiny.tokens(4, 50))
    assert positions.shape == (4, 50, 384)
    # Features leave a norm with variance 1, and positions have to be told apart beside them.
    assert 1.5 < positions.var(dim=-1).mean() < 2  # seen over ten seeds: 1.71 … 1.80


def test_a_picture_has_a_position_too() -> None:
    # Its duration is 0.
    tokens = tiny.tokens(1, 4)
    still = VisualTokens(
        features=tokens.features,
        size=tokens.size,
        centre=tokens.centre * torch.tensor([0.0, 1.0, 1.0]),
        duration=torch.zeros(1),
    )
    positions = PositionEncoding(5, 32)(still)
    assert positions.isfinite().all()
    assert (positions[0, 0] - positions[0, 1]).abs().max() > 0.1


def test_a_picture_is_where_the_one_frame_of_a_short_video_is() -> None:
    # Training has stills as videos of a length, their frame in the middle; a file has no length.
    tokens = tiny.tokens(1, 4)
    space = tokens.centre * torch.tensor([0.0, 1.0, 1.0])
    picture = replace(tokens, centre=space, duration=torch.zeros(1))
    short = replace(
        tokens, centre=space + torch.tensor([5e-3, 0, 0]), duration=torch.full((1,), 1e-2)
    )
    encoding = PositionEncoding(5, 32)
    # Seen: 0.04, of the time in seconds; at the start of a video it would be 0.95.
    assert (encoding(picture) - encoding(short)).abs().max() < 0.2


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 10 does not divide into 4 heads"):
        InjectionConfig(width=10, heads=4)
    with pytest.raises(ValueError, match="width 10 does not divide into 4 pools"):
        InjectionConfig(width=10, heads=2, pools=4)
    with pytest.raises(ValueError, match="width 10 does not divide into 4 pools"):
        InjectionConfig(width=12, heads=2, pools=4, joint=10)
