"""What transformers passes to `from_pretrained`, parted by whom it is meant for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vipe import model_files
from vipe.integrations.transformers.configuration import CONFIG_KEYS, ViPEConfig

# What the Auto classes and pipelines pass along, and means nothing here.
_MEANT_FOR_OTHERS = (
    "_from_auto", "_from_pipeline", "adapter_kwargs", "code_revision", "proxies", "subfolder",
    "trust_remote_code", "use_safetensors", "low_cpu_mem_usage", "user_agent",
)  # fmt: skip


def parted(folder: Path, settings: dict[str, Any]) -> tuple[ViPEConfig, dict[str, Any]]:
    """Part transformers' settings into the config and what the language model is loaded with.

    Raises:
        ModelError: The folder's config is damaged, or a value does not fit it.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    config = given.pop("config", None)
    own = {key: given.pop(key) for key in CONFIG_KEYS if key in given}
    if not isinstance(config, ViPEConfig):
        config = ViPEConfig(**model_files.read_config(folder).to_dict() | own)
    elif config._attn_implementation is not None:  # where `AutoConfig` puts it
        given.setdefault("attn_implementation", config._attn_implementation)
    if config.language_model == model_files.OWN:  # `AutoConfig` knows no folder
        config.language_model = model_files.read_config(folder).language_model
    dtype = given.pop("torch_dtype", None)
    dtype = given.pop("dtype", dtype)
    dtype = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype  # "auto" is None
    for name in (*_MEANT_FOR_OTHERS, *hub_only(given)):
        given.pop(name, None)
    return config, given if dtype is None else given | {"dtype": dtype}


def hub_only(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of transformers' settings that say where on the hub something is."""
    names = ("revision", "token", "cache_dir", "local_files_only", "force_download")
    return {name: settings[name] for name in names if settings.get(name) is not None}
