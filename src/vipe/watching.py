"""Stages 1 and 2 together, video → PatchFeatures, clip by clip: what comes before any merge."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from time import perf_counter

import torch

from vipe.clips import in_clips
from vipe.encoders import Encoder, PatchFeatures
from vipe.frames import Frames, Sampling, Uniform, iter_frames, probe
from vipe.frames.reading import Readable
from vipe.frames.values import ByteStream

Video = Readable | Frames


def watch(
    encoder: Encoder,
    video: Video | Iterable[Frames],
    sampling: int | Sampling,
    *,
    clip: int,
    spent: dict[str, float],
) -> Iterator[PatchFeatures]:
    """Yield the patch features of a video in clips of `clip` frames; the last may be shorter.

    No more than a clip of frames is held.

    Args:
        encoder: Encodes the frames.
        video: A path, an open binary file, `Frames`, or `Frames` that come in pieces.
        sampling: How many frames to sample evenly, or another sampling. Of no effect on frames
            that are already decoded.
        clip: Frames of a clip.
        spent: The seconds of "decode" and "encode" are added to it.

    Raises:
        VideoError: It cannot be read.
    """
    clips = in_clips(_pieces(encoder, video, sampling), clip)
    while True:
        start = perf_counter()
        frames = next(clips, None)
        decoded = perf_counter()
        spent["decode"] += decoded - start
        if frames is None:
            return
        features = encoder.encode(frames)
        spent["encode"] += perf_counter() - decoded
        yield features


def _pieces(
    encoder: Encoder, video: Video | Iterable[Frames], sampling: int | Sampling
) -> Iterable[Frames]:
    if isinstance(video, Frames):
        return [video]
    if isinstance(video, str | os.PathLike | ByteStream):
        return _decoded(encoder, video, sampling)
    return video


def _decoded(encoder: Encoder, video: Readable, sampling: int | Sampling) -> Iterator[Frames]:
    """Yield the sampled frames of a file one by one, as the encoder wants them."""
    chosen = Uniform(sampling) if isinstance(sampling, int) else sampling
    duration = probe(video).duration
    for second, image in iter_frames(video, chosen, size=encoder.image_size):
        yield Frames(pixels=image[None], seconds=torch.tensor([second]), duration=duration)
