"""Training, what a step is of the twin, which reads a video as tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.config import ViPEConfig
from vipe.merging import VisualTokens
from vipe.model_files import save_twin
from vipe.tokens import SoftTokens, VideoToTokens
from vipe.training.batches import Batch
from vipe.training.language import TrainingLanguageModel
from vipe.training.method import Method, answer_losses
from vipe.training.recipe import Alignment
from vipe.weights import PerceptualWeights

_LENGTHS = 16
"""Visual tokens are padded to a multiple of this."""


class ReadsTokens(Method):
    """The twin: a video becomes tokens, which the language model reads before the question.

    Args:
        module: Projector and LoRA.
        language: The language model.
        alignment: Its `steps` train the projector alone, as LLaVA's first stage does.
        tuned_after: Steps before the language model itself is tuned; None where it never is.
    """

    def __init__(
        self,
        module: VideoToTokens,
        language: TrainingLanguageModel,
        alignment: Alignment,
        tuned_after: int | None = None,
    ) -> None:
        super().__init__()
        self.module, self.language, self.alignment = module, language, alignment
        self.tuned_after = tuned_after

    def _parts(self) -> dict[str, nn.Module]:
        return {"module": self.module}

    def forward(
        self,
        batch: Batch,
        step: int,
        beside: Batch | None = None,
        rewarded: Batch | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The language model's loss, and that of rewards; there is no other beside it."""
        lora = self._lora(step, tuned=self._tunes(step))
        # In one pass with the rest: the norm takes its statistics from all that a step sees.
        seen = self._visual(batch.tokens_with(rewarded))
        with self.language.attached(lora):
            logits, labels = self.language(batch.rows, seen[: len(batch.tokens)])
        answered, loss = answer_losses(logits, labels, batch)
        values = {"loss": answered.item()}
        if rewarded is not None and self.critic is not None:
            praised = seen[len(batch.tokens) :]
            criticised, of_captions = self.critic(self.language, lora, rewarded, praised)
            loss, values = loss + criticised, values | of_captions
        return loss, values

    def look(
        self, batch: Batch, steps: int
    ) -> tuple[dict[str, float], Bool[Tensor, " answers"] | None]:
        """The loss, and whether tokens are right."""
        with self.language.attached(self._lora(steps)):
            logits, labels = self.language(batch.rows, self._visual(batch.tokens))
        return {"loss": F.cross_entropy(logits, labels).item()}, logits.argmax(-1) == labels

    def _visual(self, tokens: VisualTokens) -> SoftTokens:
        # In few lengths: a compiled language model is compiled anew for each.
        return self.module(tokens.pad(-(-tokens.count // _LENGTHS) * _LENGTHS))

    def _lora(self, step: int, *, tuned: bool = True) -> PerceptualWeights | None:
        return None if step < self.alignment.steps else self.module.weights(lora=tuned)

    def normalise(self, tokens: VisualTokens, steps: int) -> None:
        """The norm of the projector sees the tokens."""
        self._visual(tokens)

    def save(
        self,
        folder: Path,
        config: ViPEConfig,
        weights: Mapping[str, Tensor],
        language_model: Callable[[Path], None] | None,
    ) -> None:
        """Write projector and LoRA."""
        save_twin(folder, config, self.module.reads, weights, language_model=language_model)
