"""Stage 1 of the flow, video file → Frames: decoding (PyAV) and sampling in seconds."""

from __future__ import annotations

from dataclasses import dataclass

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
