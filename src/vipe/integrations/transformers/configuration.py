"""A model folder's config as transformers has it."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from transformers import PreTrainedConfig

from vipe import config, model_files

CONFIG_KEYS = tuple(field.name for field in fields(config.ViPEConfig))


class ViPEConfig(PreTrainedConfig):
    """What a ViPE model is, around `vipe.config.ViPEConfig`, whose keys and defaults it has.

    It is written as the config of a model folder is: `ViPE.from_pretrained` reads it.

    Attributes:
        language_model: Name of the language model, as `vipe.backbones` looks it up.
        frames: Frames that are sampled from a video, unless the caller says.
        encoder: The frozen vision backbone, as plain values.
        merging: How much of a video is merged away, as plain values.
        injection: The Visual Injection Module, as plain values.
        perception: The Visual Perception Module, as plain values.
        lora: A LoRA of the language model that was tuned with these, as plain values, or None.

    Raises:
        ModelError: A value does not fit.
    """

    model_type = model_files.MODEL_TYPE

    def __init__(self, **values: Any) -> None:
        given = {key: values.pop(key) for key in CONFIG_KEYS if values.get(key) is not None}
        plain = _plain_values(config.ViPEConfig.from_dict(given))
        for key in CONFIG_KEYS:
            setattr(self, key, plain.get(key))
        super().__init__(**values)

    @classmethod
    def of(cls, plain: config.ViPEConfig) -> ViPEConfig:
        """Wrap a config of the package's own."""
        return cls(**plain.to_dict())

    def plain(self) -> config.ViPEConfig:
        """Return it as the package's own.

        Raises:
            ModelError: A value that was set does not fit.
        """
        return config.ViPEConfig.from_dict({key: getattr(self, key) for key in CONFIG_KEYS})

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as a model folder's `config.json` has them."""
        return {"model_type": self.model_type, **_plain_values(self.plain())}

    def to_diff_dict(self) -> dict[str, Any]:
        """Return all of it: what is left out would change with the defaults."""
        return self.to_dict()


def _plain_values(plain: config.ViPEConfig) -> dict[str, Any]:
    return dict(json.loads(json.dumps(plain.to_dict())))  # tuples become lists, as in the file
