"""Stage 1 of the flow, its results: decoded frames, and what is known of a video beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Decoded frames, in order.

    Attributes:
        pixels: RGB, `(T, 3, H, W)`.
        seconds: When each frame is shown, from the video's start; non-decreasing.
        duration: Length of the whole video in seconds (0 for a picture).
    """

    pixels: UInt8[Tensor, "frames 3 height width"]
    seconds: Float[Tensor, " frames"]
    duration: float = 0.0

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or self.pixels.shape[1] != 3 or self.pixels.dtype != torch.uint8:
            raise ValueError(
                f"pixels must be uint8 (T, 3, H, W), got {self.pixels.dtype} "
                f"{tuple(self.pixels.shape)}"
            )
        if self.seconds.shape != self.pixels.shape[:1]:
            raise ValueError(
                f"{self.pixels.shape[0]} frames but seconds of shape {tuple(self.seconds.shape)}"
            )

    def __len__(self) -> int:
        return self.pixels.shape[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoInfo:
    """What is known of a video before all of it is decoded.

    Attributes:
        kind: A video, a folder of pictures, or one picture.
        width: In pixels, as shown (after rotation).
        height: In pixels, as shown (after rotation).
        duration: In seconds; 0 for a picture.
        rate: Frames a second on average; 0 for a picture.
        frames: How many frames there are, where that is known without decoding.
    """

    kind: Literal["video", "pictures", "picture"]
    width: int
    height: int
    duration: float
    rate: float
    frames: int | None


@runtime_checkable
class ByteStream(Protocol):
    """A binary file object: what `open(path, "rb")`, `io.BytesIO` and their like give."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most so many bytes, or all."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, and tell where to."""
        ...

    def seekable(self) -> bool:
        """Tell whether `seek` works."""
        ...


def one_line(name: object) -> str:
    """Write a file's name so that a message stays on one line."""
    return " ".join(str(name).splitlines())
