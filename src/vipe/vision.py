"""Stages 4 and 5 together, VisualTokens → PerceptualWeights: the trained part of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from vipe import composing
from vipe.config import ViPEConfig
from vipe.injection import Injection
from vipe.merging import VisualTokens
from vipe.perception import Perception
from vipe.weights import PerceptualWeights


class VideoToWeights(nn.Module):
    """Injection and perception: all that is trained, and all that a model folder holds.

    Attributes:
        injection: VisualTokens → PerceptualQueries.
        perception: PerceptualQueries → PerceptualWeights.
    """

    def __init__(self, config: ViPEConfig, *, channels: int, language_model: nn.Module) -> None:
        super().__init__()
        self.merging = config.merging
        self.injection: Injection = config.injection.build(channels)
        self.perception: Perception = config.perception.build(
            language_model,
            name=config.language_model,
            gists=config.injection.gists,
            clock=config.injection.clock,
        )

    def forward(self, tokens: VisualTokens) -> PerceptualWeights:
        """Return the weights of a batch of videos, in one forward pass."""
        return self.perception(self.injection(tokens))

    @torch.no_grad()
    def write(self, tokens: VisualTokens) -> PerceptualWeights:
        """Return the weights of one video, which keep the tokens, to be composed with others."""
        weights = self(tokens)[0]
        static = weights.static and {name: part.detach() for name, part in weights.static.items()}
        return replace(weights, static=static, tokens=(tokens,), writer=self)

    def place(self, parts: Sequence[VisualTokens], at: Sequence[float | int]) -> VisualTokens:
        """Return the tokens of a video of which these are parts, each from a second on."""
        return composing.place(parts, at, self.merging)
