"""Integration, lmms-eval: what a document shows → what `ViPE.see` takes.

lmms-eval gives each question a list. A video or picture in it is a path, or a mapping with one;
a picture may also be a Pillow image. Several pictures are a video, one a second, as the pictures
of a folder are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from vipe.errors import VideoError
from vipe.frames import Frames, Uniform
from vipe.frames.pictures import Pictures

Shown = Path | list[Image.Image] | None
"""A file or folder; pictures; or nothing, where the question is of text alone."""


def shown(visuals: Any) -> Shown:
    """Return what a question is about.

    Args:
        visuals: What a task's `doc_to_visual` gave.

    Raises:
        VideoError: It is sound, a part of a video, several videos, or nothing known here.
    """
    if visuals is None:
        return None
    items = list(visuals) if isinstance(visuals, Sequence) and not _is_path(visuals) else [visuals]
    if all(isinstance(item, Image.Image) for item in items):
        return items or None
    paths = [_path(item) for item in items]
    if len(paths) > 1:
        raise VideoError(f"shows {len(paths)} videos or files; a question is about one")
    return paths[0]


def pictures(images: list[Image.Image], *, frames: int, size: int) -> Frames:
    """Return pictures as a video of one frame a second; one picture has no duration.

    Args:
        images: One or more.
        frames: How many to sample evenly.
        size: Height and width of the frames.

    Raises:
        VideoError: One is damaged.
    """
    video = Pictures(
        kind="pictures",
        seconds=[float(second) for second in range(len(images))],
        duration=float(len(images)) if len(images) > 1 else 0.0,
        load=images.__getitem__,
        name="the document",
    )
    try:
        found = list(video.frames(Uniform(frames).moments(video.duration), (size, size)))
    except (OSError, SyntaxError, ValueError) as error:
        raise VideoError(f"shows a picture that cannot be read ({error})") from error
    return Frames(
        pixels=torch.stack([pixels for _, pixels in found]),
        seconds=torch.tensor([second for second, _ in found]),
        duration=video.duration,
    )


def blank(size: int) -> Frames:
    """Return a black picture, for what is asked about nothing."""
    return Frames(pixels=torch.zeros(1, 3, size, size, dtype=torch.uint8), seconds=torch.zeros(1))


def _is_path(item: Any) -> bool:
    return isinstance(item, str | os.PathLike)


def _path(item: Any) -> Path:
    if isinstance(item, dict):
        if {"video_start", "video_end"} & item.keys():
            raise VideoError("shows a part of a video, which must be a file of its own here")
        item = item.get("url") or item.get("path") or item
    if not _is_path(item):
        raise VideoError(f"shows a {type(item).__name__}, which is no path and no picture")
    return Path(item)
