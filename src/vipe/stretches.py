"""Stage 3 of the flow, beside the merge: some frames in a row, which are recognised together.

What one frame by itself is taken for, the next one often is not. So what a frame holds is what it
alone and the stretches of frames around it are said to hold, as a geometric mean: of 10,000 frames
far fewer are taken for what they do not show, and an event of four frames is still one
(docs/decisions/0012).

Dimensions: b videos, t frames, w stretches, m tokens of a frame, c channels, k concepts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vipe.visual_tokens import VisualTokens

FRAMES = 4
"""Of a stretch."""
STEP = 2
"""Frames from one stretch to the next: with four, an event may be half in one, half in another."""
_LONGEST = 2.0
"""Seconds from the first to the last frame of a stretch; what is further apart is shown apart."""


@dataclass(frozen=True, kw_only=True)
class Stretches:
    """Stretches of some videos' frames.

    Attributes:
        tokens: Of `b · w` stretches, each as a video of its own.
        covered: `(b, w, t)`, which frames each is of; none where these are too far apart.
    """

    tokens: VisualTokens
    covered: Bool[Tensor, "b w t"]

    @classmethod
    def of(cls, frames: VisualTokens, seconds: Float[Tensor, "b t"]) -> Stretches | None:
        """Put frames in rows; None where there are too few.

        Args:
            frames: `b · t` videos of one frame each.
            seconds: When each is shown, in order.
        """
        videos, count = seconds.shape
        if count < FRAMES:
            return None
        starts = sorted({*range(0, count - FRAMES + 1, STEP), count - FRAMES})
        rows = torch.tensor(starts, device=seconds.device)[:, None] + torch.arange(
            FRAMES, device=seconds.device
        )
        shown = seconds[:, rows]
        every = (shown[..., -1:] - shown[..., :1]) / (FRAMES - 1)
        since = (shown - shown[..., :1] + every / 2).flatten(0, 1)

        def in_rows(of_frames: Tensor) -> Tensor:
            return of_frames.unflatten(0, (videos, count))[:, rows].flatten(0, 1)

        size, places = in_rows(frames.size), in_rows(frames.centre)[..., 1:]
        second = since[..., None, None].expand_as(places[..., :1])
        tokens = VisualTokens(
            features=in_rows(frames.features).flatten(1, 2),
            size=size.flatten(1, 2),
            centre=torch.cat([second, places], dim=-1).flatten(1, 2),
            duration=(FRAMES * every).flatten(),
        )
        near = (shown[..., -1] - shown[..., 0] <= _LONGEST)[..., None]
        of_frame = (rows[..., None] == torch.arange(count, device=seconds.device)).any(dim=1)
        return cls(tokens=tokens, covered=near & of_frame)

    def share_out(
        self, own: Float[Tensor, "b t k"], together: Float[Tensor, "b w k"]
    ) -> Float[Tensor, "b t k"]:
        """Return what frames hold: the mean of what each and its stretches are said to hold.

        Args:
            own: Logarithms of what each frame is said to hold by itself.
            together: Of what each stretch is.

        Returns:
            Shares, which sum to 1.
        """
        part = self.covered.to(own.dtype)
        number = part.sum(dim=1)[..., None]
        around = torch.einsum("bwt,bwk->btk", part, together) / number.clamp_min(1)
        return torch.where(number > 0, (own + around) / 2, own).softmax(dim=-1)


@dataclass(frozen=True)
class Looked:
    """What the frames of clips are said to hold.

    Attributes:
        own: `(b, t, k)`, logits of each frame by itself.
        stretches: Some in a row; None where there are too few.
        together: `(b, w, k)`, logits of each stretch.
    """

    own: Float[Tensor, "b t k"]
    stretches: Stretches | None = None
    together: Float[Tensor, "b w k"] | None = None

    def shares(self) -> Float[Tensor, "b t k"]:
        """Return what each frame holds, as shares that sum to 1."""
        own = self.own.log_softmax(dim=-1)
        if self.stretches is None or self.together is None:
            return own.exp()
        return self.stretches.share_out(own, self.together.log_softmax(dim=-1))
