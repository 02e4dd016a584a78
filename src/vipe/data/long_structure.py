"""How long generated videos are made: events among as many other scenes as the length asks for.

A long video is generated scenes one after another, its *shots*. The events of a seed are the same
at every length, and in the same order; between them lie more or fewer other scenes, which show
nothing that could be taken for an event. So what is asked is equally hard but for the length.

    needle    one event, of a group of things ("animal") of which nothing else is
    order     three events, different things of one group
    repeats   one event, one to four times
    chapters  three parts, in each of which all is of one group

Where the scenes come from is a `Chooser`'s: evaluation draws seeds (`long_scenes`), training takes
scenes whose features it has (`long_source`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.random import Generator

from vipe.data.pictures import confusable_with, pictures
from vipe.data.scene_questions import nearly

VERSION = 1
"""Whoever changes what a seed gives raises it, as with scenes."""

SHORTEST = 8
"""In frames: room for every kind's events."""

RATE = 2
"""Frames a second: as many as a stream is sampled at, so that each of them is seen."""

KINDS = ("needle", "order", "repeats", "chapters")
"""What is asked of a long video; seeds take turns."""

GROUPS = ("animal", "vehicle", "food", "clothing", "instrument")
"""Groups of things that events are of."""

ALONE = ("still", "move", "change")
"""Kinds of scenes that show one thing."""

LONGEST = 16
"""In frames."""

_EVENT = 4  # frames of an event, in all but the shortest videos
_SHOTS = (4, LONGEST)  # frames of another shot


@runtime_checkable
class Shows(Protocol):
    """A scene, as far as a long video knows it."""

    @property
    def kind(self) -> str:
        """The scene's kind."""
        ...

    @property
    def things(self) -> tuple[str, ...]:
        """The names of the pictures that it shows."""
        ...


S = TypeVar("S", bound=Shows, covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part(Generic[S]):
    """A shot of a long video.

    Attributes:
        scene: What it shows.
        frames: How many frames it takes; the scene is as much quicker or slower.
        event: Which of the events it is, from 0 on; in chapters the chapter; None for others.
    """

    scene: S
    frames: int
    event: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LongScene(Generic[S]):
    """A long video, described.

    Attributes:
        seed: Names it, together with its length.
        kind: One of `KINDS`.
        groups: The group of the events; of chapters, each one's.
        events: The scenes of the events that are different, in order; none of chapters.
        times: How often they are seen: more than once of repeats alone.
        parts: The shots.
    """

    seed: int
    kind: str
    groups: tuple[str, ...]
    events: tuple[S, ...]
    times: int
    parts: tuple[Part[S], ...]

    def __len__(self) -> int:
        return sum(part.frames for part in self.parts)


@runtime_checkable
class Chooser(Protocol[S]):
    """Where the scenes of long videos come from."""

    def event(self, rng: Generator, group: str) -> S:
        """A scene of one thing, which is of a group."""
        ...

    def other(self, rng: Generator, group: str) -> S:
        """A scene of which nothing is, or might be taken for, one of a group."""
        ...


def compose_long(
    seed: int,
    kind: str,
    frames: int,
    *,
    chooser: Chooser[S],
    events: Generator,
    filling: Generator,
    groups: Sequence[str] = GROUPS,
) -> LongScene[S]:
    """A long video of a kind and a length, out of a chooser's scenes.

    Args:
        seed: Names it.
        kind: One of `KINDS`.
        frames: How long, at least 8.
        chooser: Where the scenes come from.
        events: Draws the events.
        filling: Draws where they lie and what is between.
        groups: Events are of one of these, chapters of three of them.

    Raises:
        ValueError: There are fewer frames than events need.
    """
    if frames < SHORTEST:
        raise ValueError(f"a long video has at least {SHORTEST} frames, got {frames}")
    if kind == "chapters":
        chosen = tuple(str(group) for group in events.permutation(groups)[:3])
        parts = _chapters(filling, chosen, frames, chooser)
        return LongScene(seed=seed, kind=kind, groups=chosen, events=(), times=1, parts=parts)
    group = str(events.choice(groups))
    shown: list[S] = []
    while len(shown) < (3 if kind == "order" else 1):
        scene = chooser.event(events, group)
        if not any(_alike(scene, other) for other in shown):
            shown.append(scene)
    times = int(events.integers(1, 5)) if kind == "repeats" else 1
    parts = _among(filling, shown * times, group, frames, chooser)
    return LongScene(
        seed=seed, kind=kind, groups=(group,), events=tuple(shown), times=times, parts=parts
    )


def is_of(scene: Shows, group: str) -> bool:
    """Whether all that a scene shows is of a group."""
    return all(pictures()[name].group == group for name in scene.things)


def has_none(scene: Shows, group: str) -> bool:
    """Whether nothing that a scene shows is, or might be taken for, one of a group."""
    shown = [pictures()[name] for name in scene.things]
    return not nearly(group, shown) and all(picture.group != group for picture in shown)


def _among(
    rng: Generator, events: Sequence[S], group: str, frames: int, chooser: Chooser[S]
) -> tuple[Part[S], ...]:
    """Put events at places that are drawn, in order and apart, among other scenes."""
    length = min(_EVENT, max(1, frames // 16))
    room = frames - length * len(events)
    # Of the frames that are not the events', so many lie before each event: at least one between.
    free = room - (len(events) - 1)
    before = np.sort(rng.integers(0, free + 1, len(events))) + np.arange(len(events))
    gaps = np.diff([0, *before, room])
    parts: list[Part[S]] = []
    for number, gap in enumerate(gaps):
        # Between the events, other scenes.
        parts += [
            Part(scene=chooser.other(rng, group), frames=frames) for frames in _cut(rng, int(gap))
        ]
        if number < len(events):
            which = number if len(set(map(id, events))) > 1 else 0
            parts.append(Part(scene=events[number], frames=length, event=which))
    return tuple(parts)


def _chapters(
    rng: Generator, groups: Sequence[str], frames: int, chooser: Chooser[S]
) -> tuple[Part[S], ...]:
    """Three parts of about a third, each of scenes of single things of one group."""
    count = len(groups)
    cuts = [0, *(round(frames * (k + rng.uniform(-0.1, 0.1)) / count) for k in range(1, count))]
    return tuple(
        Part(scene=chooser.event(rng, groups[chapter]), frames=length, event=chapter)
        for chapter, (start, end) in enumerate(pairwise([*cuts, frames]))
        for length in _cut(rng, end - start)
    )


def _cut(rng: Generator, frames: int) -> Iterator[int]:
    """Cut a stretch into shots."""
    while frames > 0:
        length = min(frames, int(rng.integers(*_SHOTS, endpoint=True)))
        yield length
        frames -= length


def _alike(one: Shows, other: Shows) -> bool:
    return any(not confusable_with(name).isdisjoint(other.things) for name in one.things)
