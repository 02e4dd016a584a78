"""Stage 1 of the flow, a live stream: bytes that come once and cannot be sought in, to frames."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import av
from av.container import InputContainer
from jaxtyping import UInt8
from torch import Tensor

from vipe.errors import VideoError
from vipe.frames.pixels import VideoPixels
from vipe.frames.sampling import EveryFrame, Rate
from vipe.frames.values import ByteStream, one_line

# As of a file: frames that end before this share of the stated length mean a cut.
_WHOLE = 0.9


def iter_live(
    stream: ByteStream, sampling: Rate | EveryFrame, *, size: tuple[int, int] | None = None
) -> Iterator[tuple[float, UInt8[Tensor, "3 height width"]]]:
    """Yield the frames of a stream as they come, with their seconds from its first frame.

    The format has to be one that plays from its beginning (Matroska, MPEG-TS, MP4 with its index
    before its frames).

    Args:
        stream: A binary file object: a pipe, a response to a request, a socket's file.
        sampling: Which frames.
        size: Resize to (height, width); that of the first frame unless given.

    Raises:
        VideoError: There is no video that can be played from its beginning, or no frame of it can
            be decoded; or, after the frames before it, the stream breaks off.
    """
    name = one_line(getattr(stream, "name", "the stream"))
    try:
        container = av.open(_OnlyRead(stream), "r", metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name} cannot be played from its beginning: {_why(error)}") from error
    with container:
        convert = VideoPixels(size)
        for second, frame in sampling.thin(_frames(container, name)):
            yield second, convert(frame)


def _frames(container: InputContainer, name: str) -> Iterator[tuple[float, av.VideoFrame]]:
    if not container.streams.video:
        raise VideoError(f"{name} has no video stream")
    video = container.streams.video[0]
    packets, damaged = container.demux(video), 0
    start: float | None = None
    second, step = 0.0, 1 / float(video.average_rate or video.guessed_rate or 25)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{name} breaks off at {second:.2f} s: {_why(error)}") from error
        if packet is None:
            break
        try:
            frames = video.codec_context.decode(packet if packet.size else None)
        except av.FFmpegError:
            damaged += 1
            continue
        for frame in frames:
            time = frame.time
            if time is None:  # a bare stream: count
                time = 0.0 if start is None else start + second + step
            start = time if start is None else start
            second = max(second, time - start)
            yield second, frame
    if start is None:
        raise VideoError(f"{name}: no frame of it can be decoded")
    if damaged:
        warnings.warn(f"{name} is damaged: {damaged} packets could not be decoded", stacklevel=2)
    stated = (container.duration or 0) / av.time_base
    if second + step < _WHOLE * stated:
        raise VideoError(
            f"{name} is truncated: its frames end at {second + step:.2f} s of {stated:.2f} s"
        )


class _OnlyRead:
    """All that FFmpeg gets of the stream: without `seek` it does not try to."""

    def __init__(self, stream: ByteStream) -> None:
        # `read` of a buffered stream waits until there is all that is asked for.
        self.read: Any = getattr(stream, "read1", stream.read)


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
