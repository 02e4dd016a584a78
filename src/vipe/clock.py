"""Stages 4 and 5, beside the positions: what the second is, whatever the video's length.

A token's position has its time as a share of the video, and its seconds coarsely. To say "at 125
seconds" more is needed: how long the video is, where the gists and what is bound of them are made,
and seconds that are told apart to a few percent at any length. All of it comes in by linear maps
that are zero at the start, so that a model of before, which has none, gives what it gave.

What is known to the frame is told character by character, as it is said (`said_signs`).

Dimensions: f features of a time, d width, c characters of a number.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

_OCTAVES = 7
_LONGEST = 16.0
"""Of the waves over the logarithm of a time; the shortest is 0.25, so 5% are a fifth of it."""
_SOONEST = 0.1
"""Seconds below which times are hardly told apart."""

FEATURES = 2 * (1 + 2 * _OCTAVES)
"""f, of a second and the video's length together."""


def time_features(second: Tensor, length: Tensor) -> Tensor:
    """Return features `(…, f)` of seconds `(…)` and of the videos' lengths, which broadcast.

    Fourier features after Tancik et al., NeurIPS 2020; of the logarithm, since what is told apart
    is a share of the length.
    """
    times = torch.stack([second, length.expand_as(second)], dim=-1).float()
    logs = torch.log(times.clamp_min(0) + _SOONEST)
    scales = 2 * math.pi / _LONGEST * 2.0 ** torch.arange(_OCTAVES, device=logs.device)
    angles = logs[..., None] * scales
    return torch.cat([logs[..., None] / 8, angles.sin(), angles.cos()], dim=-1).flatten(-2)


FINE = 20.0
"""In shorter videos times are said to a tenth of a second."""

DIGITS = 5
"""c, characters of a number of seconds that are told."""
SIGNS = 12
"""What a character is: a digit, the point (10), or nothing more (11)."""
POINT, NOTHING = 10, 11


def said_signs(second: Float[Tensor, ...], length: Float[Tensor, ...]) -> Int[Tensor, "... c"]:
    """Return the characters of seconds as they are said: whole, or below `FINE` to a tenth.

    Args:
        second: In seconds.
        length: The videos' lengths, which broadcast.
    """
    second, length = torch.broadcast_tensors(second, length)
    tenths = torch.where(length < FINE, (10 * second).round(), 10 * second.round())
    tenths = tenths.double().clamp(0, 10 ** (DIGITS + 1) - 1).long()
    number, tenth = tenths[..., None] // 10, tenths[..., None] % 10
    powers = 10 ** torch.arange(DIGITS, device=number.device)
    digits = number // powers % 10  # the ones first
    count = 1 + (number >= powers[1:]).sum(dim=-1, keepdim=True)
    place = torch.arange(DIGITS, device=number.device)
    own = digits.gather(-1, (count - 1 - place).clamp_min(0))
    fraction = torch.where(place == count, POINT, torch.where(place == count + 1, tenth, NOTHING))
    return torch.where(place < count, own, torch.where(tenth > 0, fraction, NOTHING))


class FromTime(nn.Module):
    """A linear map of `time_features`, zero at the start; a model folder need not hold it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(FEATURES, width))

    def forward(self, features: Float[Tensor, "... f"]) -> Float[Tensor, "... d"]:
        """Return what a time adds."""
        return features @ self.weight

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state.setdefault(f"{prefix}weight", torch.zeros_like(self.weight))
        super()._load_from_state_dict(state, prefix, *rest)
