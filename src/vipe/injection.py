"""Stage 4 of the flow, VisualTokens → PerceptualQueries: the Visual Injection Module.

The few visual tokens that the merge leaves *are* the perceptual queries (Lu et al., "ViPE", EMNLP
2025: the hierarchical merge compresses the video into a small set of perceptual queries): they
are projected, given positions computed from their centres, and put in context by a few
self-attention blocks in which a token counts as many times as it has patches. Beside them goes
the gist, the projected patches and where and when each is, pooled into one vector from which every
slot starts: what is in a video is so a short way from its weights, and is learned first
(docs/decisions/0003).

Dimensions: b videos, m tokens, c channels of the encoder, d width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.layers import SelfBlock, VideoNorm, linear, log_size
from vipe.merging import VisualTokens

_TOGETHER = 8


@dataclass(frozen=True, kw_only=True)
class PerceptualQueries:
    """A video's merged tokens, in context.

    Attributes:
        values: `(b, m, d)`.
        key_bias: `(b, m)`, log(size) of each token, -inf for padding.
        gist: `(b, d)`, the video in one vector, of unit variance over videos.
    """

    values: Float[Tensor, "b m d"]
    key_bias: Float[Tensor, "b m"]
    gist: Float[Tensor, "b d"]


@dataclass(frozen=True, kw_only=True)
class InjectionConfig:
    """The Visual Injection Module.

    Attributes:
        width: d, shared with perception.
        heads: Attention heads.
        hidden: Width between the two layers that project a token.
        depth: Self-attention blocks.
        pools: Attention pools of the gist, beside the mean: of what patches are, and as many of
            what is where and when.
        joint: Width of what the gist makes of a patch together with its place and time.
        frequencies: Sine and cosine pairs of each coordinate, each of twice the one before.
    """

    width: int = 384
    heads: int = 6
    hidden: int = 1024
    depth: int = 2
    pools: int = 4
    joint: int = 768
    frequencies: int = 5

    def __post_init__(self) -> None:
        if min(self.width, self.heads) < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        for width in (self.width, self.joint):
            if self.pools < 1 or width < 1 or width % self.pools:
                raise ValueError(f"width {width} does not divide into {self.pools} pools")

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
        self.pool = Pool(config)
        self.gist_norm = VideoNorm(1, width)
        self.position = PositionEncoding(config.frequencies, width)
        self.blocks = nn.ModuleList(SelfBlock(width, config.heads) for _ in range(config.depth))
        self.norm_out = nn.LayerNorm(width)

    def forward(self, tokens: VisualTokens) -> PerceptualQueries:
        """Project the tokens, pool them, give them positions and put them in context."""
        values = tokens.features.new_zeros(*tokens.size.shape, self.config.width)
        pooled = tokens.features.new_zeros(len(tokens), self.config.width)
        for rows, part in _of_like_length(tokens):
            patches, key_bias = self.project(self.norm(part.features)), log_size(part.size)
            pooled = pooled.index_copy(0, rows, self.pool(patches, part))
            x = patches + self.position(part)
            for block in self.blocks:
                x = block(x, key_bias)
            x = F.pad(self.norm_out(x), (0, 0, 0, tokens.count - part.count))
            values = values.index_copy(0, rows, x)
        return PerceptualQueries(
            values=values, key_bias=log_size(tokens.size), gist=self._normed(pooled)
        )

    def gist(self, tokens: VisualTokens) -> Float[Tensor, "b d"]:
        """Return the queries' gist alone, which takes little."""
        patches = self.project(self.norm(tokens.features))
        return self._normed(self.pool(patches, tokens))

    def _normed(self, pooled: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return self.gist_norm(pooled[:, None])[:, 0]


def _of_like_length(tokens: VisualTokens) -> Iterator[tuple[Tensor, VisualTokens]]:
    """Yield videos of like length together, so that little is computed for padding."""
    if len(tokens) == 1:
        yield torch.zeros(1, dtype=torch.long, device=tokens.size.device), tokens
        return
    counts = (tokens.size > 0).sum(dim=1)
    for rows in counts.argsort(stable=True).split(_TOGETHER):
        yield rows, tokens.videos(rows, int(counts[rows].max()))


class Pool(nn.Module):
    """A video in one vector: means of its tokens, and what a few attention pools pick of them.

    Of what the projected patches are, and of what each is together with where and when it is: the
    mean of the latter holds which thing was where, and how it moved (after Zaheer et al., "Deep
    Sets", NeurIPS 2017, theorem 2). A token counts as many times as it has patches.
    """

    def __init__(self, config: InjectionConfig) -> None:
        super().__init__()
        width, joint, pools = config.width, config.joint, config.pools
        self.attend = linear(width, pools)
        self.value = linear(width, width)
        self.what = linear(width, joint)
        self.where = PositionEncoding(config.frequencies, joint)
        self.attend_joint = linear(joint, pools)
        self.out = linear(2 * (width + joint), width)

    def forward(
        self, patches: Float[Tensor, "b m d"], tokens: VisualTokens
    ) -> Float[Tensor, "b d"]:
        """Pool the projected patches of some tokens; padding is never read."""
        key_bias = log_size(tokens.size)
        joint = F.gelu(self.what(patches) + self.where(tokens))
        parts = [
            part
            for x, scores, values in (
                (patches, self.attend(patches), self.value(patches)),
                (joint, self.attend_joint(joint), joint),
            )
            for part in (
                torch.einsum("bm,bmd->bd", key_bias.softmax(dim=1), x),
                _picked(scores + key_bias[..., None], values),
            )
        ]
        return self.out(torch.cat(parts, dim=-1))


def _picked(scores: Float[Tensor, "b m p"], values: Float[Tensor, "b m d"]) -> Float[Tensor, "b d"]:
    """Attend: each pool to an equal part of the channels."""
    split = values.unflatten(-1, (scores.shape[-1], -1))
    return torch.einsum("bmp,bmpd->bpd", scores.softmax(dim=1), split).flatten(1)


class PositionEncoding(nn.Module):
    """Where and when a token is: Fourier features of its centre, projected.

    Nine coordinates: the time as a share of the video, y, x, the time in seconds and the size
    (both on a logarithmic scale), and the four sums and differences of time with y and x, along
    which a moving thing keeps its place. Fourier features after Tancik et al., NeurIPS 2020; the
    coordinates themselves are kept beside them.
    """

    scales: Tensor

    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        scales = math.pi * 2.0 ** torch.arange(frequencies)
        self.register_buffer("scales", scales, persistent=False)
        self.project = nn.Linear(9 * (1 + 2 * frequencies), width)
        # Positions of variance 1.75 from the start: at the usual small start they take long to
        # tell tokens apart (docs/decisions/0001).
        nn.init.normal_(self.project.weight, std=(4.5 * (1 + frequencies)) ** -0.5)

    def forward(self, tokens: VisualTokens) -> Float[Tensor, "b m d"]:
        """Return one vector a token."""
        second, y, x = tokens.centre.unbind(-1)
        length = tokens.duration[:, None]
        # A picture has no length: it is in the middle of it, as the one frame of a video is.
        share = torch.where(length > 0, second / length.clamp_min(1e-3), 0.5)
        share, y, x = share.clamp(0, 1) * 2 - 1, y * 2 - 1, x * 2 - 1
        motion = [(share + y) / 2, (share - y) / 2, (share + x) / 2, (share - x) / 2]
        logs = [torch.log1p(second) / 4, torch.log1p(tokens.size) / 4]
        coordinates = torch.stack([share, y, x, *logs, *motion], dim=-1)
        angles = coordinates[..., None] * self.scales
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return self.project(torch.cat([coordinates, waves], dim=-1))
