"""Training, what a step is of a model that writes a video into weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.binding import Binding
from vipe.combining import mix
from vipe.config import ViPEConfig
from vipe.merging import VisualTokens
from vipe.model_files import save_model
from vipe.recognition import Recognised
from vipe.training.alignment import AlignmentReaders
from vipe.training.batches import Batch
from vipe.training.concepts import Things, concept_loss
from vipe.training.language import TrainingLanguageModel
from vipe.training.method import Method, answer_losses
from vipe.training.packing import IGNORE
from vipe.training.recipe import Alignment
from vipe.training.sight import sight_losses
from vipe.vision import VideoToWeights
from vipe.weights import PerceptualWeights


class WritesWeights(Method):
    """ViPE: a video becomes weights, under which the language model answers.

    Args:
        module: Injection and perception.
        readers: Read gists and slots for the alignment losses; thrown away at the end.
        language: The language model.
        alignment: Which losses there are, and when.
        things: What the concepts of a binding are to be.
        tuned_after: Steps before the language model itself is tuned; None where it never is.
    """

    def __init__(
        self,
        module: VideoToWeights,
        readers: AlignmentReaders,
        language: TrainingLanguageModel,
        alignment: Alignment,
        things: Things,
        tuned_after: int | None = None,
    ) -> None:
        super().__init__()
        self.tuned_after = tuned_after
        self.module, self.readers, self.language = module, readers, language
        self.alignment, self.things = alignment, things

    def _parts(self) -> dict[str, nn.Module]:
        return {"module": self.module, "readers": self.readers}

    def forward(
        self,
        batch: Batch,
        step: int,
        beside: Batch | None = None,
        rewarded: Batch | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """The gist's losses, then the slots', then the language model's with some of these."""
        alignment = self.alignment
        if step < alignment.gist_steps:
            return self._gist(batch)
        # In one pass with the rest: norms take their statistics from all that a step sees.
        gists, slots = self._read(batch.tokens_with(rewarded))
        praised_gists, gists = gists[len(batch.tokens) :], gists[: len(batch.tokens)]
        praised_slots, slots = slots[len(batch.tokens) :], slots[: len(batch.tokens)]
        values: dict[str, float] = {}
        loss = slots.new_zeros(())
        if step < alignment.before or alignment.weight > 0:
            read = slots if batch.mix is None else torch.einsum("cv,vsd->csd", batch.mix, slots)
            words = self.readers.slot_loss(read, batch.bags)
            asked = self.readers.question_loss(read, batch.asked)
            values |= {"slot_loss": words.item(), "question_loss": asked.item()}
            loss = words + asked
        if step < alignment.before:
            return loss, values
        tunes = self._tunes(step)
        with self.language.attached(self._decide(slots, gists, batch, lora=tunes)):
            logits, labels = self.language(batch.rows)
        answered, weighted = answer_losses(logits, labels, batch)
        loss = alignment.weight * loss + weighted
        if beside is not None:
            gist, of_gist = self._gist(beside)
            loss, values = loss + alignment.gist_weight * gist, values | of_gist
        if rewarded is not None and self.critic is not None:
            weights = self._decide(praised_slots, praised_gists, rewarded, lora=tunes)
            criticised, of_captions = self.critic(self.language, weights, rewarded)
            loss, values = loss + criticised, values | of_captions
        return loss, values | {"loss": answered.item()}

    # What is trained is kept in float32 and multiplied as the language model is: on a CPU with bf16
    # products, float32 ones would take four times as long.

    def _gists(self, tokens: VisualTokens) -> Float[Tensor, "b g d"]:
        with self.language.autocast():
            return self.module.injection.gists(tokens).float()

    def _read(self, tokens: VisualTokens) -> tuple[Float[Tensor, "b g d"], Float[Tensor, "b s d"]]:
        with self.language.autocast():
            queries = self.module.injection(tokens)
            return queries.gists.float(), self.module.perception.read(queries).float()

    def _decide(
        self,
        slots: Float[Tensor, "b s d"],
        gists: Float[Tensor, "b g d"],
        batch: Batch,
        *,
        lora: bool = True,
    ) -> PerceptualWeights:
        """The weights of each clip; of one that was seen in segments, their mean."""
        with self.language.autocast():
            times = self.module.injection.times(batch.tokens)
            seen = self._recognised(batch), batch.tokens.duration
            weights = self.module.decide(slots, gists, times, *seen, lora=lora)
        return weights if batch.mix is None else mix(weights, batch.mix)

    @torch.no_grad()
    def _recognised(self, batch: Batch) -> Recognised | None:
        """What is recognised in the frames of each video, as when it is seen."""
        if batch.frames is None:
            return None
        with self.language.autocast():
            logits = self.module.frame_logits(batch.frames.tokens)
        return batch.frames.recognised(logits.softmax(dim=-1))

    def _gist(self, batch: Batch) -> tuple[Float[Tensor, ""], dict[str, float]]:
        gists = self._gists(batch.tokens)
        losses: dict[str, Tensor] = {}
        if self.alignment.words:
            losses["gist_loss"] = self.readers.gist_loss(gists, batch.bags)
            losses["question_loss"] = self.readers.gist_question_loss(gists, batch.asked)
        binding = self.module.perception.binding
        concepts = binding and self._concepts(binding, gists, batch)
        if concepts is not None:
            losses["concept_loss"] = concepts
        if binding is not None:
            losses |= self._sights(batch)
        loss = sum(losses.values(), start=gists.new_zeros(()))
        return loss, {name: value.item() for name, value in losses.items()}

    def _sights(self, batch: Batch) -> dict[str, Tensor]:
        with self.language.autocast():
            return sight_losses(self.module, self.things, batch)

    def _concepts(
        self, binding: Binding, gists: Float[Tensor, "b g d"], batch: Batch
    ) -> Float[Tensor, ""] | None:
        with self.language.autocast():
            return concept_loss(binding, gists, self.things, batch.seen)

    @torch.no_grad()
    def reads(self, batch: Batch, targets: Sequence[str]) -> list[Float[Tensor, "answers i"]]:
        """Return what some targets read, under the videos' weights, where answers are trained."""
        gists, slots = self._read(batch.tokens)
        with self.language.attached(self._decide(slots, gists, batch)):
            found = self.language.inputs(batch.rows, targets)
        trained = batch.rows.labels != IGNORE
        return [inputs[trained] for inputs in found]

    def look(
        self, batch: Batch, steps: int
    ) -> tuple[dict[str, float], Bool[Tensor, " answers"] | None]:
        """The losses that the steps so far have trained, and whether tokens are right."""
        alignment, readers = self.alignment, self.readers
        if steps <= alignment.gist_steps:
            return self._gist(batch)[1], None
        gists, slots = self._read(batch.tokens)
        values: dict[str, float] = {}
        if alignment.gist_steps and alignment.words:
            values["gist_loss"] = readers.gist_loss(gists, batch.bags).item()
        if alignment.of_slots:
            values["slot_loss"] = readers.slot_loss(slots, batch.bags).item()
            values["question_loss"] = readers.question_loss(slots, batch.asked).item()
        if steps <= alignment.before:
            return values, None
        with self.language.attached(self._decide(slots, gists, batch)):
            logits, labels = self.language(batch.rows)
        return values | {"loss": F.cross_entropy(logits, labels).item()}, logits.argmax(
            -1
        ) == labels

    def normalise(self, tokens: VisualTokens, steps: int) -> None:
        """While the gists alone are trained, the norm of the slots sees nothing."""
        if steps <= self.alignment.gist_steps:
            self._gists(tokens)
        else:
            self._read(tokens)

    def save(
        self,
        folder: Path,
        config: ViPEConfig,
        weights: Mapping[str, Tensor],
        language_model: Callable[[Path], None] | None,
    ) -> None:
        """Write injection and perception."""
        save_model(folder, config, weights, language_model=language_model)
