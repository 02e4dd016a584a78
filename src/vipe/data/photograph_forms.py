"""Training data: the forms in which a photograph is rendered, as parts of it that frames show."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageEnhance

from vipe.data.clip import Shot
from vipe.frames import Frames

CROPS = 2
"""Parts of a photograph that are as it is; those beyond them are seen in another light."""
MOVING_FRAMES = 6
_WINDOW = 0.7

Box = tuple[float, float, float, float]


def render_form(image: Image.Image, form: str, *, key: str, size: int) -> Frames:
    """A photograph in one form, `(T, 3, size, size)` uint8, one second a frame.

    Args:
        image: The photograph, RGB.
        form: "" (whole), "flip", "crop/J", "crop/J/flip", "pan/J" or "zoom/J".
        key: Draws the part and the direction, the same for ever.
        size: Height and width of the frames.
    """
    rng = random.Random(key)
    boxes = [(0.0, 0.0, 1.0, 1.0)]
    if form.endswith("flip"):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if form.startswith("crop/"):
        boxes = [_crop(rng)]
        if int(form.split("/")[1]) >= CROPS:
            image = _in_other_light(image, rng)
    elif form.startswith("pan/"):
        boxes = _pan(rng)
    elif form.startswith("zoom/"):
        boxes = _zoom(rng)
    width, height = image.size
    frames = [
        image.resize(
            (size, size),
            Image.Resampling.BICUBIC,
            box=(left * width, top * height, right * width, bottom * height),
        )
        for left, top, right, bottom in boxes
    ]
    pixels = torch.from_numpy(np.stack([np.asarray(f) for f in frames])).permute(0, 3, 1, 2)
    return Frames(
        pixels=pixels.contiguous(), seconds=torch.arange(len(frames), dtype=torch.float32)
    )


def _in_other_light(image: Image.Image, rng: random.Random) -> Image.Image:
    """Brightness, contrast and colourfulness as another camera would have them."""
    for enhancer in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhancer(image).enhance(rng.uniform(0.75, 1.3))
    return image


def _crop(rng: random.Random) -> Box:
    """Left, top, right, bottom of a part of 55–90% of the area, as shares of the sides."""
    area = rng.uniform(0.55, 0.9)
    aspect = rng.uniform(max(area, 0.85), min(1 / area, 1.18))
    width, height = (area * aspect) ** 0.5, (area / aspect) ** 0.5
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return left, top, left + width, top + height


def _pan(rng: random.Random) -> list[Box]:
    """A window of 70% of the sides that moves across, along or against."""
    room = 1 - _WINDOW
    along = [room * k / (MOVING_FRAMES - 1) for k in range(MOVING_FRAMES)]
    if rng.random() < 0.5:
        along.reverse()
    sideways = rng.random() < 0.6
    still = rng.uniform(0.2, 0.8) * room
    corners = [(a, still) if sideways else (still, a) for a in along]
    return [(x, y, x + _WINDOW, y + _WINDOW) for x, y in corners]


def _zoom(rng: random.Random) -> list[Box]:
    """From the whole to 60% of the sides, in or out."""
    x, y = rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)
    sides = [1 - 0.4 * k / (MOVING_FRAMES - 1) for k in range(MOVING_FRAMES)]
    if rng.random() < 0.5:
        sides.reverse()
    return [(x * (1 - s), y * (1 - s), x * (1 - s) + s, y * (1 - s) + s) for s in sides]


def midpoints(count: int, duration: float) -> tuple[float, ...]:
    """Midpoints of `count` equal parts of `duration` seconds."""
    return tuple(round((k + 0.5) * duration / count, 3) for k in range(count))


def grouped(keys: Sequence[str], seconds: Sequence[float]) -> tuple[Shot, ...]:
    """One shot for each run of the same entry (of one frame each)."""
    shots: list[Shot] = []
    start = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or keys[end] != keys[start]:
            shots.append(
                Shot(key=keys[start], index=(0,) * (end - start), seconds=tuple(seconds[start:end]))
            )
            start = end
    return tuple(shots)
