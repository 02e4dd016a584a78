from __future__ import annotations

import random

import numpy as np
import torch

from vipe.data.compression import as_compressed
from vipe.data.scene_source import SceneSource


def test_frames_lose_a_little_and_keep_their_shape() -> None:
    y, x = np.mgrid[:64, :64]
    frames = np.stack([np.stack([x * 4, y * 4, (x + y) * 2]), np.full((3, 64, 64), 90)])
    frames = frames.astype(np.uint8)
    found = as_compressed(frames, random.Random(1))
    assert (found.shape, found.dtype) == (frames.shape, np.uint8)
    off = np.abs(found.astype(int) - frames)
    assert 0 < off.mean() < 6
    assert np.array_equal(found, as_compressed(frames, random.Random(1)))
    assert not np.array_equal(found, as_compressed(frames, random.Random(2)))


def test_a_share_of_the_scenes_is_compressed() -> None:
    seeds, styles = range(24), ("openmoji",)
    plain = SceneSource(seeds, size=32, styles=styles)
    some = SceneSource(seeds, size=32, styles=styles, compressed=0.5)
    assert set(plain.keys()).isdisjoint(some.keys())
    same = [
        torch.equal(plain.render(a).pixels, some.render(b).pixels)
        for a, b in zip(plain.keys(), some.keys(), strict=True)
    ]
    assert 4 < sum(same) < 20
    assert plain.clip(3).questions == some.clip(3).questions
