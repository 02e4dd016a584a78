"""Beside the flow: who sees, a model that is known by a hash before it is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from vipe import model_digest, model_files
from vipe.config import ViPEConfig
from vipe.errors import ModelError
from vipe.model import ViPE
from vipe.weights import PerceptualWeights

IN_MEMORY = "in memory"
"""The name of a model that was not loaded by a name."""


class Seer:
    """A model with its name and hash; it is loaded when it has to see.

    Attributes:
        name: What the user calls it: "default", a folder or a hub id.
        config: What it is.
        digest: The hash of its config and weights, 64 hexadecimal digits. Backbones are in it by
            their names alone.
    """

    def __init__(
        self, name: str, config: ViPEConfig, digest: str, load: Callable[[], ViPE]
    ) -> None:
        self.name, self.config, self.digest = name, config, digest
        self._load = load

    @classmethod
    def of(cls, model: ViPE | str | os.PathLike[str] | None) -> Seer:
        """Take a model in memory as it is now, or one by its name (None: the default model).

        Raises:
            ModelError: There is no such model, or its config is damaged.
        """
        if not isinstance(model, ViPE):
            return cls.named(model)
        digest = model_digest.digest_of(model.config, model.video_to_weights.state_dict())
        return cls(IN_MEMORY, model.config, digest, lambda: model)

    @classmethod
    def named(
        cls,
        name: str | os.PathLike[str] | None,
        *,
        load: Callable[[str], ViPE] = ViPE.from_pretrained,
    ) -> Seer:
        """Take a model by its name, reading its two files and not its backbones.

        Args:
            name: A folder or a hub id; None for the default model.
            load: What loads its folder.

        Raises:
            ModelError: There is no such model, it is damaged, or one that reads tokens.
        """
        folder = model_files.resolve_folder(name)
        digest = model_digest.digest_of_folder(folder)

        def loaded() -> ViPE:
            model = load(str(folder))
            if model_digest.digest_of_folder(folder) != digest:
                raise ModelError(f"{folder}: has changed since it was looked at: run it again")
            return model

        config = model_files.read_config(folder)
        return cls(str(Path(name or model_files.DEFAULT)), config, digest, loaded)

    @cached_property
    def model(self) -> ViPE:
        """The model, loaded at the first use.

        Raises:
            ModelError: It or a backbone is missing or damaged, or it has changed meanwhile.
        """
        return self._load()

    def see(
        self, video: str | os.PathLike[str], *, frames: int, merge_ratio: float
    ) -> PerceptualWeights:
        """Look at a video; arguments and errors are those of `ViPE.see`."""
        return self.model.see(video, frames=frames, merge_ratio=merge_ratio)
