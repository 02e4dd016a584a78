"""A model's hash: of its config and weights, in a folder or in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vipe.config import ViPEConfig
from vipe.errors import ModelError
from vipe.model_files import OWN, WEIGHTS, config_text, contents, own_language_model, read_values


def digest_of_folder(folder: Path) -> str:
    """Hash a model folder's two files; backbones count by the name that the config gives them.

    What the config says for transformers does not count: a folder of before it did has the same.
    They are all that decides what is seen of a video.

    Returns:
        64 hexadecimal digits.

    Raises:
        ModelError: They cannot be read.
    """
    try:
        with (folder / WEIGHTS).open("rb") as weights:
            state = hashlib.file_digest(weights, "sha256").digest()
    except OSError as error:
        raise ModelError(f"{folder}: cannot be read ({error.strerror})") from error
    return _digest(config_text(read_values(folder)), state)


def digest_of(config: ViPEConfig, weights: Mapping[str, Tensor]) -> str:
    """Hash a model in memory: as the folder that `save_model` writes, if rounding changes nothing.

    Weights that it would round are hashed as they are, so the model is another one than its folder.
    """
    rounded = {name: value.detach().to(torch.bfloat16) for name, value in weights.items()}
    exact = all(torch.equal(rounded[name].to(v.dtype), v) for name, v in weights.items())
    values = config.to_dict()
    if own_language_model(config.language_model) is not None:
        values["language_model"] = OWN
    text, state = contents(values, rounded if exact else weights)
    return _digest(text, hashlib.sha256(state).digest())


def _digest(config: bytes, state: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(config).digest() + state).hexdigest()
