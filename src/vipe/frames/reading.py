"""Stage 1 of the flow, the verbs: what a path or stream holds, and its frames."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

import torch
from jaxtyping import UInt8
from torch import Tensor

from vipe.errors import VideoError
from vipe.frames import pictures
from vipe.frames.sampling import Sampling, Uniform
from vipe.frames.values import ByteStream, Frames, VideoInfo, one_line
from vipe.frames.video import Video

Readable = str | os.PathLike[str] | ByteStream


class Source(Protocol):
    """What can be watched: a video, or pictures that stand for one."""

    @property
    def duration(self) -> float:
        """In seconds; 0 for a picture."""
        ...

    def info(self) -> VideoInfo:
        """Look at the first frame and the header."""
        ...

    def frames(
        self, moments: Sequence[float] | None, size: tuple[int, int] | None
    ) -> Iterator[tuple[float, UInt8[Tensor, "3 height width"]]]:
        """Yield the frames on the screen at `moments` (None: all), each once; seconds first."""
        ...


def probe(
    path: Readable, *, pictures_per_second: int | float = 1.0, strict: bool = True
) -> VideoInfo:
    """Say what a video, picture or folder of pictures is, decoding no more than one frame.

    Args:
        path: As of `iter_frames`.
        pictures_per_second: How fast a folder of pictures plays.
        strict: Whether a file that is seen to be cut off is an error; else it is as long as what
            is left of it, where it does not state its length beforehand.

    Raises:
        VideoError: It cannot be read; the text says why, as with `iter_frames`.
    """
    with _opened(path, pictures_per_second, strict=strict) as source:
        return source.info()


def iter_frames(
    path: Readable,
    sampling: Sampling = Uniform(),  # noqa: B008  # frozen
    *,
    size: tuple[int, int] | int | None = None,
    pictures_per_second: int | float = 1.0,
    strict: bool = True,
) -> Iterator[tuple[float, UInt8[Tensor, "3 height width"]]]:
    """Yield frames as they are decoded, in order, with the second at which each is shown.

    Args:
        path: A video in any container and codec that FFmpeg knows, a picture, a folder of
            pictures, or a binary file object that can seek (it is read from its start).
        sampling: Which frames.
        size: Resize to (height, width), or to a square of this side; the aspect is not kept.
            By default the size of the first frame.
        pictures_per_second: How fast a folder of pictures plays.
        strict: Whether a file that is seen to be cut off when it is opened gives no frame at all;
            else the error comes after the frames that are left.

    Yields:
        The frame's own time in seconds from the video's start, and its pixels `(3, H, W)`, uint8
        RGB, turned upright. No more than two decoded frames are held at a time, beside those
        that FFmpeg's decoder keeps.

    Raises:
        VideoError: There is no such file, or it may not be read, is empty, no video or picture,
            has sound only, is truncated (its frames end before nine tenths of the length that it
            states), or no frame can be decoded. A damaged file gives what can be decoded, and
            warns when frames are missing in the end.
    """
    size = _pair(size)
    with _opened(path, pictures_per_second, strict=strict) as source:
        yield from source.frames(sampling.moments(source.duration), size)


def read_frames(
    path: Readable,
    sampling: Sampling = Uniform(),  # noqa: B008  # frozen
    *,
    size: tuple[int, int] | int | None = None,
    pictures_per_second: int | float = 1.0,
) -> Frames:
    """Decode the frames of a sampling at once; arguments and errors are those of `iter_frames`."""
    size = _pair(size)
    with _opened(path, pictures_per_second) as source:
        moments = sampling.moments(source.duration)
        seconds, pixels = zip(*source.frames(moments, size), strict=True)
        return Frames(
            pixels=torch.stack(pixels), seconds=torch.tensor(seconds), duration=source.duration
        )


def _pair(size: tuple[int, int] | int | None) -> tuple[int, int] | None:
    if isinstance(size, int):
        size = (size, size)
    if size is not None and min(size) < 1:
        raise ValueError(f"a size must be above zero, got {size}")
    return size


@contextmanager
def _opened(
    path: Readable, pictures_per_second: int | float, *, strict: bool = True
) -> Iterator[Source]:
    """Find what a path or stream holds; its content decides, not its name."""
    with ExitStack() as stack:
        if isinstance(path, str | os.PathLike):
            file = Path(path)
            name = one_line(file)
            opened = open_file(file, name)
            if opened is None:
                yield pictures.folder(file, pictures_per_second)
                return
            stream: ByteStream = stack.enter_context(opened)
        else:
            file, stream = None, path
            name = one_line(getattr(stream, "name", "the stream"))
            if not stream.seekable():
                raise VideoError(f"{name} cannot be sought in: save it to a file first")
        if stream.seek(0, os.SEEK_END) == 0:
            raise VideoError(f"{name} is empty")
        yield _picture(stream, name) or stack.enter_context(
            closing(Video(stream, None if file is None else str(file), name, strict=strict))
        )


def open_file(file: Path, name: str) -> io.BufferedReader | None:
    """Open a file for reading, or give None for a folder.

    Raises:
        VideoError: It is neither, is not there, or may not be read; the text calls it `name`.
    """
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            return None
        if not stat.S_ISREG(status.st_mode):
            raise VideoError(f"{name} is neither a file nor a folder")
        return file.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VideoError(f"{name}: no such file or folder") from error
    except PermissionError as error:
        raise VideoError(f"{name} may not be read: permission denied") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise VideoError(f"{name} cannot be read: {error}") from error


def _picture(stream: ByteStream, name: str) -> pictures.Pictures | None:
    """Take the stream as a picture, or as an animation that FFmpeg does not play."""
    # A film in the mjpeg format is JPEG after JPEG, and looks like the first of them.
    if name.lower().endswith((".mjpeg", ".mjpg")):
        return None
    picture = pictures.identify(stream, name)
    if picture is None:
        return None
    if not getattr(picture, "is_animated", False) or picture.format in ("TIFF", "MPO"):
        return pictures.still(picture, name)
    return pictures.animation(picture, name) if picture.format == "WEBP" else None
