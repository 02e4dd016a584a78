"""Stage 1 of the flow, what is live: bytes that come once, an address or a device, to frames."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from jaxtyping import UInt8
from torch import Tensor

from vipe.addresses import is_address, is_device, without_secrets
from vipe.errors import VideoError
from vipe.frames.pixels import VideoPixels
from vipe.frames.sampling import EveryFrame, Rate
from vipe.frames.values import ByteStream, one_line

# As of a file: frames that end before this share of the stated length mean a cut.
_WHOLE = 0.9
# How long (seconds) an address or a device may take to open, and to give the next packet.
_TIMEOUTS = (15.0, 30.0)
# Packets of a camera that are lost on the way are missing pictures: ask for them again.
_OPTIONS = {"rtsp": {"rtsp_transport": "tcp"}}


def iter_live(
    stream: ByteStream | str | os.PathLike[str],
    sampling: Rate | EveryFrame,
    *,
    size: tuple[int, int] | None = None,
) -> Iterator[tuple[float, UInt8[Tensor, "3 height width"]]]:
    """Yield the frames of a stream as they come, with their seconds from its first frame.

    The format has to be one that plays from its beginning (Matroska, MPEG-TS, MP4 with its index
    before its frames).

    Args:
        stream: A binary file object: a pipe, a response to a request, a socket's file. Or the
            path of a named pipe, an address that FFmpeg opens (http, rtsp, rtmp, udp, …), or a
            device of Video4Linux.
        sampling: Which frames.
        size: Resize to (height, width); that of the first frame unless given.

    Raises:
        VideoError: It cannot be opened, there is no video that can be played from its beginning, or
            no frame of it can be decoded; or, after the frames before it, the stream breaks off.
    """
    with ExitStack() as stack:
        if isinstance(stream, ByteStream):
            name = one_line(getattr(stream, "name", "the stream"))
            container = _of_bytes(stream, name)
        elif is_address(stream) or is_device(stream):
            name = one_line(without_secrets(stream))
            container = _of_ffmpeg(os.fspath(stream), name)
        else:
            name = one_line(os.fspath(stream))
            container = _of_bytes(stack.enter_context(_pipe(Path(stream), name)), name)
        stack.enter_context(container)
        convert = VideoPixels(size)
        for second, frame in sampling.thin(_frames(container, name)):
            yield second, convert(frame)


def _of_bytes(stream: Any, name: str) -> InputContainer:
    try:
        return av.open(_OnlyRead(stream), "r", metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name} cannot be played from its beginning: {_why(error)}") from error


def _of_ffmpeg(address: str, name: str) -> InputContainer:
    scheme = address.partition("://")[0].lower()
    try:
        return av.open(
            address,
            "r",
            format=None if is_address(address) else "v4l2",
            options=_OPTIONS.get(scheme, {}),
            timeout=_TIMEOUTS,
            metadata_errors="ignore",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name} cannot be opened: {_why(error)}") from error


def _pipe(path: Path, name: str) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise VideoError(f"{name} cannot be read: {_why(error)}") from error


def _frames(container: InputContainer, name: str) -> Iterator[tuple[float, av.VideoFrame]]:
    if not container.streams.video:
        raise VideoError(f"{name} has no video stream")
    video = container.streams.video[0]
    packets, damaged, where = container.demux(video), 0, 0.0
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
            where = where if damaged else second
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
        warnings.warn(
            f"{name} is damaged: {damaged} packets could not be decoded, the first after "
            f"{where:.2f} s",
            stacklevel=2,
        )
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
    if isinstance(error, av.error.ExitError):  # PyAV's own end of a call that took too long
        return "nothing came in time"
    return str(getattr(error, "strerror", None) or error)
