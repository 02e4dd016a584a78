"""Blocks that injection and perception share: pre-norm attention and the feed-forward part."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer that keeps unit variance (LeCun normal), with no bias at the start.

    PyTorch's own start keeps a third of it. What slots read of a video would so be a tenth of what
    they are, and take long to be heard.
    """
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def keep_bias(layer: nn.Linear) -> nn.Linear:
    """Return the layer, whose bias stays as it is, for what follows takes it away.

    It is not left out, since model folders hold it.
    Before a norm over videos, or a softmax, a bias changes nothing: its gradient is rounding alone.
    Adam makes steps of it that are as large as any, and a norm's running mean lags behind them.
    """
    layer.bias.requires_grad_(False)
    return layer


class Attention(nn.Module):
    """Multi-head attention from `x` to `context`, with a bias on the logits of each key."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads")
        self.heads = heads
        self.query = linear(width, width)
        self.key_value = linear(width, 2 * width)
        self.out = linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        context: Float[Tensor, "b k d"],
        key_bias: Float[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """Attend; a key whose bias is -inf is never read."""
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.key_value(context).chunk(2, dim=-1)
        )
        bias = None if key_bias is None else key_bias[:, None, None, :].to(query.dtype)
        y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.out(y.transpose(1, 2).flatten(2))


class VideoNorm(nn.Module):
    """Takes from every slot what it holds of all videos alike; scales the rest to unit variance.

    Batch normalisation (Ioffe and Szegedy, ICML 2015) of each slot and channel over the videos of a
    batch, over running statistics outside training. With layer normalisation in its place, training
    first grows what all videos share until the video is a seventh of a slot
    (docs/decisions/0003): here that direction has no gradient. The learned gain of each slot and
    channel lets layers that share a head read the same content differently.

    Args:
        slots: s.
        width: d.
        spread: Standard deviation of the gains at the start, around 1.
    """

    def __init__(self, slots: int, width: int, *, spread: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(slots * width, momentum=0.05)
        nn.init.normal_(self.norm.weight, mean=1.0, std=spread)

    def forward(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """Normalise; a batch of one video in training uses the running statistics."""
        flat = x.flatten(1)
        if self.training and len(x) == 1:
            norm = self.norm
            flat = F.batch_norm(
                flat, norm.running_mean, norm.running_var, norm.weight, norm.bias, False
            )
        else:
            flat = self.norm(flat)
        return flat.view_as(x)

    def running(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """Normalise the first slots by the running statistics, which do not change."""
        flat, norm = x.flatten(1), self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        parts = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        mean, var, weight, bias = (part[: flat.shape[1]] for part in parts)
        return F.batch_norm(flat, mean, var, weight, bias, False, eps=norm.eps).view_as(x)


class FeedForward(nn.Sequential):
    """Two linear layers with GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(linear(width, hidden), nn.GELU(), linear(hidden, width))


class SelfBlock(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, 4 * width)

    def forward(
        self, x: Float[Tensor, "b k d"], key_bias: Float[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Relate the tokens of `x` to one another."""
        normed = self.norm_attention(x)
        x = x + self.attention(normed, normed, key_bias)
        return x + self.feed_forward(self.norm_feed_forward(x))


class CrossBlock(nn.Module):
    """Pre-norm cross-attention to a context, then a `SelfBlock`.

    Args:
        width: d.
        heads: Attention heads.
        start: Standard deviation of what each of the three parts adds at the start.
    """

    def __init__(self, width: int, heads: int, *, start: float = 1.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.cross = Attention(width, heads)
        self.block = SelfBlock(width, heads)
        last: Any = self.block.feed_forward[-1]
        with torch.no_grad():
            for layer in (self.cross.out, self.block.attention.out, last):
                layer.weight *= start

    def forward(
        self,
        x: Float[Tensor, "b q d"],
        context: Float[Tensor, "b k d"],
        key_bias: Float[Tensor, "b k"] | None = None,
    ) -> Float[Tensor, "b q d"]:
        """Read the context, then relate the tokens of `x` to one another."""
        return self.block(x + self.cross(self.norm(x), context, key_bias))


def log_size(size: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    """Return log(size), the bias by which a merged token counts as the patches it stands for.

    Proportional attention (Bolya et al., ToMe, ICLR 2023, eq. 1). Padding, of size 0, gets -inf.
    """
    return torch.log(size)
