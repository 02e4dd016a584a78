"""Long generated videos: a few events among as many other scenes as the length asks for.

A long video is generated scenes one after another, its *shots*. The events of a seed are the same
at every length, and in the same order; between them lie more or fewer other scenes, which show
nothing that could be taken for an event. So what is asked is equally hard but for the length. It is
drawn frame by frame (`frames`), and is never held whole.

    needle    one event, of a group of things ("animal") of which nothing else is
    order     three events, different things of one group
    repeats   one event, one to four times
    chapters  three parts, in each of which all is of one group
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator, default_rng

from vipe.data.pictures import STYLES, confusable, pictures
from vipe.data.scene_questions import nearly
from vipe.data.scene_sampling import sample_scene, scene_kind
from vipe.data.scenes import Scene, draw

VERSION = 1
"""Whoever changes what a seed gives raises it, as with scenes."""

LENGTHS = (8, 64, 256, 1024, 4096, 10_000)
"""In frames."""

RATE = 2
"""Frames a second: as many as a stream is sampled at, so that each of them is seen."""

KINDS = ("needle", "order", "repeats", "chapters")
"""What is asked of a long video; seeds take turns."""

GROUPS = ("animal", "vehicle", "food", "clothing", "instrument")
"""Groups of things that events are of."""

_ALONE = ("still", "move", "change")  # kinds of scenes that show one thing
_EVENT = 4  # frames of an event, in all but the shortest videos
_SHOTS = (4, 16)  # frames of another shot
_SEEDS = (1_000_000, 2**31)  # of the scenes: none that training takes


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A shot of a long video.

    Attributes:
        scene: What it shows.
        frames: How many frames it takes; the scene is as much quicker or slower.
        event: Which of the events it is, from 0 on; in chapters the chapter; None for others.
    """

    scene: Scene
    frames: int
    event: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LongScene:
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
    events: tuple[Scene, ...]
    times: int
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return sum(part.frames for part in self.parts)


def sample_long(seed: int, frames: int, styles: Sequence[str] = STYLES) -> LongScene:
    """The long video that a seed and a length name.

    Args:
        seed: Which events; the kind is `KINDS[seed % 4]`.
        frames: How long, at least 8.
        styles: The drawing styles that may occur.

    Raises:
        ValueError: There are fewer frames than events need.
    """
    if frames < LENGTHS[0]:
        raise ValueError(f"a long video has at least {LENGTHS[0]} frames, got {frames}")
    kind = KINDS[seed % len(KINDS)]
    events = default_rng([VERSION, seed])  # does not know the length
    filling = default_rng([VERSION, seed, frames])
    if kind == "chapters":
        groups = tuple(str(group) for group in events.permutation(GROUPS)[:3])
        parts = _chapters(filling, groups, frames, styles)
        return LongScene(seed=seed, kind=kind, groups=groups, events=(), times=1, parts=parts)
    group = str(events.choice(GROUPS))
    shown: list[Scene] = []
    while len(shown) < (3 if kind == "order" else 1):
        scene = _find(events, lambda scene: _is_of(scene, group), styles, alone=True)
        if not any(_alike(scene, other) for other in shown):
            shown.append(scene)
    times = int(events.integers(1, 5)) if kind == "repeats" else 1
    parts = _among(filling, shown * times, group, frames, styles)
    return LongScene(
        seed=seed, kind=kind, groups=(group,), events=tuple(shown), times=times, parts=parts
    )


def frames_of(video: LongScene, size: int = 224) -> Iterator[np.ndarray]:
    """Draw a long video frame by frame, each `(size, size, 3)` uint8; one at a time is held."""
    for part in video.parts:
        last: tuple[object, np.ndarray] | None = None
        for number in range(part.frames):
            second = (number + 0.5) / part.frames * part.scene.duration
            poses = part.scene.poses(second)
            if last is None or last[0] != poses:
                last = poses, np.asarray(draw(part.scene, second, size))
            yield last[1]


def _among(
    rng: Generator, events: Sequence[Scene], group: str, frames: int, styles: Sequence[str]
) -> tuple[Part, ...]:
    """Put events at places that are drawn, in order and apart, among other scenes."""
    length = min(_EVENT, max(1, frames // 16))
    room = frames - length * len(events)
    # Of the frames that are not the events', so many lie before each event: at least one between.
    free = room - (len(events) - 1)
    before = np.sort(rng.integers(0, free + 1, len(events))) + np.arange(len(events))
    gaps = np.diff([0, *before, room])
    parts: list[Part] = []
    for number, gap in enumerate(gaps):
        parts += _others(rng, int(gap), group, styles)
        if number < len(events):
            which = number if len(set(map(id, events))) > 1 else 0
            parts.append(Part(scene=events[number], frames=length, event=which))
    return tuple(parts)


def _others(rng: Generator, frames: int, group: str, styles: Sequence[str]) -> list[Part]:
    """Fill so many frames with scenes of which nothing is, or might be, of a group."""
    parts = []
    for length in _cut(rng, frames):
        scene = _find(rng, lambda scene: _has_none(scene, group), styles)
        parts.append(Part(scene=scene, frames=length))
    return parts


def _chapters(
    rng: Generator, groups: Sequence[str], frames: int, styles: Sequence[str]
) -> tuple[Part, ...]:
    """Three parts of about a third, each of scenes of single things of one group."""
    count = len(groups)
    cuts = [0, *(round(frames * (k + rng.uniform(-0.1, 0.1)) / count) for k in range(1, count))]
    parts = []
    for chapter, (start, end) in enumerate(pairwise([*cuts, frames])):

        def wanted(scene: Scene, group: str = groups[chapter]) -> bool:
            return _is_of(scene, group)

        for length in _cut(rng, end - start):
            scene = _find(rng, wanted, styles, alone=True)
            parts.append(Part(scene=scene, frames=length, event=chapter))
    return tuple(parts)


def _cut(rng: Generator, frames: int) -> Iterator[int]:
    """Cut a stretch into shots."""
    while frames > 0:
        length = min(frames, int(rng.integers(*_SHOTS, endpoint=True)))
        yield length
        frames -= length


def _find(
    rng: Generator, wanted: Callable[[Scene], bool], styles: Sequence[str], *, alone: bool = False
) -> Scene:
    """Draw seeds until a scene is wanted; `alone` asks for one that shows one thing."""
    while True:
        seed = int(rng.integers(*_SEEDS))
        if alone and scene_kind(seed) not in _ALONE:
            continue
        scene = sample_scene(seed, styles)
        if wanted(scene):
            return scene


def _is_of(scene: Scene, group: str) -> bool:
    return all(pictures()[actor.name].group == group for actor in scene.actors)


def _has_none(scene: Scene, group: str) -> bool:
    shown = [pictures()[actor.name] for actor in scene.actors]
    return not nearly(group, shown) and all(picture.group != group for picture in shown)


def _alike(one: Scene, other: Scene) -> bool:
    table = pictures()
    return any(confusable(table[a.name], table[b.name]) for a in one.actors for b in other.actors)
