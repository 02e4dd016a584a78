"""Stage 3 of the flow, beside the merge: the frames of a video that wait to be recognised.

Frames are recognised some clips at a time, which takes half as long as clip by clip; what is held
is bounded. The clips that are looked at together depend on the order of clips alone, so a stream
gives what the file gives.

Dimensions: b videos, t frames of a clip.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.recognition import Recognised
from vipe.visual_tokens import VisualTokens

Recognise = Callable[[VisualTokens, Float[Tensor, "b t"]], Recognised]
"""Says what videos hold, of the tokens of `b · t` frames, each by itself, and their seconds."""

_TOGETHER = 16
"""Clips whose frames are recognised at once."""

_Clip = tuple[VisualTokens, Float[Tensor, "b t"]]


class Noticing:
    """What was recognised of the videos of a batch, as their clips come.

    Args:
        recognise: Says what frames hold; None where nobody looks.
    """

    def __init__(self, recognise: Recognise | None) -> None:
        self.recognise = recognise
        self._waiting: list[_Clip] = []
        self._known: Recognised | None = None

    def push(self, frames: VisualTokens, seconds: Float[Tensor, "b t"]) -> None:
        """Take the next clip's frames, `b · t` videos of one frame each, with their seconds."""
        if self.recognise is None:
            return
        self._waiting.append((frames, seconds))
        if len(self._waiting) == _TOGETHER:
            self._look()

    def add(self, recognised: Recognised) -> None:
        """Take what was recognised already in the next part of the videos."""
        self._look()
        self._join(recognised)

    def fork(self) -> Noticing:
        """Return one of what came so far, which goes on by itself; it copies nothing."""
        other = Noticing(self.recognise)
        other._waiting, other._known = list(self._waiting), self._known
        return other

    def result(self) -> Recognised | None:
        """Return what was recognised so far; None where nobody looked."""
        last = self.fork()
        last._look()
        return last._known

    def _look(self) -> None:
        """Recognise the frames that wait, those of like clips together."""
        if self.recognise is None:
            return
        for _, alike in groupby(self._waiting, key=_shape):
            clips = list(alike)
            seconds = torch.cat([seconds for _, seconds in clips], dim=1)
            frames = _in_a_row([frames for frames, _ in clips], videos=len(seconds))
            self._join(self.recognise(frames, seconds))
        self._waiting.clear()

    def _join(self, recognised: Recognised) -> None:
        self._known = recognised if self._known is None else self._known.join(recognised)


def _shape(clip: _Clip) -> tuple[tuple[int, ...], int]:
    frames, seconds = clip
    return tuple(seconds.shape), frames.count


def _in_a_row(clips: list[VisualTokens], *, videos: int) -> VisualTokens:
    """Put the frames of like clips after one another, video by video."""

    def joined(name: str) -> Tensor:
        parts = [getattr(frames, name).unflatten(0, (videos, -1)) for frames in clips]
        return torch.cat(parts, dim=1).flatten(0, 1)

    return VisualTokens(
        features=joined("features"),
        size=joined("size"),
        centre=joined("centre"),
        duration=joined("duration"),
    )
