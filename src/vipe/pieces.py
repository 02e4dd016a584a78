"""Between stages 1 and 2: whatever a video is, its frames in pieces as they come."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator

import torch

from vipe.addresses import is_live
from vipe.errors import VideoError
from vipe.frames import EveryFrame, Frames, Rate, Sampling, Uniform, iter_frames, probe
from vipe.frames.live import iter_live
from vipe.frames.reading import Readable
from vipe.frames.values import ByteStream

Video = Readable | Frames


def pieces_of(
    video: Video | Iterable[Frames],
    sampling: int | Sampling,
    side: int,
    *,
    strict: bool = True,
    until: float | None = None,
) -> Iterable[Frames]:
    """Give the frames of a video in pieces, decoded as they are asked for.

    Args:
        video: A path, an open binary file, `Frames`, or `Frames` that come in pieces. What is live
            (an address, a device, a named pipe, a file that cannot be sought in) is read once.
        sampling: How many frames to sample evenly, or another sampling; of no effect on frames
            that are already decoded.
        side: Decode frames to squares of so many pixels a side.
        strict: As of `iter_frames`.
        until: The second from which on nothing counts; None for all of it.

    Raises:
        VideoError: The sampling of a live video needs its length.
    """
    pieces: Iterable[Frames]
    if isinstance(video, Frames):
        pieces = [video]
    elif not isinstance(video, str | os.PathLike | ByteStream):
        pieces = video
    elif _comes_once(video):
        pieces = _decoded_live(video, without_length(sampling), side)
    else:
        chosen = Uniform(sampling) if isinstance(sampling, int) else sampling
        pieces = _decoded(video, chosen, side, strict)
    return pieces if until is None else _before(pieces, until)


def without_length(sampling: int | Sampling) -> Rate | EveryFrame:
    """Return a sampling as one that needs no length of the video.

    Raises:
        VideoError: It needs one.
    """
    if isinstance(sampling, int | Uniform):
        raise VideoError(
            "a live video cannot be sampled evenly, for its length is not known: "
            "sample it by Rate or EveryFrame"
        )
    return sampling


def one_by_one(pieces: Iterable[Frames]) -> Iterator[Frames]:
    """Cut pieces into single frames."""
    for piece in pieces:
        for i in range(len(piece)):
            yield Frames(
                pixels=piece.pixels[i : i + 1],
                seconds=piece.seconds[i : i + 1],
                duration=piece.duration,
            )


def thinned(pieces: Iterable[Frames], sampling: Rate | EveryFrame) -> Generator[Frames]:
    """Choose from frames that are already decoded."""
    timed = ((frame.seconds.item(), frame) for frame in one_by_one(pieces))
    for _, frame in sampling.thin(timed):
        yield frame


def _comes_once(video: Readable) -> bool:
    return not video.seekable() if isinstance(video, ByteStream) else is_live(video)


def _decoded(video: Readable, sampling: Sampling, side: int, strict: bool) -> Generator[Frames]:
    duration = probe(video, strict=strict).duration
    for second, image in iter_frames(video, sampling, size=side, strict=strict):
        yield Frames(pixels=image[None], seconds=torch.tensor([second]), duration=duration)


def _decoded_live(video: Readable, sampling: Rate | EveryFrame, side: int) -> Generator[Frames]:
    for second, image in iter_live(video, sampling, size=(side, side)):
        yield Frames(pixels=image[None], seconds=torch.tensor([second]))


def _before(pieces: Iterable[Frames], until: float) -> Generator[Frames]:
    """Leave out what is not before a second; the video is as long as what counts of it."""
    for frame in one_by_one(pieces):
        if frame.seconds.item() >= until:
            return
        yield Frames(
            pixels=frame.pixels, seconds=frame.seconds, duration=min(frame.duration, until)
        )
