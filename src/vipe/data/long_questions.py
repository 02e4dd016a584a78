"""What is asked about a long generated video, with answers that are right by construction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from numpy.random import Generator, default_rng

from vipe.data.long_scenes import RATE, VERSION, LongScene
from vipe.data.pictures import Picture, confusable, pictures
from vipe.data.scene_wordings import GROUPS as ASKED
from vipe.data.scene_wordings import NUMBERS, PRESENCE, fill
from vipe.data.time_questions import APPEARS

_MANY = {"food": "food", "clothing": "clothing"}  # as a group is called; else its plural
_OFTEN = {1: ("once",), 2: ("twice",)}
_CHAPTERS = ("first", "second", "last")


def ask_long(video: LongScene) -> list[dict[str, Any]]:
    """Rows of questions about a long video, without the video's name: see `vipe.evaluation.rows`.

    - needle: what the one thing of its group is, whether it is there, and whether another is.
    - order: which is first and last, and what follows and precedes what.
    - needle and order: when each thing appears, in seconds, and what is shown at that time.
    - repeats: how often it is seen.
    - chapters: of what each part is, out of three; and a summary, which is scored by references.
    """
    rng = default_rng([VERSION, video.seed, 1])  # the same questions at every length
    rows = [*_ROWS[video.kind](rng, video), *_times(video)]
    return [row | {"frames": len(video)} for row in rows]


def _needle(rng: Generator, video: LongScene) -> Iterator[dict[str, Any]]:
    (group,), (there,) = video.groups, _things(video)
    yield _row(fill(ASKED[group], many=False), there.words, "needle")
    absent = [
        picture
        for picture in pictures().values()
        if picture.group == group and not confusable(picture, there)
    ]
    other = absent[int(rng.integers(len(absent)))]
    text = PRESENCE[int(rng.integers(len(PRESENCE)))]
    for picture, answer in ((there, "yes"), (other, "no")):
        asked = fill(text, thing=picture.phrase, many=picture.many)
        yield _row(asked, (answer,), "needle presence")


def _order(_: Generator, video: LongScene) -> Iterator[dict[str, Any]]:
    (group,), things = video.groups, _things(video)
    one = _one_of(group)
    yield _row(f"Which {one} comes first?", things[0].words, "order")
    yield _row(f"Which {one} comes last?", things[-1].words, "order")
    for before, after in pairwise(things):
        yield _row(f"Which {one} comes after {_the(before)}?", after.words, "order")
        yield _row(f"Which {one} comes before {_the(after)}?", before.words, "order")


def _times(video: LongScene) -> Iterator[dict[str, Any]]:
    """When events are: of videos in which each is once."""
    if video.kind not in ("needle", "order"):
        return
    length, things = len(video) / RATE, _things(video)
    frame = 0
    for part in video.parts:
        start, frame = frame, frame + part.frames
        if part.event is None:
            continue
        thing = things[part.event]
        yield {
            "question": fill(APPEARS[0], the=_the(thing), many=thing.many),
            "seconds": start / RATE,
            "length": length,
            "kind": "when",
        }
        # In the event's middle, and said so that it is within it.
        moment = f"{(start + part.frames / 2) / RATE:g}"
        yield _row(f"What is shown at {moment} seconds?", thing.words, "moment")


def _repeats(_: Generator, video: LongScene) -> Iterator[dict[str, Any]]:
    (thing,) = _things(video)
    do = "do" if thing.many else "does"
    appear = f"How many times {do} {thing.phrase} appear in the video?"
    often = (str(video.times), NUMBERS[video.times], *_OFTEN.get(video.times, ()))
    yield _row(appear, often, "repeats")


def _chapters(_: Generator, video: LongScene) -> Iterator[dict[str, Any]]:
    names = [_many(group) for group in video.groups]
    options = sorted(names)
    for which, name in zip(_CHAPTERS, names, strict=True):
        text = f"What is shown in the {which} part of the video?"
        yield _row(text, (name,), "chapters") | {"options": options}
    first, second, last = names
    yield {
        "question": "Describe the parts of the video in order.",
        "references": [
            f"First {first}, then {second}, then {last}.",
            f"The video shows {first}, then {second}, and {last} at the end.",
        ],
        "kind": "summary",
    }


_ROWS = {"needle": _needle, "order": _order, "repeats": _repeats, "chapters": _chapters}


def _row(question: str, accept: tuple[str, ...], kind: str) -> dict[str, Any]:
    return {"question": question, "accept": list(accept), "kind": kind}


def _things(video: LongScene) -> list[Picture]:
    return [pictures()[scene.actors[0].name] for scene in video.events]


def _one_of(group: str) -> str:
    return f"piece of {group}" if group in _MANY else group


def _many(group: str) -> str:
    return _MANY.get(group, f"{group}s")


def _the(thing: Picture) -> str:
    return f"the {thing.name}"
