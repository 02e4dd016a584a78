"""A model folder → the model that it holds: one that writes weights, or one that reads tokens."""

from __future__ import annotations

import os

from vipe import model_files
from vipe.model import ViPE
from vipe.twin import TokenTwin

Model = ViPE | TokenTwin


def load_model(name: str | os.PathLike[str] | None = None) -> Model:
    """Load a model of either kind: the default one, a local folder, or a hub id.

    Raises:
        ModelError: The model or a backbone is missing, damaged, or does not fit.
    """
    folder = model_files.resolve_folder(name)
    twin = model_files.is_twin(folder)
    return TokenTwin.from_pretrained(folder) if twin else ViPE.from_pretrained(folder)
