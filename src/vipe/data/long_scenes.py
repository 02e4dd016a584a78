"""Long generated videos by seed, for evaluation: how they are made is in `long_structure`.

A long video is drawn frame by frame (`frames_of`), and is never held whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.random import Generator, default_rng

from vipe.data.long_structure import (
    ALONE,
    KINDS,
    VERSION,
    LongScene,
    compose_long,
    has_none,
    is_of,
)
from vipe.data.pictures import STYLES
from vipe.data.scene_sampling import sample_scene, scene_kind
from vipe.data.scenes import Scene, draw

LENGTHS = (8, 64, 256, 1024, 4096, 10_000)
"""In frames."""

_SEEDS = (1_000_000, 2**31)  # of the scenes: none that training takes


def kind_of(seed: int) -> str:
    """Return what is asked of a seed's video: seeds take turns."""
    return KINDS[seed % len(KINDS)]


def sample_long(seed: int, frames: int, styles: Sequence[str] = STYLES) -> LongScene[Scene]:
    """The long video that a seed and a length name.

    Args:
        seed: Which events, and of which kind.
        frames: How long, at least 8.
        styles: The drawing styles that may occur.

    Raises:
        ValueError: There are fewer frames than events need.
    """
    return compose_long(
        seed,
        kind_of(seed),
        frames,
        chooser=_Seeds(styles),
        events=default_rng([VERSION, seed]),  # does not know the length
        filling=default_rng([VERSION, seed, frames]),
    )


def frames_of(video: LongScene[Scene], size: int = 224) -> Iterator[np.ndarray]:
    """Draw a long video frame by frame, each `(size, size, 3)` uint8; one at a time is held."""
    for part in video.parts:
        last: tuple[object, np.ndarray] | None = None
        for number in range(part.frames):
            second = (number + 0.5) / part.frames * part.scene.duration
            poses = part.scene.poses(second)
            if last is None or last[0] != poses:
                last = poses, np.asarray(draw(part.scene, second, size))
            yield last[1]


class _Seeds:
    """A `Chooser` that draws seeds until a scene is wanted."""

    def __init__(self, styles: Sequence[str]):
        self.styles = styles

    def event(self, rng: Generator, group: str) -> Scene:
        while True:
            seed = int(rng.integers(*_SEEDS))
            if scene_kind(seed) in ALONE and is_of(scene := sample_scene(seed, self.styles), group):
                return scene

    def other(self, rng: Generator, group: str) -> Scene:
        while not has_none(scene := sample_scene(int(rng.integers(*_SEEDS)), self.styles), group):
            pass
        return scene
