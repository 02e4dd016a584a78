"""Stage 5 of the flow, beside the binding: what was seen of what was recognised, as `Seen`.

Dimensions: b videos, k concepts, n of them that were seen in any video of the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vipe.recognition import Recognised

FEW, MANY = 4.0, 8.0
"""Things up to which merged tokens tell of all that was seen, and from which they tell little."""

_LEAST = 0.05
"""Share of a frame below which nothing was seen."""
_SURE = 4.0
"""Log-odds beyond which nothing is surer."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The concepts that were seen in a batch of videos.

    Attributes:
        which: `(b, n)`, their numbers.
        odds: `(b, n)`, how surely: log-odds of the share of a frame at best.
        there: `(b, n)`, 1 where it was seen in this video.
        first: `(b, n)`, when first, in seconds.
        last: `(b, n)`, when last.
        times: `(b, n)`, how often, with other frames between.
        every: `(b,)`, seconds from frame to frame.
        length: `(b,)`, of the video, in seconds.
    """

    which: Int[Tensor, "b n"]
    odds: Float[Tensor, "b n"]
    there: Float[Tensor, "b n"]
    first: Float[Tensor, "b n"]
    last: Float[Tensor, "b n"]
    times: Float[Tensor, "b n"]
    every: Float[Tensor, " b"]
    length: Float[Tensor, " b"]

    @classmethod
    def of(cls, recognised: Recognised, length: Float[Tensor, " b"]) -> Seen:
        """Choose those that were seen; the last concept, of nothing, is none."""
        share = recognised.share.float().clone()
        share[:, -1] = 0
        count = share.shape[1]
        if not share.is_meta:  # where there are no numbers, all might have been seen
            count = int((share > _LEAST).sum(dim=1).amax().clamp_min(1))
        share, which = share.topk(count, dim=1)
        odds = torch.logit(share.clamp(1e-4, 1 - 1e-4)).clamp(-_SURE, _SURE)
        first, last, times = (
            part.gather(1, which) for part in (recognised.first, recognised.last, recognised.times)
        )
        return cls(
            which=which,
            odds=odds,
            there=(share > _LEAST).to(odds),
            first=first,
            last=last,
            times=times,
            every=recognised.every,
            length=length,
        )

    @property
    def sure(self) -> Float[Tensor, "b n"]:
        """How much each counts as seen, within 0 and 1."""
        return torch.sigmoid(2 * self.odds) * self.there

    @property
    def doublings(self) -> Float[Tensor, " b"]:
        """How often `FEW` things double to as many as were seen."""
        return torch.log2((self.sure.sum(dim=1) / FEW).clamp_min(1e-3))

    @property
    def crowded(self) -> Float[Tensor, " b"]:
        """0 where few things were seen, 1 where many."""
        return (self.doublings / math.log2(MANY / FEW)).clamp(0, 1)
