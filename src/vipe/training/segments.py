"""Training, step 2: clips that are seen in segments, and composed as the library composes them.

A model that is only ever shown whole videos writes "whole" of a segment too, and never reads a mean
of updates. So a share of the clips is cut at places that are drawn, each segment is merged by
itself as a video of its own, and they are put at their times, or averaged once they are weights
(`vipe.composing`). Clips of several videos are always cut between these.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from vipe.composing import place, shares_of
from vipe.data.clip import Clip
from vipe.encoders.encoder import patch_positions
from vipe.merging import MergeConfig, VisualTokens, merge_video
from vipe.tokens import every_patch
from vipe.training.sources import Part

OF_TIME = ("order", "when", "moment", "two videos")
"""Kinds of questions that a mean of updates cannot answer."""


class Segments(Part):
    """How many clips are seen in segments.

    Attributes:
        share: Of the clips of more than one frame.
        most: Segments of a clip; it is cut into two to so many, as far as it has frames.
        summed: The share of those clips whose segments are averaged as weights, in place of being
            put at their times; of these nothing is asked that is of time.
    """

    share: float = Field(default=0.0, ge=0, le=1)
    most: int = Field(default=8, ge=2)
    summed: float = Field(default=0.0, ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Frames that are seen as a video of their own.

    Attributes:
        features: `(t, n, c)`.
        seconds: When each frame is shown, from the part's own beginning.
        start: When it begins, in the clip.
        duration: How long it is.
    """

    features: Float[Tensor, "t n c"]
    seconds: tuple[float, ...]
    start: float
    duration: float


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A clip's parts, in order, and whether they are averaged as weights."""

    parts: tuple[Stretch, ...]
    summed: bool = False


def cut(
    clip: Clip,
    features: Float[Tensor, "t n c"],
    seconds: Sequence[float],
    *,
    rng: random.Random,
    segments: Segments | None,
) -> Parts:
    """Cut a clip into what is seen by itself.

    Args:
        clip: Of one video or several.
        features: Of its frames.
        seconds: When these are shown.
        rng: Draws whether it is cut, and where.
        segments: None to cut between videos alone.
    """
    count, places, summed = len(seconds), set(clip.cuts), False
    if segments is not None and segments.share > 0 and count > 1:
        if rng.random() < segments.share:
            wanted = rng.randint(2, min(segments.most, count))
            places |= set(rng.sample(range(1, count), wanted - 1))
        summed = bool(places) and rng.random() < segments.summed
    # Midpoints of equal parts: the video is as long as the last plus the first.
    whole = seconds[-1] + seconds[0]
    edges = [(0, 0.0), *((at, (seconds[at - 1] + seconds[at]) / 2) for at in sorted(places))]
    parts = [
        Stretch(
            features=features[first:last],
            seconds=tuple(second - start for second in seconds[first:last]),
            start=start,
            duration=end - start,
        )
        for (first, start), (last, end) in pairwise([*edges, (count, whole)])
    ]
    return Parts(parts=tuple(parts), summed=summed)


def composed(
    clips: Sequence[Parts], config: MergeConfig | None
) -> tuple[VisualTokens, Float[Tensor, "clips videos"] | None]:
    """Merge every part by itself, then put those of a clip at their times, or leave them to a mean.

    Args:
        clips: The parts of each.
        config: How tokens merge; None keeps every patch a token, and parts are but put in a row.

    Returns:
        The tokens of the videos that the module is to see, and what of these a clip's weights are
        the mean of; None where each clip is one of them.
    """
    merged = iter(_merge([part for clip in clips for part in clip.parts], config))
    videos: list[VisualTokens] = []
    shares: list[dict[int, float]] = []
    for clip in clips:
        tokens = [next(merged) for _ in clip.parts]
        if clip.summed:
            own = shares_of([part.duration for part in clip.parts])
            shares.append({len(videos) + i: share for i, share in enumerate(own)})
            videos += tokens
            continue
        shares.append({len(videos): 1.0})
        if len(tokens) > 1:
            merging = config or MergeConfig(budget=sum(part.count for part in tokens))
            tokens = [place(tokens, [part.start for part in clip.parts], merging)]
        videos += tokens
    batch = VisualTokens.batch(videos)
    if len(videos) == len(clips):
        return batch, None
    mix = torch.zeros(len(clips), len(videos))
    for row, some in enumerate(shares):
        for video, share in some.items():
            mix[row, video] = share
    return batch, mix


def _merge(parts: Sequence[Stretch], config: MergeConfig | None) -> list[VisualTokens]:
    """Merge parts of equal length together, each by itself; in order."""
    by_length: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        by_length.setdefault(len(part.features), []).append(number)
    merged: dict[int, VisualTokens] = {}
    for numbers in by_length.values():
        features = torch.stack([parts[number].features for number in numbers]).float()
        grid = round(features.shape[2] ** 0.5)
        seconds = [torch.tensor(parts[number].seconds) for number in numbers]
        position = torch.stack([patch_positions(s, grid) for s in seconds])
        duration = torch.tensor([parts[number].duration for number in numbers])
        if config is None:
            tokens = every_patch(features, position, duration)
        else:
            tokens = merge_video(features, position, duration, config)
        for row, number in enumerate(numbers):
            merged[number] = VisualTokens(
                features=tokens.features[row : row + 1],
                size=tokens.size[row : row + 1],
                centre=tokens.centre[row : row + 1],
                duration=tokens.duration[row : row + 1],
            )
    return [merged[number] for number in range(len(parts))]
