"""A model folder → the model that it holds: one that writes weights, or one that reads tokens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vipe import model_files
from vipe.model import ViPE
from vipe.twin import TokenTwin

if TYPE_CHECKING:
    import torch

Model = ViPE | TokenTwin


def load_model(
    name: str | os.PathLike[str] | None = None, *, dtype: torch.dtype | None = None
) -> Model:
    """Load a model of either kind: the default one, a local folder, or a hub id.

    Args:
        name: Which; the default one unless given.
        dtype: Of the language model; float32 unless given.

    Raises:
        ModelError: The model or a backbone is missing, damaged, or does not fit.
    """
    folder = model_files.resolve_folder(name)
    kind = TokenTwin if model_files.is_twin(folder) else ViPE
    return kind.from_pretrained(folder, dtype=dtype)
