"""Stage 1 of the flow, still pictures → frames: one, a folder of them, or an animated WebP."""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast
from unittest import mock

from jaxtyping import UInt8
from PIL import Image, ImageFile
from torch import Tensor

from vipe.errors import VideoError
from vipe.frames.pixels import from_picture, upright
from vipe.frames.values import ByteStream, VideoInfo, one_line

# Named, because Pillow also claims films (MPEG, FLI) that it cannot play.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM")

_strict = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Still pictures with a time each; a picture is opened when its turn comes.

    Attributes:
        kind: What they are to the user.
        seconds: When each is shown; increasing.
        duration: In seconds.
        load: Opens the i-th. Raises VideoError.
        name: For messages.
    """

    kind: Literal["video", "pictures", "picture"]
    seconds: Sequence[float]
    duration: float
    load: Callable[[int], Image.Image]
    name: str

    def info(self) -> VideoInfo:
        """Look at the first picture only."""
        width, height = upright(self.load(0)).size
        return VideoInfo(
            kind=self.kind,
            width=width,
            height=height,
            duration=self.duration,
            rate=len(self.seconds) / self.duration if self.duration else 0.0,
            frames=len(self.seconds),
        )

    def frames(
        self, moments: Sequence[float] | None, size: tuple[int, int] | None
    ) -> Iterator[tuple[float, UInt8[Tensor, "3 height width"]]]:
        """Yield the pictures shown at `moments` (None: all), each once, with their seconds."""
        if moments is None:
            wanted = list(range(len(self.seconds)))
        else:
            # The small allowance keeps a moment that meets a frame's time but for rounding.
            shown = (max(0, bisect_right(self.seconds, t + 1e-6) - 1) for t in moments)
            wanted = sorted(set(shown))
        first: tuple[int, ...] | None = None
        for index in wanted:
            pixels = from_picture(self.load(index), size)
            first = first or tuple(pixels.shape)
            if tuple(pixels.shape) != first:
                raise VideoError(
                    f"{self.name} holds pictures of different sizes ({first[2]}×{first[1]} and "
                    f"{pixels.shape[2]}×{pixels.shape[1]}): ask for one size"
                )
            yield self.seconds[index], pixels


def files_of(path: Path) -> list[Path]:
    """List the pictures of a folder in natural order (`2.png` before `10.png`).

    Raises:
        VideoError: There is no picture in it.
    """
    extensions = Image.registered_extensions()
    files = sorted(
        (
            file
            for file in path.iterdir()
            if extensions.get(file.suffix.lower()) in FORMATS and not file.name.startswith(".")
        ),
        key=_natural,
    )
    if not files:
        raise VideoError(f"{one_line(path)} is a folder without pictures")
    return files


def folder(path: Path, per_second: int | float) -> Pictures:
    """Take the pictures of a folder, in natural order, as a video.

    Raises:
        VideoError: There is no picture in it.
    """
    if not per_second > 0:
        raise ValueError(f"a rate must be above zero, got {per_second}")
    files = files_of(path)

    def load(index: int) -> Image.Image:
        file = files[index]
        label = one_line(file)
        try:
            with file.open("rb") as stream:
                picture = identify(stream, label)
                if picture is not None:
                    return loaded(picture, label)
        except OSError as error:
            raise VideoError(f"{label} cannot be read: {error.strerror or error}") from error
        raise VideoError(f"{label} is not a picture that can be read")

    return Pictures(
        kind="pictures",
        seconds=[i / per_second for i in range(len(files))],
        duration=len(files) / per_second,
        load=load,
        name=one_line(path),
    )


def still(picture: Image.Image, name: str) -> Pictures:
    """Take one picture as a video of one frame and no duration."""
    return Pictures(
        kind="picture",
        seconds=[0.0],
        duration=0.0,
        load=lambda _: loaded(picture, name),
        name=name,
    )


def animation(picture: Image.Image, name: str) -> Pictures:
    """Take an animated picture that FFmpeg does not play (WebP) as a video.

    Its times are known only after a pass over it.
    """
    seconds, end = [], 0.0

    def load(index: int) -> Image.Image:
        picture.seek(index)
        return loaded(picture, name)

    for index in range(getattr(picture, "n_frames", 1)):
        seconds.append(end)
        end += load(index).info.get("duration", 100) / 1000
    return Pictures(kind="video", seconds=seconds, duration=end, load=load, name=name)


def identify(stream: ByteStream, name: str) -> Image.Image | None:
    """Open a picture by its content, its pixels unread; None where it is none that we know.

    Raises:
        VideoError: It is so large that reading it could exhaust the memory.
    """
    stream.seek(0)
    try:
        return Image.open(cast("IO[bytes]", stream), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise VideoError(f"{name} is too large a picture") from error
    except (OSError, SyntaxError, ValueError):
        return None


def loaded(picture: Image.Image, name: str) -> Image.Image:
    """Read a picture's pixels.

    Raises:
        VideoError: They are cut off or damaged.
    """
    try:
        # Libraries beside this one (lmms-eval) let Pillow fill up what is cut off, for the process.
        with _strict, mock.patch.object(ImageFile, "LOAD_TRUNCATED_IMAGES", False):
            picture.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise VideoError(f"{name} is a truncated or damaged picture") from error
    return picture


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [(not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]
