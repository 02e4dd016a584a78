"""Where and when merged tokens are.

Dimensions: b videos, m tokens, d width.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.merging import VisualTokens


def shares(tokens: VisualTokens) -> Float[Tensor, "b m 3"]:
    """Each token's centre as shares of the video's length, the frame's height and its width."""
    second, y, x = tokens.centre.unbind(-1)
    length = tokens.duration[:, None]
    # A picture has no length: it is in the middle of it, as the one frame of a video is.
    share = torch.where(length > 0, second / length.clamp_min(1e-3), 0.5)
    return torch.stack([share.clamp(0, 1), y, x], dim=-1)


class PositionEncoding(nn.Module):
    """Where and when a token is: Fourier features of its centre, projected.

    Nine coordinates: the time as a share of the video, y, x, the time in seconds and the size
    (both on a logarithmic scale), and the four sums and differences of time with y and x, along
    which a moving thing keeps its place. Fourier features after Tancik et al., NeurIPS 2020; the
    coordinates themselves are kept beside them.
    """

    scales: Tensor

    def __init__(self, frequencies: int, width: int) -> None:
        super().__init__()
        scales = math.pi * 2.0 ** torch.arange(frequencies)
        self.register_buffer("scales", scales, persistent=False)
        self.project = nn.Linear(9 * (1 + 2 * frequencies), width)
        # Positions of variance 1.75 from the start: at the usual small start they take long to
        # tell tokens apart (docs/decisions/0001).
        nn.init.normal_(self.project.weight, std=(4.5 * (1 + frequencies)) ** -0.5)

    def forward(self, tokens: VisualTokens) -> Float[Tensor, "b m d"]:
        """Return one vector a token."""
        share, y, x = (2 * shares(tokens) - 1).unbind(-1)
        motion = [(share + y) / 2, (share - y) / 2, (share + x) / 2, (share - x) / 2]
        logs = [torch.log1p(tokens.centre[..., 0]) / 4, torch.log1p(tokens.size) / 4]
        coordinates = torch.stack([share, y, x, *logs, *motion], dim=-1)
        angles = coordinates[..., None] * self.scales
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
        return self.project(torch.cat([coordinates, waves], dim=-1))
