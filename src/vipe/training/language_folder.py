"""Training, a language model that was tuned → a folder as transformers has it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vipe.backbones.lookup import quiet_transformers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def save_language_model(
    folder: Path,
    model: PreTrainedModel,
    state: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Write a language model: safetensors in bfloat16, config, and its tokenizer.

    Args:
        folder: Where to.
        model: Whose config it has.
        state: Its weights by their names; of tied ones, one is enough.
        tokenizer: Its own.
    """
    rounded = {name: value.detach().to(torch.bfloat16) for name, value in state.items()}
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=rounded)
        config = copy.deepcopy(model.config)
        config.dtype = torch.bfloat16  # transformers says what the parameters are in here
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):  # else only its owner can read it
        weights.chmod((folder / "config.json").stat().st_mode)
