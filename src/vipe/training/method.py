"""Training, what a step is: the contract of a method.

`writes_weights.py` has ViPE's, `reads_tokens.py` that of its twin.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.config import ViPEConfig
from vipe.merging import VisualTokens
from vipe.training.batches import Batch
from vipe.training.language import TrainingLanguageModel
from vipe.training.self_critical import SelfCritic


class Method(nn.Module, ABC):
    """How a batch of clips and questions becomes a loss.

    Attributes:
        module: What becomes the model.
        language: The language model.
        tuned_after: Steps before the language model itself is tuned; None where it never is.
        critic: Samples and rewards captions; None where none are.
    """

    # Any module will do for who holds a method; each method knows its own.
    module: Any
    language: TrainingLanguageModel
    tuned_after: int | None
    critic: SelfCritic | None = None

    @property
    def trained(self) -> nn.Module:
        """All that is trained, what is thrown away after it included."""
        parts = self._parts()
        return nn.ModuleDict(parts | ({"language": self.language} if self.language.tuned else {}))

    @abstractmethod
    def _parts(self) -> dict[str, nn.Module]:
        """What is trained beside the language model, by name."""

    def _tunes(self, step: int) -> bool:
        """Whether the language model itself is tuned in a step, from 0; let it learn if it is."""
        tunes = self.tuned_after is not None and step >= self.tuned_after
        self.language.learn(tunes)
        return tunes

    @abstractmethod
    def forward(
        self,
        batch: Batch,
        step: int,
        beside: Batch | None = None,
        rewarded: Batch | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Compute the loss of a step, from 0, and what there is to say of it.

        Args:
            batch: What the step sees.
            step: Which it is: stages have losses of their own.
            beside: Clips for the losses that need no language model, beside its own.
            rewarded: Clips whose captions are sampled and rewarded.
        """

    @abstractmethod
    def look(
        self, batch: Batch, steps: int
    ) -> tuple[dict[str, float], Bool[Tensor, " answers"] | None]:
        """Look at held-out clips after so many steps.

        Returns:
            The losses, and whether each trained token of the rows is the likeliest; None where
            no step was through the language model yet.
        """

    @abstractmethod
    def normalise(self, tokens: VisualTokens, steps: int) -> None:
        """Let every norm that keeps statistics see some clips."""

    @abstractmethod
    def save(
        self,
        folder: Path,
        config: ViPEConfig,
        weights: Mapping[str, Tensor],
        language_model: Callable[[Path], None] | None,
    ) -> None:
        """Write the model folder, with the module's weights.

        Args:
            folder: Where to.
            config: The model's.
            weights: The module's.
            language_model: Writes the language model into a folder, where it was tuned.
        """


def answer_losses(logits: Tensor, labels: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """The mean over tokens, which is reported, and the weighted one, which is trained."""
    each = F.cross_entropy(logits, labels, reduction="none")
    return each.mean(), each @ batch.rows.weight().to(each)
