"""Training, step 2: clips that are seen in segments, and composed as the library composes them.

A model that is only ever shown whole videos writes "whole" of a segment too, and never reads a mean
of updates. So a share of the clips is cut at places that are drawn, each segment is merged by
itself as a video of its own, and they are put at their times, or averaged once they are weights
(`vipe.composing`). Clips of several videos are always cut between these.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from vipe.composing import place, shares_of
from vipe.data.clip import Clip
from vipe.encoders.encoder import patch_positions
from vipe.merging import MergeConfig, VisualTokens, merge_frames, merge_video, reduce_to
from vipe.recognition import PICTURE_TOKENS, Recognised
from vipe.tokens import every_patch
from vipe.training.sources import Part

OF_TIME = ("order", "when", "moment", "two videos", "repeats", "chapters", "summary")
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
    """A clip's parts, in order.

    Attributes:
        parts: What is seen by itself.
        summed: Whether their weights are averaged.
        passing: Frames of the same time line that are recognised and not merged: of a video that
            is too long to merge, for which the others stand.
    """

    parts: tuple[Stretch, ...]
    summed: bool = False
    passing: Stretch | None = None


def cut(
    clip: Clip,
    features: Float[Tensor, "t n c"],
    seconds: Sequence[float],
    *,
    rng: random.Random,
    segments: Segments | None,
    passing: tuple[Float[Tensor, "p n c"], Sequence[float]] | None = None,
) -> Parts:
    """Cut a clip into what is seen by itself.

    Args:
        clip: Of one video or several.
        features: Of its frames.
        seconds: When these are shown.
        rng: Draws whether it is cut, and where.
        segments: None to cut between videos alone.
        passing: Features and seconds of frames that are recognised and not merged. A clip that has
            such is not cut, but between videos.
    """
    count, places, summed = len(seconds), set(clip.cuts), False
    if segments is not None and segments.share > 0 and count > 1 and passing is None:
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
    rest = passing and Stretch(
        features=passing[0], seconds=tuple(passing[1]), start=0.0, duration=whole
    )
    return Parts(parts=tuple(parts), summed=summed, passing=rest)


@dataclass(frozen=True, kw_only=True)
class SeenFrames:
    """The frames of some videos, each merged by itself, to be recognised.

    Attributes:
        tokens: Of one frame each.
        video: Which video each is of.
        seconds: When each is shown, in that video.
        every: Seconds from frame to frame of each video.
    """

    tokens: VisualTokens
    video: Int[Tensor, " frames"]
    seconds: Float[Tensor, " frames"]
    every: Float[Tensor, " videos"]

    def to(self, device: torch.device | str) -> SeenFrames:
        """Move to another device."""
        return SeenFrames(
            tokens=self.tokens.to(device),
            video=self.video.to(device),
            seconds=self.seconds.to(device),
            every=self.every.to(device),
        )

    def rows_of(self, video: int) -> Int[Tensor, " t"]:
        """Return which of the frames are one video's, in order of time."""
        rows = (self.video == video).nonzero()[:, 0]
        return rows[self.seconds[rows].argsort(stable=True)]

    def recognised(self, shares: Float[Tensor, "frames k"]) -> Recognised:
        """Return what each video's frames hold together, from what each frame holds."""
        found = []
        for video in range(len(self.every)):
            rows = self.rows_of(video)
            found.append(
                Recognised.of_frames(
                    shares[rows][None], self.seconds[rows][None], self.every[video : video + 1]
                )
            )
        return Recognised.batch(found)


@dataclass(frozen=True, kw_only=True)
class Composed:
    """What a step sees of some clips.

    Attributes:
        tokens: Of the videos that the module is to see.
        mix: What of these a clip's weights are the mean of; None where each clip is one of them.
        frames: Of the videos, to be recognised; None where that is not asked for.
    """

    tokens: VisualTokens
    mix: Float[Tensor, "clips videos"] | None
    frames: SeenFrames | None = None


def composed(
    clips: Sequence[Parts], config: MergeConfig | None, *, frames: bool = False
) -> Composed:
    """Merge every part by itself, then put those of a clip at their times, or leave them to a mean.

    Args:
        clips: The parts of each.
        config: How tokens merge; None keeps every patch a token, and parts are but put in a row.
        frames: Whether frames are to be recognised.
    """
    parts = [part for clip in clips for part in clip.parts]
    merged = iter(_merge(parts, config))
    videos: list[VisualTokens] = []
    shares: list[dict[int, float]] = []
    shown: list[list[Stretch]] = []
    for clip in clips:
        tokens = [next(merged) for _ in clip.parts]
        if clip.summed:
            own = shares_of([part.duration for part in clip.parts])
            shares.append({len(videos) + i: share for i, share in enumerate(own)})
            videos += tokens
            shown += [[replace(part, start=0.0)] for part in clip.parts]
            continue
        shares.append({len(videos): 1.0})
        shown.append([*clip.parts, *([] if clip.passing is None else [clip.passing])])
        if len(tokens) > 1:
            merging = config or MergeConfig(budget=sum(part.count for part in tokens))
            tokens = [place(tokens, [part.start for part in clip.parts], merging)]
        if clip.passing is not None:
            tokens = [replace(tokens[0], size=tokens[0].size * _standing(clip.parts))]
        videos += tokens
    seen = _seen_frames(shown, config) if frames and config is not None else None
    batch = VisualTokens.batch(videos)
    if len(videos) == len(clips):
        return Composed(tokens=batch, mix=None, frames=seen)
    mix = torch.zeros(len(clips), len(videos))
    for row, some in enumerate(shares):
        for video, share in some.items():
            mix[row, video] = share
    return Composed(tokens=batch, mix=mix, frames=seen)


def _standing(parts: Sequence[Stretch]) -> float:
    """For how many frames each of those stands that are merged: they are those of the whole."""
    whole = parts[-1].start + parts[-1].duration
    # Midpoints of equal parts: the first is shown after half of what there is from one to the next.
    return whole / (2 * parts[0].seconds[0] * sum(len(part.seconds) for part in parts))


def _seen_frames(shown: Sequence[Sequence[Stretch]], config: MergeConfig) -> SeenFrames:
    """Merge each frame of what is shown of some videos by itself, to few tokens."""
    tokens, video, seconds, every = [], [], [], []
    for number, stretches in enumerate(shown):
        times = sorted(part.start + second for part in stretches for second in part.seconds)
        every.append(min((b - a for a, b in pairwise(times) if b > a), default=times[0]))
        for part in stretches:
            features, position = part.features[None].float(), _positions(part)[None]
            within = merge_frames(features, position, torch.tensor([part.duration]), config)
            tokens.append(reduce_to(within, PICTURE_TOKENS, by="time", locality=config.locality))
            video += [number] * len(part.seconds)
            seconds += [part.start + second for second in part.seconds]
    return SeenFrames(
        tokens=VisualTokens.batch(tokens),
        video=torch.tensor(video),
        seconds=torch.tensor(seconds),
        every=torch.tensor(every),
    )


def _positions(part: Stretch) -> Float[Tensor, "t n 3"]:
    return patch_positions(torch.tensor(part.seconds), round(part.features.shape[1] ** 0.5))


def _merge(parts: Sequence[Stretch], config: MergeConfig | None) -> list[VisualTokens]:
    """Merge parts of equal length together, each by itself; in order."""
    by_length: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        by_length.setdefault(len(part.features), []).append(number)
    merged: dict[int, VisualTokens] = {}
    for numbers in by_length.values():
        features = torch.stack([parts[number].features for number in numbers]).float()
        position = torch.stack([_positions(parts[number]) for number in numbers])
        duration = torch.tensor([parts[number].duration for number in numbers])
        if config is None:
            tokens = every_patch(features, position, duration)
        else:
            tokens = merge_video(features, position, duration, config)
        for row, number in enumerate(numbers):
            merged[number] = tokens.videos(torch.tensor([row]), tokens.count)
    return [merged[number] for number in range(len(parts))]
