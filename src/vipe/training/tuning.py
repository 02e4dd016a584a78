"""Training, what a recipe tunes of the language model itself: nothing, a LoRA of it, or all of it.

That is a run's second stage: LLaVA's (Liu et al., NeurIPS 2023, §4.2) first aligns what it sees
with a frozen language model on captions, and then tunes that too, on instructions.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vipe.static_lora import StaticLoraConfig
from vipe.training.sources import Part

_LORA = StaticLoraConfig()


class Frozen(Part):
    """The language model stays as it is; the static part of the adapters learns the task.

    Attributes:
        checkpointing: Whether its layers keep their inputs alone and compute themselves again in
            the backward pass: less memory for a third more time.
    """

    tuned: Literal["frozen"] = "frozen"
    checkpointing: bool = False


class Lora(Part):
    """A LoRA of the language model, alike for all videos: a part of every adapter.

    Attributes:
        after: Steps before it is tuned; until then there is none.
        learning_rate: Its own, by the schedule of all else after a warm-up of its own.
        weight_decay: Its own.
        rank: r, beside that of what videos decide.
        alpha: α of α / r.
        targets: Names of the linear modules that have it.
        layers: In which layers, by number; None for all.
        checkpointing: As of `Frozen`.
    """

    tuned: Literal["lora"]
    after: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    rank: int = Field(default=_LORA.rank, ge=1)
    alpha: float = Field(default=_LORA.alpha, gt=0)
    targets: tuple[str, ...] = Field(default=_LORA.targets, min_length=1)
    layers: tuple[int, ...] | None = None
    checkpointing: bool = False

    @property
    def config(self) -> StaticLoraConfig:
        """What the model's config says of it."""
        return StaticLoraConfig(
            rank=self.rank, alpha=self.alpha, targets=self.targets, layers=self.layers
        )


class Whole(Part):
    """All of the language model, in float32 with products of the recipe's `precision`.

    It becomes a folder of its own in the model folder, `language_model`, which adapters are for.

    Attributes:
        after: Steps before it is tuned.
        learning_rate: Its own, by the schedule of all else after a warm-up of its own.
        weight_decay: Of its matrices.
        checkpointing: As of `Frozen`.
    """

    tuned: Literal["full"]
    after: int = Field(default=0, ge=0)
    learning_rate: float = Field(default=2e-5, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    checkpointing: bool = True


Tuning = Annotated[Frozen | Lora | Whole, Field(discriminator="tuned")]
