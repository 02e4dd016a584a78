"""Long videos out of scenes whose features are there anyway, for training.

They are made as those of evaluation are (`long_structure`), of the scenes that a `SceneSource`
renders. Merging a long video whole would take too long in a step of training: of one, some shots
are merged, drawn at random, and the others pass, to be recognised only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.random import Generator, default_rng

from vipe.data.clip import Clip, Shot
from vipe.data.long_questions import questions_of
from vipe.data.long_structure import (
    ALONE,
    GROUPS,
    KINDS,
    LONGEST,
    RATE,
    SHORTEST,
    LongScene,
    Part,
    compose_long,
    has_none,
    is_of,
)
from vipe.data.pictures import confusable_with
from vipe.data.scene_sampling import VERSION
from vipe.data.scene_source import SceneSource
from vipe.errors import DataError
from vipe.frames import Frames

LENGTHS = (8, 10_000)
"""In frames, the shortest and the longest; lengths are spread evenly over their logarithm."""

MOST = 96
"""Frames that are merged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """What is kept of a scene: its kind, key and things, and the entry's frames in order."""

    kind: str
    key: str
    things: tuple[str, ...]
    index: tuple[int, ...]


class LongSource:
    """Long videos of a few events among other scenes; a `ClipSource`.

    A clip's `shots` are whole shots of the video, with its first and its last, so that half a
    frame is missing before the first frame and after the last. Which others there are is drawn, an
    event's as often as any other. Of the rest, `passing`, events are there with all frames, other
    shots, and those of chapters, with the one in their middle.
    """

    def __init__(
        self,
        source: SceneSource,
        count: int,
        lengths: tuple[int, int] = LENGTHS,
        most: int = MOST,
        videos: Sequence[str] = KINDS,
    ) -> None:
        """Make a source. It goes through all scenes once.

        Args:
            source: Where the scenes come from. Those before photographs are left out: photographs
                show things that nobody knows of.
            count: The number of clips of one pass.
            lengths: The shortest and the longest, in frames of half a second.
            most: Frames that are merged, at least twice those of the longest shot.
            videos: Which kinds of videos there are, each as often.

        Raises:
            DataError: A setting does not fit, or there are too few scenes.
        """
        if not SHORTEST <= lengths[0] <= lengths[1]:
            raise DataError(f"lengths of long videos must be {SHORTEST} frames or more: {lengths}")
        if not videos or not set(videos) <= set(KINDS):
            raise DataError(f"long videos are of the kinds {', '.join(KINDS)}: {videos}")
        if most < 2 * LONGEST:
            raise DataError(f"of a long video {2 * LONGEST} frames or more are merged: {most}")
        self.source = source
        self.count = count
        self.lengths = lengths
        self.most = most
        self.videos = tuple(videos)
        self._scenes = _Scenes(_known(source))

    def __len__(self) -> int:
        return self.count

    def clip(self, index: int, epoch: int = 0) -> Clip:
        """The `index`-th clip; every pass shows others."""
        rng = default_rng([VERSION, index, 6, epoch])
        low, high = (math.log(length) for length in self.lengths)
        frames = round(math.exp(rng.uniform(low, high)))
        kind = str(rng.choice(self.videos))
        video = compose_long(
            index,
            kind,
            frames,
            chooser=self._scenes,
            events=rng,
            filling=rng,
            groups=self._scenes.groups[kind],
        )
        merged = self._merged(rng, video)
        ends = accumulate(part.frames for part in video.parts)
        shots: list[Shot] = []
        passing: list[Shot] = []
        for number, (part, end) in enumerate(zip(video.parts, ends, strict=True)):
            whole = number in merged or (part.event is not None and kind != "chapters")
            shot = _shot(part, end - part.frames, whole=whole)
            (shots if number in merged else passing).append(shot)
        return Clip(shots=tuple(shots), questions=questions_of(video, rng), passing=tuple(passing))

    def keys(self) -> list[str]:
        """The keys of the scenes that long videos are made of."""
        return self._scenes.keys

    def render(self, key: str) -> Frames:
        """The frames of a scene, as the scenes' source renders them."""
        return self.source.render(key)

    def _merged(self, rng: Generator, video: LongScene[_Known]) -> set[int]:
        """Draw the shots that are merged, by number."""
        lengths = [part.frames for part in video.parts]
        last = len(lengths) - 1
        if sum(lengths) <= self.most:
            return set(range(len(lengths)))
        merged = {0, last}
        frames = sum(lengths[number] for number in merged)
        for number in rng.permutation(np.arange(1, last)):
            # Whatever the next one's length: short shots, as events are, must not come more often.
            if frames + LONGEST > self.most:
                break
            merged.add(int(number))
            frames += lengths[number]
        return merged


class _Scenes:
    """The `Chooser` of training: a source's scenes, by what is and is not in them."""

    def __init__(self, known: list[_Known]) -> None:
        single = [scene for scene in known if scene.kind in ALONE]
        self.of = {group: [s for s in single if is_of(s, group)] for group in GROUPS}
        self.without = {group: [s for s in known if has_none(s, group)] for group in GROUPS}
        chapters = tuple(group for group in GROUPS if self.of[group])
        one = tuple(group for group in chapters if self.without[group])
        three = tuple(group for group in one if _three({s.things[0] for s in self.of[group]}))
        self.groups = {"needle": one, "order": three, "repeats": one, "chapters": chapters}
        if len(chapters) < 3 or not three:
            raise DataError(f"{len(known)} scenes before no photograph are too few for long videos")
        used = {s.key for some in (self.of, self.without) for part in some.values() for s in part}
        self.keys = [scene.key for scene in known if scene.key in used]

    def event(self, rng: Generator, group: str) -> _Known:
        """A scene of one thing, which is of a group."""
        scenes = self.of[group]
        return scenes[int(rng.integers(len(scenes)))]

    def other(self, rng: Generator, group: str) -> _Known:
        """A scene of which nothing is, or might be taken for, one of a group."""
        scenes = self.without[group]
        return scenes[int(rng.integers(len(scenes)))]


def _known(source: SceneSource) -> list[_Known]:
    known = []
    for seed in source.seeds:
        scene = source.scene(seed)
        if scene.background.kind != "photograph":
            shot = source.shot(scene)
            known.append(
                _Known(kind=scene.kind, key=shot.key, things=scene.things, index=shot.index)
            )
    return known


def _three(names: set[str]) -> bool:
    """Whether to any of these things there is another, and to any two a third, quite unlike."""
    ordered = sorted(names)
    unlike = np.array(
        [[other not in confusable_with(one) for other in ordered] for one in ordered], dtype=int
    ).reshape(len(ordered), len(ordered))
    thirds = unlike @ unlike
    return bool(len(ordered) and unlike.any(1).all() and thirds[unlike > 0].all())


def _shot(part: Part[_Known], start: int, *, whole: bool) -> Shot:
    """The frames of a shot, spread over the scene so that what moves still moves.

    Args:
        part: The shot.
        start: The number of its first frame in the video.
        whole: All of them, or the one in the middle alone.
    """
    scene, wanted = part.scene, part.frames
    there = len(scene.index)
    frames = range(wanted) if whole else (wanted // 2,)
    return Shot(
        key=scene.key,
        index=tuple([scene.index[(2 * i + 1) * there // (2 * wanted)] for i in frames]),
        seconds=tuple([(start + i + 0.5) / RATE for i in frames]),
    )
