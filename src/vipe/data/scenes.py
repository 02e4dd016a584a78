"""Generated scenes: a plain description of a short video, and how it is drawn at any second.

A scene is a few named pictures before a background, each with a path over time. Its description
knows nothing of pixels, so questions about it have answers that are right by construction
(`scene_questions`), and it can be drawn at any second and size: at the few moments that training
looks at, or at every frame of a video file (`scene_files`). How scenes are chosen is in
`scene_sampling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from vipe.data.drawing import (
    RGB,
    Appearance,
    Background,
    Shape,
    draw_background,
    draw_shape,
    mean_color,
    posed_sprite,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Where a picture is at a moment. Lengths are parts of the frame's side, from the top left.

    Attributes:
        x: Centre.
        y: Centre.
        size: Longer side.
        angle: Degrees, counter-clockwise.
    """

    x: float
    y: float
    size: float
    angle: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """A named picture and its path.

    Attributes:
        name: A name of the table of pictures.
        appearance: How it is drawn.
        motion: "still", "left", "right", "up", "down", "grow", "shrink" or "turn".
        place: "left", "top left", "center", …; "" where it cannot be named.
        start: Its pose when it is first seen.
        end: Its pose when it is last seen.
        appears: When it is first seen, as a part of the scene's duration.
        leaves: When it is last seen.
    """

    name: str
    appearance: Appearance
    motion: str
    place: str
    start: Pose
    end: Pose
    appears: float = 0.0
    leaves: float = 1.0

    def pose(self, moment: float) -> Pose | None:
        """Its pose at a moment (part of the duration, 0…1); None while it is not seen."""
        if not self.appears <= moment < self.leaves:
            return None
        if self.start == self.end:
            return self.start
        part = (moment - self.appears) / (self.leaves - self.appears)
        one, other = self.start, self.end
        return Pose(
            x=one.x + part * (other.x - one.x),
            y=one.y + part * (other.y - one.y),
            size=one.size + part * (other.size - one.size),
            angle=one.angle + part * (other.angle - one.angle),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A short video, described.

    Attributes:
        seed: Names the scene.
        kind: "still", "move", "change", "pair", "several", "copies" or "sequence".
        duration: Seconds.
        frames: How many moments training sees.
        background: What is behind.
        actors: The pictures, in the order in which they are drawn, and first appear.
        shapes: Plain shapes that nobody asks about.
    """

    seed: int
    kind: str
    duration: float
    frames: int
    background: Background
    actors: tuple[Actor, ...]
    shapes: tuple[Shape, ...] = ()

    @property
    def things(self) -> tuple[str, ...]:
        """The names of its pictures, each once, in the order in which they first appear."""
        return tuple(dict.fromkeys(actor.name for actor in self.actors))

    def seconds(self) -> tuple[float, ...]:
        """When training looks: the middles of `frames` equal parts of the duration."""
        step = self.duration / self.frames
        return tuple(round((i + 0.5) * step, 6) for i in range(self.frames))

    def poses(self, second: float) -> tuple[Pose | None, ...]:
        """Each actor's pose at a second. Two moments of equal poses look exactly alike."""
        return tuple(actor.pose(second / self.duration) for actor in self.actors)

    def moments(self) -> tuple[list[float], list[int]]:
        """The seconds that look different from all before, and for each frame which it shows.

        A still scene of eight frames so has one moment, shown eight times.
        """
        seen: dict[tuple[Pose | None, ...], int] = {}
        distinct: list[float] = []
        index = []
        for second in self.seconds():
            poses = self.poses(second)
            if poses not in seen:
                seen[poses] = len(distinct)
                distinct.append(second)
            index.append(seen[poses])
        return distinct, index


def draw(
    scene: Scene,
    second: float,
    size: int = 224,
    photographs: Sequence[Image.Image] | None = None,
) -> Image.Image:
    """Draw a scene at a second.

    Args:
        scene: What to draw.
        second: When, from 0 to the scene's duration.
        size: The frame's side in pixels.
        photographs: For backgrounds; needed where the scene's background is a photograph.

    Returns:
        An RGB image of `(size, size)`, the same for the same arguments, on every call.
    """
    stage, behind = _stage(scene, size, _Photographs(photographs))
    frame = stage.copy()
    for actor, pose in zip(scene.actors, scene.poses(second), strict=True):
        if pose is None:
            continue
        pixels = max(1, round(pose.size * size))
        picture = posed_sprite(actor.name, actor.appearance, behind, pixels, pose.angle)
        corner = (
            round(pose.x * size - picture.width / 2),
            round(pose.y * size - picture.height / 2),
        )
        frame.paste(picture, corner, picture)
    for shape in scene.shapes:
        if shape.in_front:
            draw_shape(frame, shape)
    return frame


def draw_frames(
    scene: Scene,
    seconds: Sequence[float],
    size: int = 224,
    photographs: Sequence[Image.Image] | None = None,
) -> np.ndarray:
    """Draw several moments, `(T, 3, size, size)` uint8."""
    images = [np.asarray(draw(scene, second, size, photographs)) for second in seconds]
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))


class _Photographs:
    """Photographs as a key of the cache below: by identity, whatever sequence they are."""

    def __init__(self, images: Sequence[Image.Image] | None):
        self.images = images

    def __hash__(self) -> int:
        return id(self.images)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Photographs) and self.images is other.images


@lru_cache(maxsize=4)
def _stage(scene: Scene, size: int, photographs: _Photographs) -> tuple[Image.Image, RGB]:
    """All that does not move and is behind the pictures, and the background's mean colour."""
    stage = draw_background(scene.background, size, photographs.images)
    behind = mean_color(stage)
    for shape in scene.shapes:
        if not shape.in_front:
            draw_shape(stage, shape)
    return stage, behind
