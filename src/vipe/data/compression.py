"""Training data: frames as a video codec leaves them."""

from __future__ import annotations

import io
import random

import numpy as np
from jaxtyping import UInt8
from PIL import Image

_QUALITY = 25, 85


def as_compressed(
    pixels: UInt8[np.ndarray, "frames 3 height width"], rng: random.Random
) -> UInt8[np.ndarray, "frames 3 height width"]:
    """Frames after a lossy compression that is drawn, with half the colours' resolution.

    By JPEG's cosine transform, which those of video codecs descend from: no frame depends on
    another.
    """
    quality = rng.randint(*_QUALITY)
    return np.stack([_through_jpeg(frame, quality) for frame in pixels])


def _through_jpeg(frame: np.ndarray, quality: int) -> np.ndarray:
    with io.BytesIO() as file:
        image = Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0)))
        image.save(file, "JPEG", quality=quality, subsampling="4:2:0")
        with Image.open(file) as read:
            return np.asarray(read.convert("RGB")).transpose(2, 0, 1)
