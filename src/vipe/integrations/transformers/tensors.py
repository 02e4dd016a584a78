"""Frames of several videos ↔ tensors that transformers' pipelines can put into batches.

They pad whatever has several dimensions on one side, so a video's frames are at the end, and how
many there are goes beside them.

Dimensions: b videos, f frames of the longest, p pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vipe.frames import Frames

VIDEO_INPUTS = ("pixel_values_videos", "video_seconds", "video_frames", "video_duration")
"""Names of a model's inputs that are of videos."""


def as_tensors(videos: Sequence[Frames]) -> dict[str, Tensor]:
    """Put the frames of several videos into one batch, padded on the left."""
    longest = max(map(len, videos))
    pixels = videos[0].pixels.new_zeros(len(videos), longest, *videos[0].pixels.shape[1:])
    seconds = videos[0].seconds.new_zeros(len(videos), longest)
    for row, video in enumerate(videos):
        pixels[row, longest - len(video) :] = video.pixels
        seconds[row, longest - len(video) :] = video.seconds
    return {
        "pixel_values_videos": pixels,
        "video_seconds": seconds,
        "video_frames": torch.tensor([len(video) for video in videos]),
        "video_duration": torch.tensor([video.duration for video in videos], dtype=torch.float64),
    }


def as_frames(pixels: Tensor, seconds: Tensor, frames: Tensor, duration: Tensor) -> list[Frames]:
    """Take a batch of `as_tensors` apart again."""
    return [
        Frames(pixels=shown[-count:], seconds=when[-count:], duration=length)
        for shown, when, count, length in zip(
            pixels, seconds, frames.tolist(), duration.tolist(), strict=True
        )
    ]
