"""Attention: a token of size k counts like k tokens, padding like none."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from vipe.layers import Attention, CrossBlock, SelfBlock, VideoNorm, log_size


def test_a_token_of_size_k_counts_like_k_tokens() -> None:
    attention = Attention(16, 2).double()
    x, keys = torch.randn(2, 3, 16).double(), torch.randn(2, 4, 16).double()
    size = torch.tensor([[1.0, 2, 5, 1], [3, 1, 1, 4]]).double()
    weighted = attention(x, keys, log_size(size))
    for i in range(2):
        repeated = keys[i].repeat_interleave(size[i].long(), dim=0)
        assert_close(weighted[i], attention(x[i : i + 1], repeated[None])[0])


def test_padding_is_never_read() -> None:
    x, size = torch.randn(2, 3, 16), torch.tensor([[1.0, 2, 0, 0], [1, 1, 1, 0]])
    keys = torch.randn(2, 4, 16)
    other = torch.where(size[..., None] == 0, 1e6, keys)
    for module in (Attention(16, 2), CrossBlock(16, 2)):
        read = module(x, keys, log_size(size))
        assert torch.equal(read, module(x, other, log_size(size)))
        assert_close(read[:1], module(x[:1], keys[:1, :2], log_size(size[:1, :2])))


def test_the_order_of_keys_does_not_matter_and_that_of_tokens_is_kept() -> None:
    x, context, size = torch.randn(1, 5, 16), torch.randn(1, 7, 16), torch.rand(1, 7) + 1
    order, places = torch.randperm(5), torch.randperm(7)
    block = SelfBlock(16, 2)
    bias = log_size(size[:, :5])
    assert_close(block(x[:, order], bias[:, order]), block(x, bias)[:, order])
    cross = CrossBlock(16, 4)
    bias = log_size(size)
    moved = cross(x[:, order], context[:, places], bias[:, places])
    assert_close(moved, cross(x, context, bias)[:, order])


def test_sizes_become_logits() -> None:
    assert_close(log_size(torch.tensor([[1.0, 4, 0]])), torch.tensor([[0, 1.38629436, -torch.inf]]))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 10 does not divide into 3 heads"):
        Attention(10, 3)


def test_what_a_cross_block_adds_at_the_start_is_as_large_as_said() -> None:
    x, context = torch.randn(4, 50, 96), torch.randn(4, 60, 96)
    added = {}
    for start in (0.1, 1.0):
        torch.manual_seed(0)
        added[start] = (CrossBlock(96, 4, start=start)(x, context) - x).std().item()
    assert added[0.1] == pytest.approx(0.1 * added[1.0], rel=0.1)


def test_videos_are_normalised_slot_by_slot() -> None:
    norm = VideoNorm(3, 8)
    x = torch.randn(20, 3, 8) * torch.tensor([0.1, 1, 10])[:, None] + 5
    y = norm(x)
    assert_close(y.mean(0), torch.zeros(3, 8), rtol=0, atol=1e-5)
    assert_close(y.var(0, unbiased=False), torch.ones(3, 8), rtol=0, atol=0.01)


def test_one_video_in_training_is_normalised_as_outside_it() -> None:
    norm = VideoNorm(2, 4)
    for _ in range(5):
        norm(torch.randn(16, 2, 4) * 3 + 1)
    one = torch.randn(1, 2, 4)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    assert_close(norm(one), norm.eval()(one))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
