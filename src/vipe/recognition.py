"""Stage 3 of the flow, beside the merge: what was recognised in a video, frame by frame.

A merge of bounded size keeps what is alike in many frames. What is seen once in an hour is lost in
it, unless it is known for what it is before it merges. So each frame is looked at by itself, as a
picture, and with those around it (`vipe.stretches`): gists of patches say which concepts it holds
(`vipe.binding`), and of every concept is kept how surely it was seen at best, when first and last,
and how often. That is as large for 10,000 frames as for one. Two parts of a video join into what
the whole is, to the frame.

Dimensions: b videos, t frames, k concepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

PICTURE_TOKENS = 18
"""Of a frame that is looked at by itself: with half as many, things are taken for others."""

_ALIKE = 0.5
"""A concept counts as seen where its share is at least this part of its largest."""
_GAP = 2.5
"""Frames after which what is seen again counts once more: a frame or two may be unsure."""


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What was recognised in a batch of videos.

    Attributes:
        share: `(b, k)`, of a frame, at best: what concepts a frame holds sums to 1.
        first: `(b, k)`, the second of the first frame with about that share.
        last: `(b, k)`, the second of the last one.
        times: `(b, k)`, how often it was seen, with other frames between.
        every: `(b,)`, seconds from frame to frame.
    """

    share: Float[Tensor, "b k"]
    first: Float[Tensor, "b k"]
    last: Float[Tensor, "b k"]
    times: Float[Tensor, "b k"]
    every: Float[Tensor, " b"]

    def __len__(self) -> int:
        return len(self.share)

    @classmethod
    def of_frames(
        cls,
        shares: Float[Tensor, "b t k"],
        seconds: Float[Tensor, "b t"],
        every: Float[Tensor, " b"] | None = None,
    ) -> Recognised:
        """Return what frames hold together.

        Args:
            shares: What concepts each holds.
            seconds: When each is shown, in order.
            every: Seconds from frame to frame; the least between two unless given.
        """
        if every is None:
            between = seconds.diff(dim=1)
            every = between.amin(dim=1) if between.shape[1] else torch.zeros_like(seconds[:, 0])
        share = shares.amax(dim=1)
        seen = shares >= _ALIKE * share[:, None]
        at = seconds[..., None]
        endless = torch.full_like(at, torch.inf)
        until = torch.where(seen, at, -endless).cummax(dim=1).values
        before = torch.cat([-endless[:, :1].expand_as(until[:, :1]), until[:, :-1]], dim=1)
        again = seen & (at - before > _GAP * every[:, None, None])
        return cls(
            share=share,
            first=torch.where(seen, at, endless).amin(dim=1),
            last=until[:, -1],
            times=again.sum(dim=1).to(share.dtype),
            every=every,
        )

    def join(self, later: Recognised) -> Recognised:
        """Return what a part and the one after it hold together.

        Where one saw a concept much better than the other did, when and how often is its alone.
        """
        share = torch.maximum(self.share, later.share)
        ours, theirs = (part.share >= _ALIKE * share for part in (self, later))
        every = torch.maximum(self.every, later.every)
        on = (later.first - self.last <= _GAP * every[:, None]).to(share.dtype)
        both = ours & theirs

        def chosen(own: Tensor, other: Tensor, together: Tensor) -> Tensor:
            return torch.where(both, together, torch.where(ours, own, other))

        return Recognised(
            share=share,
            first=chosen(self.first, later.first, torch.minimum(self.first, later.first)),
            last=chosen(self.last, later.last, torch.maximum(self.last, later.last)),
            times=chosen(self.times, later.times, self.times + later.times - on),
            every=every,
        )

    def later(self, seconds: float | int) -> Recognised:
        """Return the same, so many seconds later."""
        return replace(self, first=self.first + seconds, last=self.last + seconds)

    def videos(self, rows: Tensor) -> Recognised:
        """Choose videos of a batch."""
        return Recognised(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def to(self, device: torch.device | str) -> Recognised:
        """Move to another device."""
        return Recognised(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    @staticmethod
    def batch(items: Sequence[Recognised]) -> Recognised:
        """Put videos into one batch."""
        return Recognised(
            **{f.name: torch.cat([getattr(i, f.name) for i in items]) for f in fields(Recognised)}
        )


class Sight(NamedTuple):
    """A thing that was recognised in a video.

    Attributes:
        thing: As a question would name it: "a dog".
        share: Of a frame, at best, within 0 and 1.
        first: The second of the first frame with about that share.
        last: The second of the last one.
        times: How often it was seen, with other frames between.
    """

    thing: str
    share: float
    first: float
    last: float
    times: int


def sights(found: Recognised, things: Sequence[str], at_least: float) -> list[Sight]:
    """Return what was recognised in one video, by name, in the order of its first second.

    Args:
        found: Of one video.
        things: What the first concepts stand for.
        at_least: The share below which nothing was recognised.
    """
    columns = (found.share, found.first, found.last, found.times)
    rows = zip(things, *(column[0, : len(things)].tolist() for column in columns), strict=True)
    named = (Sight(thing, share, first, last, int(n)) for thing, share, first, last, n in rows)
    return sorted(
        (sight for sight in named if sight.share >= at_least), key=lambda sight: sight.first
    )
