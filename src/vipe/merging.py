"""Stage 3 of the flow, PatchFeatures → VisualTokens: the hierarchical merge.

Patches merge within a frame, then across the frames of a clip, then clip with clip up a tree, by
bipartite soft matching (Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, §3). A
merged token keeps its *size* (how many patches it stands for) and its size-weighted *centre* in
time and space, so that order and place survive.

Dimensions: b videos, t frames, n patches of a frame, c channels, m tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.clip_baselines import keep_frames, pool_places
from vipe.matching import in_order, reduce_to
from vipe.noticing import Noticing, Recognise
from vipe.visual_tokens import VisualTokens

__all__ = [
    "HierarchicalMerge",
    "MergeConfig",
    "Recognise",
    "VisualTokens",
    "merge_clip",
    "merge_frames",
    "merge_video",
    "reduce_to",
]


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """How much is merged away, and where.

    Attributes:
        merge_ratio: The share of a clip's patches that is merged away, within 0..1 (1 excluded).
        frames_per_clip: Frames that are merged with one another before clips merge up the tree.
        budget: The largest number of tokens that leaves, whatever the video's length.
        locality: Subtracted from the similarity of two patches for each frame width between
            them, so that what moves is not merged with where it was.
        steps: Steps of a similarity between 0 and 1, within a clip: what rounds to the same one is
            as much alike, so that a still picture merges the same way with a codec's noise as
            without (docs/decisions/0016). 0 for none, which is the paper's matching.
        within: How a clip's patches become fewer: "matching" is the hierarchical merge; "frames"
            and "pooling" are what it is compared with (`vipe.clip_baselines`). Clips merge up the
            tree in the same way.
    """

    merge_ratio: float = 0.5
    frames_per_clip: int = 8
    budget: int = 512
    locality: float = 0.5
    steps: int = 64
    within: Literal["matching", "frames", "pooling"] = "matching"

    def __post_init__(self) -> None:
        if not 0 <= self.merge_ratio < 1:
            raise ValueError(f"merge_ratio must be at least 0 and below 1, got {self.merge_ratio}")
        if self.frames_per_clip < 1 or self.budget < 1:
            raise ValueError("frames_per_clip and budget must be at least 1")
        if self.steps < 0:
            raise ValueError(f"steps must be at least 0, got {self.steps}")


class HierarchicalMerge:
    """Merges clips as they come: the carries of a binary counter, in bounded memory.

    At most `budget` tokens are kept a level, so `budget · log₂(clips)` in all. The result for a
    stream that ends is the result for the file: it depends on the order of the clips alone.

    Args:
        config: How much is merged away, and where.
        trace: Whether the tokens say which of them every patch went into (`assignment`), in the
            order of the patches that were pushed; that takes eight bytes for each patch.
        recognise: Says what frames hold, before they merge with one another; None for no one.
    """

    def __init__(
        self, config: MergeConfig, *, trace: bool = False, recognise: Recognise | None = None
    ) -> None:
        self.config, self.trace = config, trace
        self._levels: list[tuple[int, VisualTokens]] = []
        self._noticing = Noticing(recognise)

    def push(
        self,
        features: Float[Tensor, "b t n c"],
        position: Float[Tensor, "b t n 3"],
        duration: Float[Tensor, " b"],
    ) -> None:
        """Add the next clip: at most `frames_per_clip` frames of each video of a batch.

        Args:
            features: Patch features.
            position: (second, y, x) of each patch.
            duration: Seconds of each whole video, as far as they are known.
        """
        clip, frames = merge_clip(features, position, duration, self.config, trace=self.trace)
        if frames is not None:
            self._noticing.push(frames, position[:, :, 0, 0])
        self.add(clip)

    def add(self, tokens: VisualTokens) -> None:
        """Add what was merged already, of one part of the video, as its next clip."""
        if tokens.recognised is not None:
            self._noticing.add(tokens.recognised)
            tokens = replace(tokens, recognised=None)
        node = (0, tokens)
        while self._levels and self._levels[-1][0] == node[0]:
            node = (node[0] + 1, self._join(self._levels.pop()[1], node[1]))
        self._levels.append(node)

    def fork(self) -> HierarchicalMerge:
        """Return a merge of what was pushed so far, which goes on by itself; it copies nothing."""
        other = HierarchicalMerge(self.config, trace=self.trace)
        other._levels, other._noticing = list(self._levels), self._noticing.fork()
        return other

    @property
    def live_tokens(self) -> int:
        """Tokens that are held now, for each video."""
        return sum(tokens.count for _, tokens in self._levels)

    def result(self) -> VisualTokens:
        """Return the tokens of all that was pushed, in order of time, then of place.

        What was recognised is of all frames, or of none.

        Raises:
            ValueError: Nothing was pushed.
        """
        if not self._levels:
            raise ValueError("there are no frames to merge")
        tokens = self._levels[-1][1]
        for _, earlier in reversed(self._levels[:-1]):
            tokens = self._join(earlier, tokens)
        tokens = tokens.reorder(in_order(tokens.centre, by="time"))
        return replace(tokens, recognised=self._noticing.result())

    def _join(self, earlier: VisualTokens, later: VisualTokens) -> VisualTokens:
        joined = VisualTokens.join(earlier, later)
        return reduce_to(joined, self.config.budget, by="place", locality=self.config.locality)


def merge_video(
    features: Float[Tensor, "b t n c"],
    position: Float[Tensor, "b t n 3"],
    duration: Float[Tensor, " b"],
    config: MergeConfig,
    *,
    trace: bool = False,
    recognise: Recognise | None = None,
) -> VisualTokens:
    """Merge whole videos of equal numbers of frames; see `HierarchicalMerge`."""
    merge = HierarchicalMerge(config, trace=trace, recognise=recognise)
    step = config.frames_per_clip
    for start in range(0, features.shape[1], step):
        merge.push(features[:, start : start + step], position[:, start : start + step], duration)
    return merge.result()


def merge_clip(
    features: Float[Tensor, "b t n c"],
    position: Float[Tensor, "b t n 3"],
    duration: Float[Tensor, " b"],
    config: MergeConfig,
    *,
    trace: bool = False,
) -> tuple[VisualTokens, VisualTokens | None]:
    """Merge the patches of one clip: within each frame, then across its frames.

    Both steps keep the same share, so that together they keep `1 - merge_ratio` of the patches. A
    config may say another way to as many tokens, in which frames are not merged by themselves.

    Args:
        features: Patch features.
        position: (second, y, x) of each patch.
        duration: Seconds of each whole video.
        config: How much is merged away.
        trace: As of `HierarchicalMerge`.

    Returns:
        The clip's tokens, and those of its `b · t` frames before they merged with one another; None
        where they do not.
    """
    b, t, n, _ = features.shape
    total = max(1, min(config.budget, round((1 - config.merge_ratio) * t * n)))
    if config.within != "matching":
        plain = keep_frames if config.within == "frames" else pool_places
        return plain(features, position, duration, total, trace=trace), None
    within = merge_frames(features, position, duration, config, trace=trace)
    assignment = within.assignment
    if assignment is not None:
        before = within.count * torch.arange(t, device=features.device)[:, None]
        assignment = (assignment.reshape(b, t, n) + before).reshape(b, t * n)
    across = VisualTokens(
        features=within.features.unflatten(0, (b, t)).flatten(1, 2),
        size=within.size.unflatten(0, (b, t)).flatten(1, 2),
        centre=within.centre.unflatten(0, (b, t)).flatten(1, 2),
        duration=duration,
        assignment=assignment,
    )
    matched = reduce_to(across, total, by="place", locality=config.locality, steps=config.steps)
    return matched, within


def merge_frames(
    features: Float[Tensor, "b t n c"],
    position: Float[Tensor, "b t n 3"],
    duration: Float[Tensor, " b"],
    config: MergeConfig,
    *,
    trace: bool = False,
) -> VisualTokens:
    """Merge the patches of each frame of some clips by itself: `b · t` videos of one frame each."""
    b, t, n, _ = features.shape
    keep = 1 - config.merge_ratio
    per_frame = min(n, max(1, math.ceil((keep**0.5 if t > 1 else keep) * n)))
    within = VisualTokens(
        features=features.flatten(0, 1),
        size=features.new_ones(b * t, n),
        centre=position.flatten(0, 1),
        duration=duration.repeat_interleave(t),
        assignment=torch.arange(n, device=features.device).repeat(b * t, 1) if trace else None,
    )
    return reduce_to(within, per_frame, by="time", locality=config.locality, steps=config.steps)
