"""Scenes joined one after another: questions about order from frames that are there anyway.

What comes first and what after is hard to learn and needs many examples. Joining scenes that a
`SceneSource` renders, others in every pass, gives as many as one likes and costs nothing: the
frames, and their features, are the single scenes' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from numpy.random import Generator, default_rng

from vipe.data.clip import Clip, Shot
from vipe.data.pictures import confusable, pictures
from vipe.data.scene_questions import ask
from vipe.data.scene_sampling import VERSION, scene_kind
from vipe.data.scene_source import SceneSource, sightings
from vipe.data.scenes import Scene
from vipe.errors import DataError
from vipe.frames import Frames

_ONE_PICTURE = ("still", "move", "change")
_SEEDS = 10_000_000_000  # joined scenes have seeds of their own, beyond all others


class SceneJoins:
    """Two or three scenes of one picture each, one after another; a `ClipSource`."""

    def __init__(self, source: SceneSource, count: int):
        """Make a source.

        Args:
            source: Where the scenes come from, with at least ten scenes of one picture.
            count: The number of clips of one pass.

        Raises:
            DataError: There are too few scenes to join.
        """
        self.source = source
        self.count = count
        self._indices = [i for i, s in enumerate(source.seeds) if scene_kind(s) in _ONE_PICTURE]
        if len(self._indices) < 10:
            raise DataError(f"{len(self._indices)} scenes of one picture are too few to join")

    def __len__(self) -> int:
        return self.count

    def clip(self, index: int, epoch: int = 0) -> Clip:
        """The `index`-th join; every pass joins others."""
        rng = default_rng([VERSION, index, 2, epoch])
        wanted = int(rng.integers(2, 4))
        parts = self.choose(rng, wanted)
        lengths = [int(n) for n in rng.integers(2, 5 if wanted == 2 else 4, size=wanted)]
        step = float(rng.uniform(0.4, 1.0))
        shots, seconds = [], 0.0
        for (_, shot), length in zip(parts, lengths, strict=True):
            # Frames spread over the scene, so that what moves still moves.
            count = len(shot.index)
            shown = tuple(shot.index[(2 * i + 1) * count // (2 * length)] for i in range(length))
            times = tuple(round(seconds + (i + 0.5) * step, 6) for i in range(length))
            shots.append(Shot(key=shot.key, index=shown, seconds=times))
            seconds += length * step
        whole = described(index, [scene for scene, _ in parts])
        return Clip(shots=tuple(shots), questions=ask(whole, epoch), sightings=sightings(whole))

    def choose(self, rng: Generator, wanted: int) -> list[tuple[Scene, Shot]]:
        """Draw so many scenes of things that cannot be taken for one another."""
        parts: list[tuple[Scene, Shot]] = []
        while len(parts) < wanted:
            place = self._indices[int(rng.integers(len(self._indices)))]
            scene = self.source.scene(self.source.seeds[place])
            picture = pictures()[scene.actors[0].name]
            if not any(confusable(picture, pictures()[other.actors[0].name]) for other, _ in parts):
                parts.append((scene, self.source.shot(scene)))
        return parts

    def keys(self) -> list[str]:
        """The keys of the scenes of one picture."""
        keys = self.source.keys()
        return [keys[i] for i in self._indices]

    def render(self, key: str) -> Frames:
        """The frames of a scene, as the scenes' source renders them."""
        return self.source.render(key)


def described(index: int, scenes: Sequence[Scene], ends: Sequence[float] = ()) -> Scene:
    """The join as one scene, to be asked about; its background is no single one.

    Args:
        index: Names it.
        scenes: Of one picture each.
        ends: From 0 on, where each begins and the last ends, as shares; equal ones unless given.
    """
    backgrounds = [scene.background for scene in scenes]
    background = next((b for b in backgrounds if b.kind == "photograph"), backgrounds[0])
    ends = ends or [i / len(scenes) for i in range(len(scenes) + 1)]
    actors = tuple(
        replace(scene.actors[0], motion="still", place="", appears=start, leaves=end)
        for scene, (start, end) in zip(scenes, pairwise(ends), strict=True)
    )
    return Scene(
        seed=_SEEDS + index,
        kind="sequence",
        duration=1.0,
        frames=2 * len(scenes),
        background=replace(background, name=""),
        actors=actors,
    )
