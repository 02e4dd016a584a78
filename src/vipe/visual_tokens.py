"""Stage 3 of the flow, its result: the tokens that the merge leaves of a video.

Dimensions: b videos, m tokens, c channels, p patches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vipe.recognition import Recognised


@dataclass(frozen=True, kw_only=True)
class VisualTokens:
    """What the merge leaves of a video, or of a batch of videos.

    Attributes:
        features: `(b, m, c)`, size-weighted means of the patches' features.
        size: `(b, m)`, patches that each token stands for; 0 marks padding.
        centre: `(b, m, 3)`, size-weighted mean (second, y, x) of those patches.
        duration: `(b,)`, length of each video in seconds.
        assignment: `(b, p)`, which token each patch went into; None unless the merge was asked for
            it. It is lost where tokens are chosen or padded.
        recognised: What was recognised in the frames before they merged; None where nothing was
            looked for. It is of a whole video, and lost where tokens merge or are joined.
    """

    features: Float[Tensor, "b m c"]
    size: Float[Tensor, "b m"]
    centre: Float[Tensor, "b m 3"]
    duration: Float[Tensor, " b"]
    assignment: Int[Tensor, "b p"] | None = None
    recognised: Recognised | None = None

    def __len__(self) -> int:
        return self.features.shape[0]

    @property
    def count(self) -> int:
        """Tokens of each video, padding included."""
        return self.features.shape[1]

    def take(self, index: Int[Tensor, "b k"]) -> VisualTokens:
        """Choose tokens by index, per video."""
        rows = flat_rows(index, self.count).flatten()
        return VisualTokens(
            # Whole rows are copied many times faster than elements are gathered.
            features=self.features.flatten(0, 1).index_select(0, rows).unflatten(0, index.shape),
            size=self.size.gather(1, index),
            centre=self.centre.flatten(0, 1).index_select(0, rows).unflatten(0, index.shape),
            duration=self.duration,
            recognised=self.recognised,
        )

    def reorder(self, order: Int[Tensor, "b m"]) -> VisualTokens:
        """Put all tokens in another order, per video."""
        tokens = self.take(order)
        if self.assignment is None:
            return tokens
        return replace(tokens, assignment=order.argsort(dim=1).gather(1, self.assignment))

    def videos(self, rows: Int[Tensor, " k"], count: int) -> VisualTokens:
        """Choose videos of a batch, and of each the first `count` tokens."""
        return VisualTokens(
            features=self.features[rows, :count],
            size=self.size[rows, :count],
            centre=self.centre[rows, :count],
            duration=self.duration[rows],
            recognised=self.recognised and self.recognised.videos(rows),
        )

    def pad(self, count: int) -> VisualTokens:
        """Fill up to `count` tokens with tokens of size 0."""
        more = count - self.count
        pad = torch.nn.functional.pad
        return VisualTokens(
            features=pad(self.features, (0, 0, 0, more)),
            size=pad(self.size, (0, more)),
            centre=pad(self.centre, (0, 0, 0, more)),
            duration=self.duration,
            recognised=self.recognised,
        )

    def to(self, device: torch.device | str) -> VisualTokens:
        """Move to another device."""
        return VisualTokens(
            features=self.features.to(device),
            size=self.size.to(device),
            centre=self.centre.to(device),
            duration=self.duration.to(device),
            assignment=None if self.assignment is None else self.assignment.to(device),
            recognised=self.recognised and self.recognised.to(device),
        )

    @staticmethod
    def batch(items: list[VisualTokens]) -> VisualTokens:
        """Put videos of different token counts into one batch, padded to the longest."""
        longest = max(item.count for item in items)
        padded = [item.pad(longest) for item in items]
        recognised = [item.recognised for item in items if item.recognised is not None]
        return VisualTokens(
            features=torch.cat([item.features for item in padded]),
            size=torch.cat([item.size for item in padded]),
            centre=torch.cat([item.centre for item in padded]),
            duration=torch.cat([item.duration for item in padded]),
            recognised=Recognised.batch(recognised) if len(recognised) == len(items) else None,
        )

    @staticmethod
    def join(first: VisualTokens, second: VisualTokens) -> VisualTokens:
        """Put the tokens of two parts of the same videos one after the other."""
        assignment = None
        if first.assignment is not None and second.assignment is not None:
            assignment = torch.cat([first.assignment, first.count + second.assignment], dim=1)
        return VisualTokens(
            features=torch.cat([first.features, second.features], dim=1),
            size=torch.cat([first.size, second.size], dim=1),
            centre=torch.cat([first.centre, second.centre], dim=1),
            duration=torch.maximum(first.duration, second.duration),
            assignment=assignment,
        )


def flat_rows(index: Int[Tensor, "b k"], count: int) -> Int[Tensor, "b k"]:
    """Turn indices into the `count` tokens of each video into rows of all videos' tokens."""
    if len(index) == 1:
        return index
    return index + count * torch.arange(len(index), device=index.device)[:, None]
