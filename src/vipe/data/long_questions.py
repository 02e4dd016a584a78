"""What is asked about a long generated video, with answers that are right by construction.

Evaluation asks in one wording, the same at every length (`ask_long`); training in several, and for
the presence of more things (`questions_of`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from numpy.random import Generator, default_rng

from vipe.data.clip import Question
from vipe.data.long_structure import RATE, VERSION, LongScene, Shows
from vipe.data.pictures import Picture, confusable_with, pictures
from vipe.data.scene_questions import nearly, yes_or_no
from vipe.data.scene_wordings import GROUPS as ASKED
from vipe.data.scene_wordings import NUMBERS, PRESENCE, fill
from vipe.data.time_questions import APPEARS, SHOWN_AT, said

MOMENTS = 256
"""In frames: training asks what is shown at a moment of videos that are no longer."""

# Evaluation asks in the first wording of each.
_NEEDLE = ("{asked}", "Which {one} is in the video?", "What {one} appears in the video?")
_FIRST = ("Which {one} comes first?", "Which {one} appears first?", "Which {one} is shown first?")
_LAST = ("Which {one} comes last?", "Which {one} appears last?", "Which {one} is shown last?")
_AFTER = (
    "Which {one} comes after {the thing}?",
    "Which {one} appears after {the thing}?",
    "Which {one} is shown after {the thing}?",
)
_BEFORE = (
    "Which {one} comes before {the thing}?",
    "Which {one} appears before {the thing}?",
    "Which {one} is shown before {the thing}?",
)
_REPEATS = (
    "How many times {does} {thing} appear in the video?",
    "How often {does} {thing} appear in the video?",
    "How many times {is} {thing} shown?",
    "How often {is} {thing} shown in the video?",
)
_CHAPTER = (
    "What is shown in the {which} part of the video?",
    "What does the {which} part of the video show?",
    "What can you see in the {which} part of the video?",
)
_SUMMARY = (
    "Describe the parts of the video in order.",
    "What does the video show, part by part?",
    "Summarize the parts of the video.",
)
_SUMMARIES = (
    "First {}, then {}, then {}.",
    "The video shows {}, then {}, and {} at the end.",
)

_MANY = {"food": "food", "clothing": "clothing"}  # as a group is called; else its plural
_OFTEN = {1: ("once",), 2: ("twice",)}
_CHAPTERS = ("first", "second", "last")
_BESIDE = 2  # things of other groups that training asks for, there, and as many that are not


def ask_long(video: LongScene[Shows]) -> list[dict[str, Any]]:
    """Rows of questions about a long video, without the video's name: see `vipe.evaluation.rows`.

    - needle: what the one thing of its group is, whether it is there, and whether another is.
    - order: which is first and last, and what follows and precedes what.
    - needle and order: when each thing appears, in seconds, and what is shown at that time.
    - repeats: how often it is seen.
    - chapters: of what each part is, out of three; and a summary, which is scored by references.
    """
    rng = default_rng([VERSION, video.seed, 1])  # the same questions at every length
    return [_row(question, video) for question in _questions(_Asker(rng, varied=False), video)]


def questions_of(video: LongScene[Shows], rng: Generator) -> tuple[Question, ...]:
    """Questions about a long video for training.

    Of one with a needle, it asks for the presence of some of the other things too, and of as many
    that are not there: neither a thing's group nor how often it is asked for tells the answer.

    Args:
        video: What is asked about.
        rng: Chooses the wordings and the things that are asked for.
    """
    asked = _questions(_Asker(rng, varied=True), video)
    return tuple(q for q in asked if q.kind != "moment" or len(video) <= MOMENTS)


class _Asker:
    """Chooses what is asked, and how: `varied` for training."""

    def __init__(self, rng: Generator, *, varied: bool):
        self.rng = rng
        self.varied = varied

    def text(self, texts: Sequence[str]) -> str:
        return str(self.drawn(texts)) if self.varied else texts[0]

    def drawn(self, among: Sequence[Any]) -> Any:
        return among[int(self.rng.integers(len(among)))]


def _questions(asker: _Asker, video: LongScene[Shows]) -> Iterator[Question]:
    yield from _ASKED[video.kind](asker, video)
    if video.kind in ("needle", "order"):
        yield from _times(asker, video)


def _needle(asker: _Asker, video: LongScene[Shows]) -> Iterator[Question]:
    (group,), (there,) = video.groups, _things(video)
    text = asker.text(_NEEDLE).replace("{asked}", ASKED[group]).replace("{one}", _one_of(group))
    yield _named(fill(text, many=False), there, "needle")
    shown = {name for part in video.parts for name in part.scene.things} if asker.varied else set()
    near = frozenset[str]().union(*(confusable_with(name) for name in (there.name, *shown)))
    absent = [p for p in pictures().values() if p.group == group and p.name not in near]
    asked = [(there, True), (asker.drawn(absent), False)]
    text = asker.drawn(PRESENCE)
    if asker.varied:
        asked += _beside(asker, video, near)
    for picture, yes in asked:
        yield yes_or_no(text, picture.phrase, picture.many, yes, kind="needle presence")
        if asker.varied:
            text = asker.drawn(PRESENCE)


def _beside(
    asker: _Asker, video: LongScene[Shows], near: frozenset[str]
) -> Iterator[tuple[Picture, bool]]:
    """Things of other groups than the needle's that are there, and as many that are not."""
    (group,) = video.groups
    # Of a sequence that is seen in a frame or two, some things are not seen at all.
    parts = [p for p in video.parts if p.event is None and p.scene.kind != "sequence"]
    there = list(dict.fromkeys(name for part in parts for name in part.scene.things))
    absent = [
        picture
        for picture in pictures().values()
        if picture.group != group and picture.name not in near and not nearly(group, [picture])
    ]
    for _ in range(min(_BESIDE, len(there), len(absent))):
        yes, no = (int(asker.rng.integers(len(some))) for some in (there, absent))
        yield pictures()[there.pop(yes)], True
        yield absent.pop(no), False


def _order(asker: _Asker, video: LongScene[Shows]) -> Iterator[Question]:
    (group,), things = video.groups, _things(video)

    def question(texts: Sequence[str], thing: Picture, about: Picture) -> Question:
        text = asker.text(texts).replace("{one}", _one_of(group))
        return _named(fill(text, the=_the(about), many=about.many), thing, "order")

    yield question(_FIRST, things[0], things[0])
    yield question(_LAST, things[-1], things[-1])
    for before, after in pairwise(things):
        yield question(_AFTER, after, before)
        yield question(_BEFORE, before, after)


def _times(asker: _Asker, video: LongScene[Shows]) -> Iterator[Question]:
    """When events are: of videos in which each is once."""
    length, things = len(video) / RATE, _things(video)
    frame = 0
    for part in video.parts:
        start, frame = frame, frame + part.frames
        if part.event is None:
            continue
        thing, appears = things[part.event], start / RATE
        yield Question(
            text=fill(asker.text(APPEARS), the=_the(thing), many=thing.many),
            answers=(f"at {said(appears, length)} seconds",),
            kind="when",
            seconds=(appears, appears),
            length=length,
        )
        # In the event's middle, and said so that it is within it.
        moment = f"{(start + part.frames / 2) / RATE:g} seconds"
        yield _named(asker.text(SHOWN_AT).replace("{time}", moment), thing, "moment")


def _repeats(asker: _Asker, video: LongScene[Shows]) -> Iterator[Question]:
    (thing,) = _things(video)
    short = _OFTEN.get(video.times, ())
    yield Question(
        text=fill(asker.text(_REPEATS), thing=thing.phrase, many=thing.many),
        answers=short or (f"{NUMBERS[video.times]} times",),
        kind="repeats",
        accept=(str(video.times), NUMBERS[video.times], *short),
    )


def _chapters(asker: _Asker, video: LongScene[Shows]) -> Iterator[Question]:
    names = [_many(group) for group in video.groups]
    for which, name in zip(_CHAPTERS, names, strict=True):
        text = asker.text(_CHAPTER).replace("{which}", which)
        yield Question(text=text, answers=(name,), kind="chapters", accept=(name,))
    yield Question(
        text=asker.text(_SUMMARY),
        answers=tuple(summary.format(*names) for summary in _SUMMARIES),
        kind="summary",
    )


_ASKED = {"needle": _needle, "order": _order, "repeats": _repeats, "chapters": _chapters}


def _row(question: Question, video: LongScene[Shows]) -> dict[str, Any]:
    row: dict[str, Any] = {"question": question.text}
    if question.seconds is not None:
        row |= {"seconds": question.seconds[0], "length": question.length}
    elif question.accept:
        row["accept"] = list(question.accept)
    else:
        row["references"] = list(question.answers)
    row["kind"] = question.kind
    if question.kind == "chapters":
        row["options"] = sorted(_many(group) for group in video.groups)
    return row | {"frames": len(video)}


def _named(text: str, thing: Picture, kind: str) -> Question:
    return Question(text=text, answers=(thing.phrase,), kind=kind, accept=thing.words)


def _things(video: LongScene[Shows]) -> list[Picture]:
    return [pictures()[scene.things[0]] for scene in video.events]


def _one_of(group: str) -> str:
    return f"piece of {group}" if group in _MANY else group


def _many(group: str) -> str:
    return _MANY.get(group, f"{group}s")


def _the(thing: Picture) -> str:
    return f"the {thing.name}"
