"""Injection: padding changes nothing, order is in the positions alone."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

import tiny
from vipe.injection import Injection, InjectionConfig
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
        assert_close(queries.gists[i], alone.gists[0])
        assert queries.key_bias[i, video.count :].eq(-torch.inf).all()
        assert_close(injection(video.pad(20)).values[0, : video.count], alone.values[0])


def test_the_gists_alone_are_those_of_the_queries(injection: Injection) -> None:
    batch = VisualTokens.batch([tiny.tokens(1, count) for count in (5, 9, 3)])
    assert_close(injection.gists(batch), injection(batch).gists)
    injection.train()
    assert_close(injection.gists(batch), injection(batch).gists)


def test_the_hidden_width_is_the_configs() -> None:
    shapes = [tuple(p.shape) for p in InjectionConfig(hidden=77).build(8).project.parameters()]
    assert shapes[:3] == [(77, 8), (77,), (384, 77)]


def test_gradients_are_finite_beside_padding(injection: Injection) -> None:
    batch = VisualTokens.batch([tiny.tokens(1, count) for count in (5, 9, 3)])
    queries = injection.train()(batch)
    (queries.values.square().sum() + queries.gists.pow(3).sum()).backward()
    gradients = [p.grad for p in injection.parameters() if p.requires_grad]
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


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 10 does not divide into 4 heads"):
        InjectionConfig(width=10, heads=4)
    with pytest.raises(ValueError, match="width 10 does not divide into 4 pools"):
        InjectionConfig(width=10, heads=2, pools=4)
    with pytest.raises(ValueError, match="width 10 does not divide into 4 pools"):
        InjectionConfig(width=12, heads=2, pools=4, joint=10)
    with pytest.raises(ValueError, match="moments must not be negative, got -1"):
        InjectionConfig(moments=-1)


def test_learned_queries_read_the_tokens() -> None:
    torch.manual_seed(0)
    injection = InjectionConfig(width=32, heads=4, depth=1, learned_queries=5).build(8).eval()
    videos = [tiny.tokens(1, count) for count in (3, 9, 12)]
    queries = injection(VisualTokens.batch(videos))
    assert queries.values.shape == (3, 5, 32)
    assert queries.key_bias.eq(0).all(), "every query is there"
    for i, video in enumerate(videos):
        assert_close(queries.values[i], injection(video).values[0])
    assert not torch.allclose(queries.values[0], queries.values[1]), "of the video"
    queries.values.square().sum().backward()
    assert injection.resampler is not None
    assert all(p.grad is not None and p.grad.any() for p in injection.resampler.parameters())


def test_learned_queries_are_not_fewer_than_none() -> None:
    with pytest.raises(ValueError, match="learned_queries must not be negative"):
        InjectionConfig(learned_queries=-1)
