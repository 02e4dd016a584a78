"""Stage 4 of the flow, VisualTokens → PerceptualQueries: the Visual Injection Module.

The few visual tokens that the merge leaves *are* the perceptual queries (Lu et al., "ViPE", EMNLP
2025: the hierarchical merge compresses the video into a small set of perceptual queries): they
are projected, given positions computed from their centres, and put in context by a few
self-attention blocks in which a token counts as many times as it has patches.

Dimensions: b videos, m tokens, c channels of the encoder, d width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.layers import SelfBlock, linear, log_size
from vipe.merging import VisualTokens

_TOGETHER = 8


@dataclass(frozen=True, kw_only=True)
class PerceptualQueries:
    """A video's merged tokens, in context.

    Attributes:
        values: `(b, m, d)`.
        key_bias: `(b, m)`, log(size) of each token, -inf for padding.
    """

    values: Float[Tensor, "b m d"]
    key_bias: Float[Tensor, "b m"]


@dataclass(frozen=True, kw_only=True)
class InjectionConfig:
    """The Visual Injection Module.

    Attributes:
        width: d, shared with perception.
        heads: Attention heads.
        hidden: Width between the two layers that project a token.
        depth: Self-attention blocks.
        frequencies: Sine and cosine pairs of each coordinate, each of twice the one before.
    """

    width: int = 384
    heads: int = 6
    hidden: int = 1024
    depth: int = 2
    frequencies: int = 5

    def __post_init__(self) -> None:
        if min(self.width, self.heads) < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")

    def build(self, channels: int) -> Injection:
        """Make the module for an encoder of `channels` channels, with fresh weights."""
        return Injection(self, channels)


class Injection(nn.Module):
    """VisualTokens → PerceptualQueries."""

    def __init__(self, config: InjectionConfig, channels: int) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Sequential(
            linear(channels, config.hidden),
            nn.GELU(),
            linear(config.hidden, width),
            nn.LayerNorm(width),
        )
        self.position = PositionEncoding(config.frequencies, width)
        self.blocks = nn.ModuleList(SelfBlock(width, config.heads) for _ in range(config.depth))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: VisualTokens) -> PerceptualQueries:
        """Project the tokens, give them positions and put them in context."""
        values = tokens.features.new_zeros(*tokens.size.shape, self.config.width)
        counts = (tokens.size > 0).sum(dim=1)
        # Videos of like length together, so that little is computed for padding.
        for rows in counts.argsort(stable=True).split(_TOGETHER):
            count = int(counts[rows].max())
            part = self._in_context(tokens.videos(rows, count))
            values = values.index_copy(0, rows, F.pad(part, (0, 0, 0, tokens.count - count)))
        return PerceptualQueries(values=values, key_bias=log_size(tokens.size))

    def patches(self, tokens: VisualTokens) -> Float[Tensor, "b m d"]:
        """Project the tokens, each by itself and wherever it is."""
        return self.project(self.norm(tokens.features))

    def _in_context(self, tokens: VisualTokens) -> Float[Tensor, "b m d"]:
        key_bias = log_size(tokens.size)
        x = self.patches(tokens) + self.position(tokens)
        for block in self.blocks:
            x = block(x, key_bias)
        return self.norm_out(x)


class PositionEncoding(nn.Module):
    """Where and when a token is: Fourier features of its centre, projected.

    Five coordinates: the time as a share of the video, y, x, the time in seconds and the size
    (both on a logarithmic scale). Fourier features after Tancik et al., NeurIPS 2020; the
    coordinates themselves are kept beside them, since motion is their difference.
    """

    scales: Tensor

    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        scales = math.pi * 2.0 ** torch.arange(frequencies)
        self.register_buffer("scales", scales, persistent=False)
        self.project = nn.Linear(5 * (1 + 2 * frequencies), width)
        # Positions of variance 1.75 from the start: at the usual small start they take long to
        # tell tokens apart (docs/decisions/0001).
        nn.init.normal_(self.project.weight, std=(2.5 * (1 + frequencies)) ** -0.5)

    def forward(self, tokens: VisualTokens) -> Float[Tensor, "b m d"]:
        """Return one vector a token."""
        second, y, x = tokens.centre.unbind(-1)
        length = tokens.duration[:, None].clamp_min(1e-3)
        coordinates = torch.stack(
            [
                (second / length).clamp(0, 1) * 2 - 1,
                y * 2 - 1,
                x * 2 - 1,
                torch.log1p(second) / 4,
                torch.log1p(tokens.size) / 4,
            ],
            dim=-1,
        )
        angles = coordinates[..., None] * self.scales
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return self.project(torch.cat([coordinates, waves], dim=-1))
