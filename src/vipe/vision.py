"""Stages 4 and 5 together, VisualTokens → PerceptualWeights: the trained part of a model."""

from __future__ import annotations

from torch import nn

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
        self.injection: Injection = config.injection.build(channels)
        self.perception: Perception = config.perception.build(
            language_model, name=config.language_model, gists=config.injection.gists
        )

    def forward(self, tokens: VisualTokens) -> PerceptualWeights:
        """Return the weights of a batch of videos, in one forward pass."""
        return self.perception(self.injection(tokens))
