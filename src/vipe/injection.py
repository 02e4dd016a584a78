"""Stage 4 of the flow, VisualTokens → PerceptualQueries: the Visual Injection Module.

The few visual tokens that the merge leaves *are* the perceptual queries (Lu et al., "ViPE", EMNLP
2025: the hierarchical merge compresses the video into a small set of perceptual queries): they
are projected, given positions computed from their centres, and put in context by a few
self-attention blocks in which a token counts as many times as it has patches. Beside them go the
gists, from which the slots start (`vipe.gist`).

Dimensions: b videos, m tokens, c channels of the encoder, d width, g gists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.clock import FromTime, time_features
from vipe.gist import Gist, parts_of
from vipe.layers import CrossBlock, SelfBlock, linear, log_size
from vipe.merging import VisualTokens
from vipe.positions import PositionEncoding
from vipe.recognition import Recognised

_TOGETHER = 8
_PICTURE = 0.5
"""Seconds that a frame is shown for, which is looked at by itself."""


@dataclass(frozen=True, kw_only=True)
class PerceptualQueries:
    """A video's merged tokens, in context.

    Attributes:
        values: `(b, m, d)`.
        key_bias: `(b, m)`, log(size) of each token, -inf for padding.
        gists: `(b, g, d)`, of the whole video and of its parts, of unit variance over videos.
        times: `(b, g, f)`, features of the second of each part; None of a model without a clock.
        recognised: What was recognised in the frames; None where nothing was looked for.
        length: `(b,)`, seconds of each video.
    """

    values: Float[Tensor, "b m d"]
    key_bias: Float[Tensor, "b m"]
    gists: Float[Tensor, "b g d"]
    times: Float[Tensor, "b g f"] | None = None
    recognised: Recognised | None = None
    length: Float[Tensor, " b"] | None = None


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
        moments: Parts of the time that have a gist of their own.
        places: Rows and columns of parts of the frame that have a gist of their own.
        frequencies: Sine and cosine pairs of each coordinate, each of twice the one before.
        learned_queries: How many learned queries read the tokens, as the only ones to be handed on
            (a resampler: Alayrac et al., "Flamingo", NeurIPS 2022); 0 for none, the tokens being
            the queries.
        clock: Whether tokens, gists and what is bound of them know their seconds (`vipe.clock`).
    """

    width: int = 384
    heads: int = 6
    hidden: int = 1024
    depth: int = 2
    pools: int = 4
    joint: int = 768
    moments: int = 4
    places: int = 3
    frequencies: int = 5
    learned_queries: int = 0
    clock: bool = False

    def __post_init__(self) -> None:
        if min(self.width, self.heads) < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        for width in (self.width, self.joint):
            if self.pools < 1 or width < 1 or width % self.pools:
                raise ValueError(f"width {width} does not divide into {self.pools} pools")
        for name in ("moments", "places", "learned_queries"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    @property
    def gists(self) -> int:
        """g: of the whole video, of its moments and of its places."""
        return 1 + self.moments + self.places**2

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
        self.gist = Gist(
            width,
            joint=config.joint,
            pools=config.pools,
            parts=parts_of(config.moments, config.places),
            frequencies=config.frequencies,
        )
        self.position = PositionEncoding(config.frequencies, width)
        self.blocks = nn.ModuleList(SelfBlock(width, config.heads) for _ in range(config.depth))
        self.norm_out = nn.LayerNorm(width)
        self.resampler = (
            Resampler(config.learned_queries, width, config.heads)
            if config.learned_queries
            else None
        )
        self.clock = (
            nn.ModuleDict({name: FromTime(width) for name in ("tokens", "gists")})
            if config.clock
            else None
        )

    def forward(self, tokens: VisualTokens) -> PerceptualQueries:
        """Project the tokens, take their gists, give them positions and put them in context."""
        count = self.config.learned_queries or tokens.count
        values = tokens.features.new_zeros(len(tokens), count, self.config.width)
        gists = tokens.features.new_zeros(len(tokens), self.config.gists, self.config.width)
        for rows, part in _of_like_length(tokens):
            patches, key_bias = self.patches(part), log_size(part.size)
            gists = gists.index_copy(0, rows, self.gist.pool(patches, part).to(gists))
            x = patches + self.position(part)
            if self.clock is not None:
                x = x + self.clock["tokens"](
                    time_features(part.centre[..., 0], part.duration[:, None])
                )
            for block in self.blocks:
                x = block(x, key_bias)
            x = self.norm_out(x)
            if self.resampler is not None:
                x = self.resampler(x, key_bias)
            values = values.index_copy(0, rows, F.pad(x, (0, 0, 0, count - x.shape[1])).to(values))
        bias = (
            log_size(tokens.size) if self.resampler is None else values.new_zeros(values.shape[:2])
        )
        return PerceptualQueries(
            values=values,
            key_bias=bias,
            gists=self._timed(self.gist.norm(gists), tokens),
            times=self.times(tokens),
            recognised=tokens.recognised,
            length=tokens.duration,
        )

    def gists(self, tokens: VisualTokens) -> Float[Tensor, "b g d"]:
        """Return the queries' gists alone, which takes little."""
        return self._timed(self.gist(self.patches(tokens), tokens), tokens)

    def patches(self, tokens: VisualTokens) -> Float[Tensor, "b m d"]:
        """Project the tokens."""
        patches: Tensor = self.project(self.norm(tokens.features))
        return patches

    def readings(self, tokens: VisualTokens) -> Float[Tensor, "b m e"]:
        """Return what gists read of tokens, wherever and whenever these are."""
        return self.gist.pool.read(self.patches(tokens))

    def gist_of_readings(self, tokens: VisualTokens) -> Float[Tensor, "b d"]:
        """Return the gist of whole videos, of tokens whose features are their readings."""
        return self.gist.whole(tokens.features, tokens)[:, 0]

    def gist_of_pictures(self, frames: VisualTokens) -> Float[Tensor, "b d"]:
        """Return the gist of each frame by itself, as of a picture, whatever its second is.

        Args:
            frames: Whose features are their readings.
        """
        middle = frames.centre.new_tensor(_PICTURE / 2)
        centre = torch.cat([middle.expand_as(frames.centre[..., :1]), frames.centre[..., 1:]], -1)
        return self.gist_of_readings(
            replace(frames, centre=centre, duration=torch.full_like(frames.duration, _PICTURE))
        )

    def times(self, tokens: VisualTokens) -> Float[Tensor, "b g f"] | None:
        """Return features of the second of each part; None without a clock."""
        if self.clock is None:
            return None
        length = tokens.duration[:, None]
        # What is all of the time is in its middle.
        share = self.gist.pool.centres[:, 0].nan_to_num(nan=0.5)
        return time_features(length * share, length)

    def _timed(self, gists: Float[Tensor, "b g d"], tokens: VisualTokens) -> Float[Tensor, "b g d"]:
        times = self.times(tokens)
        return gists if self.clock is None else gists + self.clock["gists"](times)


class Resampler(nn.Module):
    """Tokens → a fixed number of queries, which are learned and read them in two blocks.

    Args:
        count: Queries.
        width: d.
        heads: Attention heads.
    """

    def __init__(self, count: int, width: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(count, width))
        self.blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(2))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Float[Tensor, "b m d"], key_bias: Float[Tensor, "b m"]
    ) -> Float[Tensor, "b q d"]:
        """Read the tokens, as often as they have patches."""
        x = self.queries.expand(len(tokens), -1, -1)
        for block in self.blocks:
            x = block(x, tokens, key_bias)
        return self.norm(x)


def _of_like_length(tokens: VisualTokens) -> Iterator[tuple[Tensor, VisualTokens]]:
    """Yield videos of like length together, so that little is computed for padding."""
    if len(tokens) == 1:
        yield torch.zeros(1, dtype=torch.long, device=tokens.size.device), tokens
        return
    counts = (tokens.size > 0).sum(dim=1)
    for rows in counts.argsort(stable=True).split(_TOGETHER):
        yield rows, tokens.videos(rows, int(counts[rows].max()))
