"""Training data: photographs with captions, shown as clips: stills, crops, pans, zooms, sequences.

The photographs lie in tars of `KEY.jpg` and `KEY.json` (`{"captions": [sentences]}`, the
WebDataset layout). A photograph is rendered as a few entries of frames, each encoded once:

    photo/KEY             the whole photograph, one frame
    photo/KEY/flip        mirrored (not where a caption says left or right)
    photo/KEY/crop/0, …   a part of 55–90% of the area, one frame; from the third on in other light,
                          and every other one mirrored (photo/KEY/crop/3/flip)
    photo/KEY/pan/0       six frames: a window of 70% of the side moves across (some photographs)
    photo/KEY/zoom/0      six frames: in or out (some photographs)

Stills of many frames and sequences of several photographs are made of these at no further cost.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from pathlib import Path

from vipe.data import captions as rules
from vipe.data.clip import Clip, Question, Shot
from vipe.data.photograph_forms import CROPS, MOVING_FRAMES, grouped, midpoints, render_form
from vipe.data.photograph_rows import write_rows
from vipe.data.photograph_tars import PhotographTars, photograph_images
from vipe.data.presence import Presence
from vipe.errors import DataError
from vipe.frames import Frames

__all__ = ["PhotographSource", "photograph_images", "write_rows"]

_SHORT = 12
# How often questions are kept whose answer would else be a safe guess.
_COMMON = {("animal", "a dog"): 0.4, ("count", "one"): 0.5}
# What can still be answered when a part of the photograph is not shown.
_SURVIVES_CROP = frozenset({"caption", "action", "animal", "who"})
_SURVIVES_PAN = _SURVIVES_CROP | {"object", "where", "presence"}


class PhotographSource:
    """Clips of captioned photographs (a [`ClipSource`][vipe.data.clip.ClipSource]).

    Args:
        tars: The tars, in order.
        seed: Draws the form of each clip; the entries' pixels do not depend on it.
        size: Height and width of rendered frames.
        moving: Share of the photographs that have a pan or a zoom.
        sequences: Share of the clips that show two or three photographs in a row.
        crops: Parts of each photograph: the more, the later its captions are learned by heart.
        cropped: Share of the clips that show one part alone.
        captions: Of how many captions of a photograph each is an answer of its own, not one drawn
            of them all: with rows of captions alone, the cheapest way to learn them.
        max_frames: At most so many frames a clip.

    Raises:
        DataError: A tar cannot be read, or holds no captioned photograph.
    """

    def __init__(
        self,
        tars: Sequence[Path],
        *,
        seed: int = 0,
        size: int = 224,
        moving: float = 0.25,
        sequences: float = 0.2,
        crops: int = CROPS,
        cropped: float = 0.2,
        captions: int = 1,
        max_frames: int = 8,
    ) -> None:
        self.photographs = PhotographTars(tars)
        self.seed, self.size = seed, size
        self.moving, self.sequences, self.max_frames = moving, sequences, max_frames
        self.crops, self.cropped = crops, cropped
        self.captions_asked = captions
        self.captions = [
            tuple(dict.fromkeys(filter(None, map(rules.normalise, found))))
            for found in self.photographs.captions
        ]
        self._tokens = [[rules.tokenise(c) for c in found] for found in self.captions]
        self._presence = Presence(self._tokens)
        self._by_name = {name: i for i, name in enumerate(self.photographs.names)}
        self._questions: dict[int, list[Question]] = {}
        self._clauses: dict[int, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self.photographs)

    def keys(self) -> list[str]:
        """The keys of all entries, in the order of the photographs."""
        return [key for i in range(len(self)) for key in self._entries(i)]

    def _entries(self, i: int) -> list[str]:
        name = self.photographs.names[i]
        whole = f"photo/{name}"
        entries = [whole, *self._crops(i)]
        if self._may_flip(i):
            entries.append(f"{whole}/flip")
        if moving := self._moving(i):
            entries.append(f"{whole}/{moving}/0")
        return entries

    def _crops(self, i: int) -> list[str]:
        whole, flips = f"photo/{self.photographs.names[i]}", self._may_flip(i)
        return [
            f"{whole}/crop/{j}" + ("/flip" if flips and j >= CROPS and j % 2 else "")
            for j in range(self.crops)
        ]

    def _may_flip(self, i: int) -> bool:
        return not any({"left", "right"} & set(tokens) for tokens in self._tokens[i])

    def _moving(self, i: int) -> str:
        """Its "pan" or "zoom", "" where it has neither; the name alone decides."""
        drawn = zlib.crc32(self.photographs.names[i].encode()) % 10_000
        if drawn >= self.moving * 10_000:
            return ""
        return "pan" if drawn % 2 else "zoom"

    def clip(self, index: int, epoch: int = 0) -> Clip:
        """The `index`-th photograph in a form drawn from (seed, index, epoch)."""
        rng = random.Random(f"{self.seed}/{index}/{epoch}")
        drawn = rng.random()
        whole = f"photo/{self.photographs.names[index]}"
        if drawn < self.sequences and len(self) > 1:
            return self._sequence(index, rng)
        drawn = (drawn - self.sequences) / (1 - self.sequences)
        if drawn < self.cropped:
            shots = self._still([rng.choice(self._crops(index))], rng)
            return Clip(shots=shots, questions=self._about(index, rng, _SURVIVES_CROP))
        if drawn < self.cropped + 0.25 and (moving := self._moving(index)):
            order = range(MOVING_FRAMES) if rng.random() < 0.5 else range(MOVING_FRAMES)[::-1]
            shot = Shot(
                key=f"{whole}/{moving}/0",
                index=tuple(order),
                seconds=midpoints(MOVING_FRAMES, rng.uniform(1, 10)),
            )
            kinds = _SURVIVES_PAN if moving == "pan" else None
            return Clip(shots=(shot,), questions=self._about(index, rng, kinds))
        if self._may_flip(index) and rng.random() < 0.5:
            shots = self._still([f"{whole}/flip"], rng)
        else:
            crops = self._crops(index)[:CROPS]
            shots = self._still([whole, *rng.sample(crops, rng.randrange(len(crops) + 1))], rng)
        return Clip(shots=shots, questions=self._about(index, rng, None))

    def _still(self, entries: list[str], rng: random.Random) -> tuple[Shot, ...]:
        """One to eight frames; the first entry every other time, as a hand-held camera wavers."""
        count = min(rng.choice((1, 2, 4, 8)), self.max_frames)
        seconds = midpoints(count, rng.uniform(1, 10))
        keys = [entries[0] if k % 2 == 0 else rng.choice(entries) for k in range(count)]
        return grouped(keys, seconds)

    def _sequence(self, index: int, rng: random.Random) -> Clip:
        shown = [index]
        while len(shown) < min(3 if rng.random() < 0.35 else 2, len(self)):
            other = rng.randrange(len(self))
            if other not in shown:
                shown.append(other)
        rng.shuffle(shown)
        count = max(len(shown), min(rng.choice((4, 6, 8)), self.max_frames))
        # Each photograph has a share of the frames that differs from clip to clip.
        cuts = sorted(rng.sample(range(1, count), len(shown) - 1))
        keys = []
        for i, first, last in zip(shown, [0, *cuts], [*cuts, count], strict=True):
            whole = f"photo/{self.photographs.names[i]}"
            flip = self._may_flip(i) and rng.random() < 0.3
            keys += [f"{whole}/flip" if flip else whole] * (last - first)
        shots = grouped(keys, midpoints(count, rng.uniform(2, 12)))
        return Clip(shots=shots, questions=tuple(self._order(shown, rng)))

    def _about(
        self, i: int, rng: random.Random, kinds: frozenset[str] | None
    ) -> tuple[Question, ...]:
        """All questions about one photograph, or those of `kinds`."""
        found = [
            Question(text=rng.choice(rules.CAPTION_QUESTIONS), answers=answers, kind="caption")
            for answers in self._caption_answers(i, rng)
        ]
        if kinds is None or "presence" in kinds:
            found += self._presence.questions([i], rng)
            found += self._presence.questions([i], rng)
        for question in self.questions(i):
            share = _COMMON.get((question.kind, question.answers[0]), 1.0)
            if (kinds is None or question.kind in kinds) and rng.random() < share:
                found.append(question)
        return tuple(found)

    def _caption_answers(self, i: int, rng: random.Random) -> list[tuple[str, ...]]:
        """What answers each question for a caption: all of them, or one for each."""
        if self.captions_asked == 1:
            return [self.captions[i]]
        count = min(self.captions_asked, len(self.captions[i]))
        return [(caption,) for caption in rng.sample(self.captions[i], count)]

    def questions(self, i: int) -> list[Question]:
        """The rules' questions about the `i`-th photograph (all but captions and presence)."""
        if i not in self._questions:
            self._questions[i] = rules.questions([rules.parse(c) for c in self.captions[i]])
        return self._questions[i]

    def _order(self, shown: list[int], rng: random.Random) -> list[Question]:
        """What is asked about photographs in a row."""
        short = [self._short(i) for i in shown]
        joined = [", then ".join(rng.choice(captions) for captions in short) for _ in range(3)]
        found = [
            Question(
                text=rng.choice(rules.CAPTION_QUESTIONS),
                answers=tuple(dict.fromkeys(joined)),
                kind="caption",
            ),
            self._happens("What happens first?", shown, 0),
            self._happens("What happens last?", shown, len(shown) - 1),
        ]
        for at in range(len(shown)):
            phrase = rng.choice(self._phrases(shown[at]))
            if at + 1 < len(shown):
                found.append(self._happens(f"What happens after {phrase}?", shown, at + 1))
            if at > 0:
                found.append(self._happens(f"What happens before {phrase}?", shown, at - 1))
        found += self._presence.questions(shown, rng)
        found += self._presence.questions(shown, rng)
        return found

    def _phrases(self, i: int) -> tuple[str, ...]:
        """Short clauses that name what happens in the `i`-th photograph: "a dog is running"."""
        if i not in self._clauses:
            clauses = (rules.clause(rules.parse(c)) for c in self.captions[i])
            self._clauses[i] = tuple(dict.fromkeys(filter(None, clauses))) or self._short(i)
        return self._clauses[i]

    def _happens(self, text: str, shown: list[int], at: int) -> Question:
        elsewhere = {
            w for i in shown if i != shown[at] for tokens in self._tokens[i] for w in tokens
        }
        return Question(
            text=text,
            answers=self._short(shown[at]),
            kind="order",
            accept=rules.telling(self._tokens[shown[at]], elsewhere),
        )

    def _short(self, i: int) -> tuple[str, ...]:
        """The captions of at most twelve words, or else the shortest."""
        found = self.captions[i]
        short = tuple(c for c in found if 3 <= len(c.split()) <= _SHORT)
        return short or (min(found, key=len),)

    def render(self, key: str) -> Frames:
        """The pixels of one entry, `(T, 3, size, size)` uint8.

        Raises:
            DataError: There is no such entry, or its photograph cannot be decoded.
        """
        kind, _, rest = key.partition("/")
        name, _, form = rest.partition("/")
        i = self._by_name.get(name)
        if kind != "photo" or i is None or key not in self._entries(i):
            raise DataError(f"{key}: no such photograph or form of it")
        return render_form(self.photographs.image(i), form, key=key, size=self.size)
