"""What ViPE is compared with, the trained part: VisualTokens → tokens that a language model reads.

LLaVA (Liu et al., "Visual Instruction Tuning", NeurIPS 2023; the two-layer projector of LLaVA-1.5,
CVPR 2024) on ViPE's encoder, merge and language model. Beside the projector a LoRA that is the same
for every video teaches the language model how to answer, as ViPE's static parts do.

Dimensions: b videos, m visual tokens, c channels of the encoder, e the language model's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from vipe.config import ViPEConfig
from vipe.merging import VisualTokens
from vipe.positions import PositionEncoding
from vipe.static_lora import StaticLora, beside
from vipe.targets import all_targets
from vipe.weights import PerceptualWeights

Reads = Literal["patches", "merged", "queries"]
"""What becomes a visual token: every patch of every frame, what the hierarchical merge leaves of
them, or the perceptual queries (the same, in context)."""


@dataclass(frozen=True, kw_only=True)
class SoftTokens:
    """Visual tokens of a batch of videos, in the language model's embedding space.

    Attributes:
        values: `(b, m, e)`.
        present: `(b, m)`, False for padding.
    """

    values: Float[Tensor, "b m e"]
    present: Bool[Tensor, "b m"]

    def __getitem__(self, videos: slice) -> SoftTokens:
        """Return the tokens of some of the videos."""
        return SoftTokens(values=self.values[videos], present=self.present[videos])


class VideoToTokens(nn.Module):
    """VisualTokens → visual tokens of the language model, and a LoRA of it: all that is trained.

    Args:
        reads: What becomes a token.
        config: The model's; its injection is in front of "queries", and its perception says which
            layers get a LoRA, of which rank.
        channels: c.
        language_model: Whose embedding space the tokens are in.
    """

    def __init__(
        self, reads: Reads, config: ViPEConfig, *, channels: int, language_model: nn.Module
    ) -> None:
        super().__init__()
        self.reads: Reads = reads
        embeddings: Any = language_model.get_input_embeddings()  # type: ignore[operator]
        self.projector = Projector(
            reads, config, channels=channels, width=embeddings.weight.shape[1]
        )
        self.lora = StaticLora(
            all_targets(language_model, config.perception),
            rank=config.perception.rank,
            alpha=config.perception.alpha,
            language_model=config.language_model,
        )
        self.language_lora: StaticLora | None = None
        if config.lora is not None:
            self.language_lora = config.lora.build(language_model, name=config.language_model)

    @property
    def targets(self) -> tuple[str, ...]:
        """Full names of all layers that are updated."""
        lora = {} if self.language_lora is None else self.language_lora.names
        return tuple(dict.fromkeys((*self.lora.names, *lora)))

    def weights(self, *, lora: bool = True) -> PerceptualWeights:
        """Return what the language model reads the tokens with.

        Args:
            lora: Whether the LoRA that is tuned of it (the config's `lora`) is in it.
        """
        weights = self.lora.weights()
        if self.language_lora is None or not lora:
            return weights
        return beside(weights, self.language_lora.weights())

    def forward(self, tokens: VisualTokens) -> SoftTokens:
        """Return the visual tokens of some videos."""
        return self.projector(tokens)


class Projector(nn.Module):
    """VisualTokens → visual tokens of the language model.

    Args:
        reads: What becomes a token.
        config: The model's; its injection is in front of "queries".
        channels: c.
        width: e.
    """

    def __init__(self, reads: Reads, config: ViPEConfig, *, channels: int, width: int) -> None:
        super().__init__()
        self.reads = reads
        self.injection = config.injection.build(channels) if reads == "queries" else None
        inputs = config.injection.width if reads == "queries" else channels
        # Tokens hold far more of what all tokens of all videos share than of what is seen, which a
        # norm over channels would leave (docs/decisions/0017).
        self.norm = nn.BatchNorm1d(inputs)
        self.project = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
        # Patches come row by row, frame by frame, and their place in the prompt says where and
        # when; what is merged is anywhere.
        self.position = (
            PositionEncoding(config.injection.frequencies, inputs) if reads == "merged" else None
        )

    def forward(self, tokens: VisualTokens) -> SoftTokens:
        """Project the tokens; those of padding are of no meaning."""
        x, present = tokens.features, tokens.size > 0
        if self.injection is not None:
            queries = self.injection(tokens)
            x, present = queries.values, queries.key_bias.isfinite()
        x = self._normalised(x, present)
        if self.position is not None:
            x = x + self.position(tokens)
        return SoftTokens(values=self.project(x), present=present)

    def _normalised(self, x: Float[Tensor, "b m c"], present: Bool[Tensor, "b m"]) -> Tensor:
        """Normalise every channel over the tokens of all videos; padding does not count."""
        if not self.norm.training:
            return self.norm(x.flatten(0, 1)).view_as(x)
        normalised = torch.zeros_like(x)
        normalised[present] = self.norm(x[present])
        return normalised


def every_patch(
    features: Float[Tensor, "b t n c"],
    position: Float[Tensor, "b t n 3"],
    duration: Float[Tensor, " b"],
) -> VisualTokens:
    """Make every patch of a clip a token of its own."""
    return VisualTokens(
        features=features.flatten(1, 2),
        size=features.new_ones(features.shape[0], features.shape[1] * features.shape[2]),
        centre=position.flatten(1, 2),
        duration=duration,
    )
