"""Training, an alignment loss: which things each part of a video holds.

A binding writes what it recognises, so it has to be sure: by its questions and bags of words alone,
a gist says what it holds too faintly for a key (docs/decisions/0006). Where a source knows what is
seen, when and where, the concepts of every part are told; where only questions of presence say what
is there, those of the whole.

Dimensions: b videos, g parts, k concepts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from vipe.binding import Binding
from vipe.data.clip import Clip, Sighting
from vipe.gist import REACH, Part

Sightings = tuple[Sighting, ...]

_NOTHING = 0.6
"""A part in which things count less than this together holds nothing as well."""


def sightings(clip: Clip) -> Sightings:
    """What a clip shows: as its source says, or as its questions of presence do."""
    if clip.sightings:
        return clip.sightings
    there = (
        question.about
        for question in clip.questions
        if question.about and question.answers[0].casefold().startswith("yes")
    )
    return tuple(Sighting(thing=thing) for thing in dict.fromkeys(there))


@dataclass(frozen=True, kw_only=True)
class Things:
    """The things that concepts stand for; the last concept is "nothing".

    Attributes:
        names: The thing of each concept, as a question names it.
        concepts: k.
        parts: Where and when each gist looks.
    """

    names: tuple[str, ...]
    concepts: int
    parts: tuple[Part, ...]

    @classmethod
    def count(cls, seen: Iterable[Sightings], *, concepts: int, parts: Sequence[Part]) -> Things:
        """Take the commonest things of a sample of clips, as many as there are concepts."""
        often = Counter(sighting.thing for some in seen for sighting in some)
        names = sorted(sorted(often), key=often.__getitem__, reverse=True)[: concepts - 1]
        return cls(names=tuple(sorted(names)), concepts=concepts, parts=tuple(parts))

    def targets(
        self, seen: Sequence[Sightings]
    ) -> tuple[Float[Tensor, "b g k"], Bool[Tensor, "b g"]]:
        """Return what each part of some clips holds, as shares, and of which that is known."""
        number = {name: place for place, name in enumerate(self.names)}
        known = torch.zeros(len(seen), len(self.parts), dtype=torch.bool)
        near: dict[tuple[int, int, int], float] = {}
        for video, some in enumerate(seen):
            some = tuple(one for one in some if one.thing in number)
            placed = all(one.centre is not None for one in some)
            for place, part in enumerate(self.parts):
                whole = part == (None, None, None)
                if not some or not (whole or placed):
                    continue
                known[video, place] = True
                for thing in {one.thing for one in some}:
                    nearness = (_nearness(one, part) for one in some if one.thing == thing)
                    near[video, place, number[thing]] = max(nearness)
        held = torch.zeros(*known.shape, self.concepts)
        if near:  # at once: one by one takes longer than all else here
            held[tuple(torch.tensor([*near]).T)] = torch.tensor([*near.values()])
        held[..., -1] += (_NOTHING - held.sum(dim=-1)).clamp_min(0)
        return held / held.sum(dim=-1, keepdim=True), known

    def of_frames(
        self, seen: Sequence[Sightings], videos: Sequence[int], moments: Sequence[float]
    ) -> tuple[Float[Tensor, "f k"], Bool[Tensor, " f"]]:
        """Return what frames hold, each by itself, as shares, and of which that is known.

        A clip of one frame shows in it all that it shows; of others it must be known where.

        Args:
            seen: What each clip shows.
            videos: Which clip each frame is of.
            moments: When it is shown, as a share of the clip's length.
        """
        number = {name: place for place, name in enumerate(self.names)}
        held = torch.zeros(len(videos), self.concepts)
        known = torch.zeros(len(videos), dtype=torch.bool)
        lengths = Counter(videos)
        for frame, (video, moment) in enumerate(zip(videos, moments, strict=True)):
            some = [one for one in seen[video] if one.thing in number]
            if not some or (lengths[video] > 1 and any(one.centre is None for one in some)):
                continue
            known[frame] = True
            for one in some:
                if one.start <= moment <= one.end:
                    held[frame, number[one.thing]] = 1.0
        held[:, -1] += (held.sum(dim=1) == 0).to(held)
        return held / held.sum(dim=1, keepdim=True), known


def _nearness(sighting: Sighting, part: Part) -> float:
    """How much of a part a sighting is, by the Gaussian that weighs the tokens of its gist."""
    moment, y, x = part
    away = 0.0
    if moment is not None:
        away += max(sighting.start - moment, moment - sighting.end, 0.0) ** 2
    if sighting.centre is not None:
        for at, own in zip((y, x), sighting.centre, strict=True):
            away += 0.0 if at is None else (own - at) ** 2
    return math.exp(-away / REACH**2 / 2)


def concept_loss(
    binding: Binding, gists: Float[Tensor, "b g d"], things: Things, seen: Sequence[Sightings]
) -> Float[Tensor, ""] | None:
    """Cross-entropy with what parts are known to hold, averaged over these; None if none is."""
    held, known = things.targets(seen)
    if not known.any():
        return None
    known = known.to(gists.device)
    logits = binding.recognise(gists[known]).float()
    return F.cross_entropy(logits, held.to(logits)[known])
