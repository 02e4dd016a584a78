"""Stage 1 of the flow, which frames: samplings name moments in seconds, never frame numbers.

The frame of a moment is the one on the screen then: the last whose time is not after it (the
first frame, before that). Each frame comes once, even if it is on the screen at several moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Frame = TypeVar("Frame")

# A frame that starts so little (seconds) after a moment is on the screen at it: times are rounded.
_ROUNDING = 5e-4


@dataclass(frozen=True, slots=True)
class Uniform:
    """The frames on the screen in the middle of `frames` equal parts of the video."""

    frames: int = 8

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"at least one frame is needed, got {self.frames}")

    def moments(self, duration: float) -> list[float]:
        """Give `(i + 0.5) / frames · duration`, in seconds."""
        return [(i + 0.5) * duration / self.frames for i in range(self.frames)]


@dataclass(frozen=True, slots=True)
class Rate:
    """The frames on the screen at 0, 1/`per_second`, 2/`per_second`, … seconds."""

    per_second: int | float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.per_second < math.inf:
            raise ValueError(f"a rate must be above zero, got {self.per_second}")

    def moments(self, duration: float) -> list[float]:
        """Give the ticks before `duration` (seconds), the one at 0 always."""
        # A tick that meets the end but for rounding shows nothing new.
        count = max(1, math.ceil(duration * self.per_second - 1e-6))
        return [i / self.per_second for i in range(count)]

    def thin(self, frames: Iterable[tuple[float, Frame]]) -> Iterator[tuple[float, Frame]]:
        """Choose from frames that come one by one, of a video whose length is not known.

        A frame is given when the next one comes; the last is taken to stay as long as the one
        before it.

        Args:
            frames: Frames in order, each after the second at which it is shown.
        """
        held: tuple[float, Frame] | None = None
        moment, step = 0, 0.0
        for frame in frames:
            second = frame[0]
            if held is not None:
                step = second - held[0]
                if moment / self.per_second < second - _ROUNDING:
                    yield held
                    moment = math.ceil((second - _ROUNDING) * self.per_second)
            held = frame
        if held is not None and moment / self.per_second < held[0] + max(step, 2 * _ROUNDING):
            yield held


@dataclass(frozen=True, slots=True)
class EveryFrame:
    """Every frame there is."""

    def moments(self, duration: float) -> None:
        """Name no moments: all frames are wanted."""

    def thin(self, frames: Iterable[tuple[float, Frame]]) -> Iterator[tuple[float, Frame]]:
        """Choose all."""
        yield from frames


Sampling = Uniform | Rate | EveryFrame
