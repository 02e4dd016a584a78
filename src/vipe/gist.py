"""Stage 4 of the flow, beside the queries: the gists, a video and its parts in one vector each.

The projected patches and where and when each is are pooled into one vector, from which the slots
start: what is in a video is so a short way from its weights, and is learned first
(docs/decisions/0003). The same pool, with tokens weighed by how near they are to a moment or a
place, gives the gist of that part of the video: what comes first, and what is on the left, are
said there as what is in the video is said in the whole's gist (docs/decisions/0004).

Dimensions: b videos, m tokens, d width, g gists, p attention pools, j joint, e of what is read of a
patch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.layers import VideoNorm, keep_bias, linear, log_size
from vipe.merging import VisualTokens
from vipe.positions import PositionEncoding, shares

Part = tuple[float | None, float | None, float | None]
"""The centre of a part of the video: shares of its length, height and width; None for all of it."""

WHOLE: Part = (None, None, None)
REACH = 0.13
"""Standard deviation of a part's weights, as a share."""


def parts_of(moments: int, places: int) -> tuple[Part, ...]:
    """Name the parts: the whole, moments from the first to the last, and a grid of places.

    Args:
        moments: So many, evenly spaced, the first and the last at the video's ends.
        places: Rows and columns; their centres keep off the frame's edges, as things do.
    """

    def spaced(count: int, edge: float) -> list[float]:
        step = (1 - 2 * edge) / max(1, count - 1)
        return [edge + i * step for i in range(count)] if count > 1 else [0.5] * count

    rows = spaced(places, 0.22)
    return (
        WHOLE,
        *((moment, None, None) for moment in spaced(moments, 0.0)),
        *((None, y, x) for y in rows for x in rows),
    )


class Gist(nn.Module):
    """A video and its parts in one vector each: `(b, g, d)`, of unit variance over videos.

    Args:
        width: d.
        joint: Width of what is made of a patch together with its place and time.
        pools: p, of what patches are, and as many of what is where and when.
        parts: g of them; the gists are in their order.
        frequencies: Of the positions.
    """

    def __init__(
        self, width: int, *, joint: int, pools: int, parts: Sequence[Part], frequencies: int
    ) -> None:
        super().__init__()
        self.pool = Pool(width, joint=joint, pools=pools, parts=parts, frequencies=frequencies)
        self.norm = VideoNorm(len(parts), width)

    def forward(
        self, patches: Float[Tensor, "b m d"], tokens: VisualTokens
    ) -> Float[Tensor, "b g d"]:
        """Pool the projected patches of some tokens; padding is never read."""
        return self.norm(self.pool(patches, tokens))

    def whole(
        self, readings: Float[Tensor, "b m e"], tokens: VisualTokens
    ) -> Float[Tensor, "b 1 d"]:
        """Return the gist of the whole alone, normalised as outside of training.

        Args:
            readings: `Pool.read` of the tokens.
            tokens: Where and when they are, and how large.
        """
        return self.norm.running(self.pool.gather(readings, tokens, parts=1))


class Pool(nn.Module):
    """Means of a part's tokens, and what a few attention pools pick of them.

    Of what the projected patches are, and of what each is together with where and when it is: the
    mean of the latter holds which thing was where, and how it moved (after Zaheer et al., "Deep
    Sets", NeurIPS 2017, theorem 2). A token counts as many times as it has patches, and in a part
    by a Gaussian of how far it is from that part's centre.
    """

    centres: Tensor

    def __init__(
        self, width: int, *, joint: int, pools: int, parts: Sequence[Part], frequencies: int
    ) -> None:
        super().__init__()
        self.attend = keep_bias(linear(width, pools))
        self.value = keep_bias(linear(width, width))
        self.what = linear(width, joint)
        self.where = PositionEncoding(frequencies, joint)
        self.attend_joint = keep_bias(linear(joint, pools))
        self.out = keep_bias(linear(2 * (width + joint), width))
        centres = [[math.nan if at is None else at for at in part] for part in parts]
        self.register_buffer("centres", torch.tensor(centres), persistent=False)

    def forward(
        self, patches: Float[Tensor, "b m d"], tokens: VisualTokens
    ) -> Float[Tensor, "b g d"]:
        """Pool the projected patches of some tokens, for each part; padding is never read.

        Args:
            patches: Of the tokens.
            tokens: Where and when they are, and how large.
        """
        return self._pool(*self._read(patches), tokens, self.centres)

    def read(self, patches: Float[Tensor, "b m d"]) -> Float[Tensor, "b m e"]:
        """Return all that is read of patches wherever and whenever they are, side by side.

        A token of several videos, as a frame of overlapping stretches, is read once.
        """
        return torch.cat(self._read(patches), dim=-1)

    def gather(
        self, readings: Float[Tensor, "b m e"], tokens: VisualTokens, *, parts: int | None = None
    ) -> Float[Tensor, "b g d"]:
        """Pool what `read` returned.

        Args:
            readings: Of the tokens.
            tokens: Where and when they are, and how large.
            parts: How many of the parts, the whole first; all unless given.
        """
        layers = (self.what, self.value, self.attend, self.value)
        what, patches, scores, values = readings.split([n.out_features for n in layers], dim=-1)
        return self._pool(what, patches, scores, values, tokens, self.centres[:parts])

    def _read(self, patches: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.what(patches), patches, self.attend(patches), self.value(patches)

    def _pool(
        self,
        what: Float[Tensor, "b m j"],
        patches: Float[Tensor, "b m d"],
        scores: Float[Tensor, "b m p"],
        values: Float[Tensor, "b m d"],
        tokens: VisualTokens,
        centres: Float[Tensor, "g 3"],
    ) -> Float[Tensor, "b g d"]:
        weight = log_size(tokens.size)[:, None] + self._nearness(tokens, centres)
        joint = F.gelu(what + self.where(tokens))
        pooled = [
            part
            for x, scored, valued in (
                (patches, scores, values),
                (joint, self.attend_joint(joint), joint),
            )
            for part in (
                torch.einsum("bgm,bmd->bgd", weight.softmax(dim=-1), x),
                _picked(scored, weight, valued),
            )
        ]
        return self.out(torch.cat(pooled, dim=-1))

    @staticmethod
    def _nearness(tokens: VisualTokens, centres: Float[Tensor, "g 3"]) -> Float[Tensor, "b g m"]:
        """The logarithm of how much each token belongs to each part."""
        away = (shares(tokens)[:, None] - centres[:, None]) / REACH
        return -away.nan_to_num().square().sum(dim=-1) / 2


def _picked(
    scores: Float[Tensor, "b m p"], weight: Float[Tensor, "b g m"], values: Float[Tensor, "b m d"]
) -> Float[Tensor, "b g d"]:
    """Attend: each pool to an equal part of the channels."""
    split = values.unflatten(-1, (scores.shape[-1], -1))
    attention = (scores[:, None] + weight[..., None]).softmax(dim=2)
    return torch.einsum("bgmp,bmpd->bgpd", attention, split).flatten(2)
