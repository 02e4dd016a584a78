"""Training: what a run is made of: sources, batches, the method, the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import nn

from vipe.config import ViPEConfig
from vipe.training.batches import Batches
from vipe.training.language import TrainingLanguageModel
from vipe.training.language_folder import save_language_model
from vipe.training.method import Method
from vipe.training.processes import Processes
from vipe.training.recipe import Recipe
from vipe.training.shards import whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@runtime_checkable
class Observer(Protocol):
    """Is told how a run goes: a progress bar, or lines."""

    def encoding(self, done: int, total: int) -> None:
        """So many of the entries have their features."""
        ...

    def step(self, step: int, total: int, values: dict[str, float]) -> None:
        """A step is done: its loss, tokens and examples a second."""
        ...

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        """The held-out clips were looked at."""
        ...


@dataclass(kw_only=True)
class Run:
    """A training run with everything it is made of.

    Attributes:
        recipe: What is run.
        config: The model's, whose language model may be that of the model that it starts from.
        processes: Which take part; this is one of them.
        method: What a step is; holds what is trained and the language model.
        model: The method, as all processes compute it together.
        optimizer: AdamW over all that is trained.
        train: Batches of the recipe's sources.
        gist: Batches for the gist's losses, as large in every step as in the gist's own.
        rewarded: Batches whose captions are sampled and rewarded; None where none are.
        held_out: Batches of held-out sources, by name.
        language_model: The language model as transformers has it, with the method's weights.
    """

    recipe: Recipe
    config: ViPEConfig
    processes: Processes
    method: Method
    model: nn.Module
    optimizer: torch.optim.Optimizer
    train: Batches
    gist: Batches
    rewarded: Batches | None
    held_out: dict[str, Batches]
    language_model: PreTrainedModel

    @property
    def module(self) -> Any:
        """What becomes the model."""
        return self.method.module

    @property
    def trained(self) -> nn.Module:
        """All that is trained."""
        return self.method.trained

    @property
    def language(self) -> TrainingLanguageModel:
        """The language model."""
        return self.method.language

    def save(self) -> None:
        """Write the model folder."""
        main = self.processes.main
        weights = whole(self.module.state_dict(), keep=main)
        language_model: Callable[[Path], None] | None = None
        if self.language.tuned:
            model = self.language_model
            state = whole(dict(model.named_parameters()), keep=main)
            tokenizer = self.train.packer.tokenizer

            def language_model(folder: Path) -> None:
                save_language_model(folder, model, state, tokenizer)

        if main:
            folder = self.recipe.folder / "model"
            self.method.save(folder, self.config, weights, language_model)
        self.processes.wait()
