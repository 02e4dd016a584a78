"""Generated scenes as a source of clips for training: a seed → frames and questions."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from PIL import Image

from vipe.data.clip import Clip, Shot, Sighting
from vipe.data.compression import as_compressed
from vipe.data.pictures import STYLES, pictures
from vipe.data.scene_questions import ask
from vipe.data.scene_sampling import VERSION, sample_scene
from vipe.data.scenes import Scene, draw_frames
from vipe.errors import DataError
from vipe.frames import Frames


class SceneSource:
    """Generated scenes, a `ClipSource`.

    Training takes seeds 0…999,999, evaluation 1,000,000 and above: what is measured was never
    trained on.

    A scene's key ("scene1/openmoji+fluent/224/123456") names its pixels for ever: the version of
    the generator, the styles, the size, the set of photographs if any, the share of scenes that is
    compressed if any is, the seed. Only moments that look different are rendered; frames that look
    the same are shown again by the clip's shot.
    """

    def __init__(
        self,
        seeds: Sequence[int] = range(100_000),
        *,
        size: int = 224,
        styles: Sequence[str] = STYLES,
        photographs: Sequence[Image.Image] | None = None,
        photographs_name: str = "photographs",
        passes: int = 1,
        compressed: float = 0.0,
    ):
        """Make a source.

        Args:
            seeds: Which scenes, in order; usually a range.
            size: The frames' side in pixels.
            styles: Drawing styles, of `pictures.STYLES`.
            photographs: RGB images for some of the backgrounds, by index; may be lazy.
            photographs_name: Names the set of photographs in the keys.
            passes: Questions of how many passes are asked of a clip at once: each words them
                otherwise and asks for other absent things.
            compressed: Share of the scenes whose frames went through a lossy compression.

        Raises:
            DataError: A style is unknown, or no seed is given.
        """
        unknown = set(styles) - set(STYLES)
        if unknown or not styles:
            raise DataError(f"styles {list(styles)}: must be some of {', '.join(STYLES)}")
        if not len(seeds):
            raise DataError("scenes: no seeds are given")
        self.seeds = seeds
        self.size = size
        self.styles = tuple(style for style in STYLES if style in styles)
        self.photographs = photographs
        self.passes = passes
        over = f"/{photographs_name}" if photographs is not None else ""
        lossy = f"/compressed{compressed:g}" if compressed else ""
        self.compressed = compressed
        self._prefix = f"scene{VERSION}/{'+'.join(self.styles)}/{size}{over}{lossy}/"

    def __len__(self) -> int:
        return len(self.seeds)

    def scene(self, seed: int) -> Scene:
        """The description of the scene that a seed names, with this source's styles."""
        return sample_scene(seed, self.styles, with_photographs=self.photographs is not None)

    def clip(self, index: int, epoch: int = 0) -> Clip:
        """The `index`-th scene; from pass to pass the questions vary, the frames do not."""
        scene = self.scene(self.seeds[index])
        passes = range(epoch * self.passes, (epoch + 1) * self.passes)
        asked = {question.text: question for one in passes for question in ask(scene, one)}
        return Clip(
            shots=(self.shot(scene),), questions=tuple(asked.values()), sightings=sightings(scene)
        )

    def shot(self, scene: Scene) -> Shot:
        """All frames of one of this source's scenes."""
        _, shown = scene.moments()
        return Shot(key=self._key(scene.seed), index=tuple(shown), seconds=scene.seconds())

    def keys(self) -> list[str]:
        """A key for every seed."""
        return [self._key(seed) for seed in self.seeds]

    def render(self, key: str) -> Frames:
        """The moments of a scene that look different, `(T, 3, size, size)` uint8.

        Raises:
            DataError: The key is not one of this source's.
        """
        seed = key.removeprefix(self._prefix)
        if seed == key or not seed.isdecimal():
            raise DataError(f"{key}: no scene of this source, whose keys begin {self._prefix}")
        scene = self.scene(int(seed))
        seconds, _ = scene.moments()
        pixels = draw_frames(scene, seconds, self.size, self.photographs)
        rng = random.Random(key)
        if rng.random() < self.compressed:
            pixels = as_compressed(pixels, rng)
        return Frames(
            pixels=torch.from_numpy(pixels),
            seconds=torch.tensor(seconds, dtype=torch.float32),
            duration=scene.duration,
        )

    def _key(self, seed: int) -> str:
        return f"{self._prefix}{seed}"


def sightings(scene: Scene) -> tuple[Sighting, ...]:
    """What a scene shows, when and where."""
    return tuple(
        Sighting(
            thing=pictures()[actor.name].phrase,
            start=actor.appears,
            end=actor.leaves,
            centre=((actor.start.y + actor.end.y) / 2, (actor.start.x + actor.end.x) / 2),
        )
        for actor in scene.actors
    )
