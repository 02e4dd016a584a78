"""Training, beside step 3: one token of each row is drawn with one random number.

`generate` draws a number for each word of the vocabulary, one after another on a CPU.

Dimensions: b rows, v words of the vocabulary.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Drawn:
    """Leaves of each row's logits one token: a logits processor, for `generate` without sampling.

    The token is where the cumulated probabilities pass a number that is drawn of torch's generator
    (inverse transform sampling).

    Args:
        temperature: What the logits are divided by, above 0.
    """

    def __init__(self, temperature: float) -> None:
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.temperature = temperature

    def __call__(
        self, input_ids: Int[Tensor, "b t"], scores: Float[Tensor, "b v"]
    ) -> Float[Tensor, "b v"]:
        """Return 0 for the token that is drawn, and -inf for all others."""
        passed = (scores / self.temperature).softmax(dim=-1).cumsum(dim=-1)
        drawn = torch.rand(len(scores), 1, device=scores.device, dtype=scores.dtype)
        token = torch.searchsorted(passed, drawn * passed[:, -1:], right=True)
        token.clamp_(max=scores.shape[1] - 1)
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)
