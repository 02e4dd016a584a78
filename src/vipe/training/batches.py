"""Training, step 2: which clips a step sees, and what is asked about them.

A batch is a function of the seed and the step, so that a run that was stopped goes on with the
very batches it would have seen. Where steps are of several batches (`processes.py`), "step" in this
module is the batch's place among those of all steps.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vipe.data.clip import Clip, ClipSource
from vipe.merging import MergeConfig, VisualTokens
from vipe.training.ahead import made_ahead
from vipe.training.alignment import AskedWords, Bag
from vipe.training.concepts import Sightings, sightings
from vipe.training.features import FeatureStore
from vipe.training.packing import PackedRows, Packer, Turn
from vipe.training.segments import OF_TIME, SeenFrames, Segments, composed, cut

Kinds = tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step sees: each row of questions belongs to the clip of the same place.

    Attributes:
        tokens: Of the videos.
        rows: The questions of each clip.
        bags: The words of its answers.
        asked: Its questions, with the words of their answers.
        seen: What it shows.
        mix: Of which videos a clip's weights are the mean, by what shares; None where each clip
            is the video of the same place.
        frames: Of the videos, to be recognised; None where that is not asked for.
        place: Its number in the run, which seeds what is drawn under it.
    """

    tokens: VisualTokens
    rows: PackedRows
    bags: tuple[Bag, ...]
    asked: tuple[AskedWords, ...]
    seen: tuple[Sightings, ...] = ()
    mix: Float[Tensor, "clips videos"] | None = None
    frames: SeenFrames | None = None
    place: int = 0

    def tokens_with(self, other: Batch | None) -> VisualTokens:
        """Return the videos of this batch, and after them those of another."""
        if other is None:
            return self.tokens
        return VisualTokens.batch([self.tokens, other.tokens])

    def to(self, device: torch.device | str) -> Batch:
        """Move what is seen to another device; the language model moves the rows."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            mix=None if self.mix is None else self.mix.to(device),
            frames=None if self.frames is None else self.frames.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Steps whose batches are drawn alike.

    Attributes:
        clips: Of each source in every batch.
        merge_ratios: One is drawn for each step.
        steps: How many; None for all that follow.
        segments: Which of the clips are seen in segments; None for none.
    """

    clips: tuple[int, ...]
    merge_ratios: tuple[float, ...]
    steps: int | None = None
    segments: Segments | None = None


class Batches:
    """The batches of a run.

    Args:
        sources: Where clips come from; each goes through all of its clips before any comes again.
        features: Holds the features of all their entries.
        packer: Packs the questions.
        merging: How tokens merge; the ratio is a phase's. None keeps every patch a token.
        phases: One after another; the last has no end.
        kinds: For each source, the kinds of questions that its rows hold; None for all.
        seed: Draws the order, the questions and the answers.
        device: Where the videos of a batch are.
        frames: Whether frames are to be recognised.
    """

    def __init__(
        self,
        sources: Sequence[ClipSource],
        features: FeatureStore,
        packer: Packer,
        *,
        merging: MergeConfig | None,
        phases: Sequence[Phase],
        kinds: Sequence[tuple[str, ...] | None] | None = None,
        seed: int,
        device: torch.device | str = "cpu",
        frames: bool = False,
    ) -> None:
        self.device, self.frames = device, frames
        self.sources, self.features, self.packer = list(sources), features, packer
        self.merging, self.phases, self.seed = merging, tuple(phases), seed
        self.kinds = [None] * len(self.sources) if kinds is None else list(kinds)

    def __getitem__(self, step: int) -> Batch:
        """Return the batch of a step, always the same."""
        return self.made(step).to(self.device)

    def made(self, step: int) -> Batch:
        """Make the batch of a step, on the CPU."""
        clips, kinds, ratio, rng = self._draw(step)
        batch = self._collate(clips, rng, ratio, kinds, self._phase(step)[0].segments)
        return replace(batch, place=step)

    def bags_and_sightings(self, step: int) -> tuple[tuple[Bag, ...], tuple[Sightings, ...]]:
        """Return the words of a step's batch and what it shows alone, which takes little."""
        clips, _, _, rng = self._draw(step)
        bags = self.packer.bags([_turns(clip, rng) for clip in clips])
        return bags, tuple(map(sightings, clips))

    def _draw(self, step: int) -> tuple[list[Clip], list[Kinds], float, random.Random]:
        """The clips of a step, what is asked of each, the merge ratio, and what draws questions."""
        rng = random.Random(f"{self.seed}/{step}")
        phase, before, passed = self._phase(step)
        clips: list[Clip] = []
        kinds: list[Kinds] = []
        for number, source in enumerate(self.sources):
            count = phase.clips[number]
            first = passed[number] + (step - before) * count
            for place in range(first, first + count):
                epoch, at = divmod(place, len(source))
                order = _order(f"{self.seed}/{number}/{epoch}", len(source))
                clips.append(source.clip(int(order[at]), epoch))
                kinds.append(self.kinds[number])
        return clips, kinds, rng.choice(phase.merge_ratios), rng

    def _phase(self, step: int) -> tuple[Phase, int, list[int]]:
        """The phase of a step, the steps before it, and the clips of each source in those."""
        before, passed = 0, [0] * len(self.sources)
        for phase in self.phases:
            if phase.steps is None or step < before + phase.steps:
                return phase, before, passed
            before += phase.steps
            passed = [n + phase.steps * m for n, m in zip(passed, phase.clips, strict=True)]
        raise IndexError(f"step {step}: the phases have {before} steps")

    def collate(
        self,
        clips: Sequence[Clip],
        rng: random.Random,
        merge_ratio: float,
        kinds: Sequence[Kinds] | None = None,
        segments: Segments | None = None,
    ) -> Batch:
        """Make the batch of some clips; `kinds` are those of questions in each clip's row."""
        return self._collate(clips, rng, merge_ratio, kinds, segments).to(self.device)

    def _collate(
        self,
        clips: Sequence[Clip],
        rng: random.Random,
        merge_ratio: float,
        kinds: Sequence[Kinds] | None,
        segments: Segments | None,
    ) -> Batch:
        turns = [_turns(clip, rng) for clip in clips]
        config = None if self.merging is None else replace(self.merging, merge_ratio=merge_ratio)
        parts = [
            cut(
                clip,
                *self.features.clip(clip),
                rng=rng,
                segments=segments,
                passing=self.features.passing(clip) if self.frames else None,
            )
            for clip in clips
        ]
        seen = composed(parts, config, frames=self.frames)
        rows = self.packer.pack(
            [
                [
                    turn
                    for turn in asked
                    if (only is None or turn.kind in only)
                    and not (part.summed and turn.kind in OF_TIME)
                ]
                for asked, only, part in zip(
                    turns, kinds or [None] * len(turns), parts, strict=True
                )
            ]
        )
        return Batch(
            tokens=seen.tokens,
            rows=rows,
            bags=self.packer.bags(turns),
            asked=self.packer.asked(rows.turns),
            seen=tuple(map(sightings, clips)),
            mix=seen.mix,
            frames=seen.frames,
        )

    def stream(self, steps: Iterable[int], workers: int = 0) -> Iterator[Batch]:
        """Yield the batches of some steps, made while those before them are used.

        Args:
            steps: Which.
            workers: Processes that make them; 0 for a thread.
        """
        for batch in made_ahead(self.made, steps, workers):
            yield batch.to(self.device)


@lru_cache(maxsize=16)
def _order(name: str, count: int) -> np.ndarray:
    return np.random.default_rng([ord(c) for c in name]).permutation(count)


def _turns(clip: Clip, rng: random.Random) -> list[Turn]:
    """Every question of a clip, in random order, each with one of its answers.

    A caption comes first, since it says most, and one question of each kind before the second of
    any kind, so that no kind crowds out another.
    """
    by_kind: dict[str, list[Turn]] = {}
    for question in rng.sample(clip.questions, len(clip.questions)):
        by_kind.setdefault(question.kind, []).append(
            Turn(
                question=question.text,
                answer=rng.choice(question.answers),
                kind=question.kind,
                before=question.before,
                answers=question.answers,
            )
        )
    kinds = sorted(rng.sample(list(by_kind), len(by_kind)), key=lambda kind: kind != "caption")
    longest = max(map(len, by_kind.values()), default=0)
    return [by_kind[kind][i] for i in range(longest) for kind in kinds if i < len(by_kind[kind])]
