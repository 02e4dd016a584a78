"""Scenes joined at stretched lengths: when is what seen, from frames that are there anyway.

A clip of eight frames can stand for any length of time: what is asked, in seconds, is decided by
the seconds at which its frames are shown. So joins of single scenes (`scene_joins`) are shown over
some seconds or over many minutes, and asked about time (`time_questions`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng

from vipe.data.clip import Clip, Question, Shot
from vipe.data.pictures import STYLES, confusable, pictures
from vipe.data.scene_joins import SceneJoins, described
from vipe.data.scene_questions import ask
from vipe.data.scene_sampling import VERSION, sample_scene, scene_kind
from vipe.data.scene_source import SceneSource, sightings
from vipe.data.scenes import Scene, draw
from vipe.data.time_questions import Stretch, ask_when

LENGTHS = (4.0, 600.0)
"""In seconds, the shortest and the longest; lengths are spread evenly over their logarithm."""

_FRAMES = (6, 8, 8, 8, 12, 16)
_MOST = 240
"""Frames of a file, or one a second."""


class SceneTimes(SceneJoins):
    """Two to four scenes of one picture each, one after another over any time; a `ClipSource`."""

    def __init__(
        self, source: SceneSource, count: int, lengths: tuple[float, float] = LENGTHS
    ) -> None:
        """Make a source.

        Args:
            source: Where the scenes come from, with at least ten scenes of one picture.
            count: The number of clips of one pass.
            lengths: The shortest and the longest, in seconds.

        Raises:
            DataError: There are too few scenes to join.
        """
        super().__init__(source, count)
        self.lengths = lengths

    def clip(self, index: int, epoch: int = 0) -> Clip:
        """The `index`-th clip; every pass shows others."""
        rng = default_rng([VERSION, index, 3, epoch])
        parts = self.choose(rng, int(rng.integers(2, 5)))
        frames = int(rng.choice(_FRAMES))
        length = _length(rng, self.lengths)
        step = length / frames
        cuts = _cuts(rng, frames, len(parts))
        shots = []
        for (_, shot), (first, last) in zip(parts, pairwise(cuts), strict=True):
            there, wanted = len(shot.index), last - first
            shown = tuple(shot.index[(2 * i + 1) * there // (2 * wanted)] for i in range(wanted))
            times = tuple(round((i + 0.5) * step, 6) for i in range(first, last))
            shots.append(Shot(key=shot.key, index=shown, seconds=times))
        scenes = [scene for scene, _ in parts]
        ends = [cut * step for cut in cuts]
        ends[-1] = length
        whole = described(index, scenes, [end / length for end in ends])
        questions = ask_when(rng, _stretches(scenes, ends), length)
        return Clip(
            shots=tuple(shots),
            questions=(*questions, *ask(whole, epoch)),
            sightings=sightings(whole),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedScene:
    """Scenes one after another over a stretched time, described; to be drawn at any second.

    Attributes:
        scenes: Of one picture each.
        ends: When each ends, in seconds; the last is the length.
        questions: What is asked about time.
    """

    scenes: tuple[Scene, ...]
    ends: tuple[float, ...]
    questions: tuple[Question, ...]

    @property
    def length(self) -> float:
        """In seconds."""
        return self.ends[-1]

    @property
    def rate(self) -> int:
        """Frames a second of a file: fewer of longer ones, and never less than one."""
        return max(1, min(10, round(_MOST / self.length)))


def sample_times(
    seed: int, styles: Sequence[str] = STYLES, lengths: tuple[float, float] = LENGTHS
) -> TimedScene:
    """The timed scenes that a seed names; each of them is of a seed above 1,000,000.

    Times and length are whole frames of the file.
    """
    rng = default_rng([VERSION, seed, 4])
    wanted = int(rng.integers(2, 5))
    scenes: list[Scene] = []
    while len(scenes) < wanted:
        number = int(rng.integers(1_000_000, 2**31))
        if scene_kind(number) not in ("still", "move", "change"):
            continue
        scene = sample_scene(number, styles)
        thing = pictures()[scene.actors[0].name]
        if not any(confusable(thing, pictures()[other.actors[0].name]) for other in scenes):
            scenes.append(scene)
    length = float(round(_length(rng, lengths)))
    shares = rng.dirichlet([4.0] * wanted)
    ends: list[float] = []
    for share in accumulate(shares):  # each at least a second after the one before
        ends.append(max(round(float(share) * length), ends[-1] + 1 if ends else 1) * 1.0)
    return TimedScene(
        scenes=tuple(scenes),
        ends=tuple(ends),
        questions=tuple(ask_when(rng, _stretches(scenes, [0.0, *ends]), ends[-1])),
    )


def frames_of(video: TimedScene, size: int = 224) -> Iterator[np.ndarray]:
    """Draw timed scenes frame by frame, each `(size, size, 3)` uint8; one at a time is held."""
    last: tuple[object, np.ndarray] | None = None
    for number in range(round(video.length * video.rate)):
        second = (number + 0.5) / video.rate
        which = next(i for i, end in enumerate(video.ends) if second < end)
        start = video.ends[which - 1] if which else 0.0
        scene = video.scenes[which]
        share = (second - start) / (video.ends[which] - start)
        looks = which, scene.poses(share * scene.duration)
        if last is None or last[0] != looks:
            last = looks, np.asarray(draw(scene, share * scene.duration, size))
        yield last[1]


def rows_of(video: TimedScene) -> list[dict[str, Any]]:
    """Rows of the questions, without the video's name: see `vipe.evaluation.rows`."""
    return [row_of(question) for question in video.questions]


def row_of(question: Question) -> dict[str, Any]:
    """Return the row of a question, without the video's name."""
    row: dict[str, Any] = {"question": question.text, "kind": question.kind}
    if question.seconds is None:
        return row | {"accept": list(question.accept)}
    start, end = (round(second, 3) for second in question.seconds)
    return row | {"seconds": start if start == end else [start, end], "length": question.length}


def _length(rng: Generator, lengths: tuple[float, float]) -> float:
    low, high = (math.log(length) for length in lengths)
    return round(math.exp(rng.uniform(low, high)), 1)


def _cuts(rng: Generator, frames: int, parts: int) -> list[int]:
    """Cut so many frames into so many parts of at least one."""
    between = rng.permutation(np.arange(1, frames))[: parts - 1]
    return [0, *sorted(int(at) for at in between), frames]


def _stretches(scenes: Sequence[Scene], ends: Sequence[float]) -> list[Stretch]:
    return [
        Stretch(picture=pictures()[scene.actors[0].name], start=start, end=end)
        for scene, (start, end) in zip(scenes, pairwise(ends), strict=True)
    ]
