"""A model folder: `config.json` and `model.safetensors` (injection and perception, bf16).

Where the language model was tuned whole it is a folder in it, `language_model`, as transformers has
it. The config on disk says "./language_model" then; in memory, it is that folder's path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from vipe import hub
from vipe.config import ViPEConfig
from vipe.errors import ModelError
from vipe.folders import copy_tree, written_whole
from vipe.tokens import Reads

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LANGUAGE_MODEL = "language_model"
DEFAULT = "default"
OWN = f"./{LANGUAGE_MODEL}"
MODEL_TYPE = "vipe"
"""What transformers knows a model by: `vipe.integrations.transformers`."""

# What a config.json may say of the file and not of the model: for transformers, or by it.
_ABOUT = ("model_type", "architectures", "transformers_version", "dtype")


def default_folder() -> Path:
    """Return the folder of the default model, which comes with the package."""
    return Path(str(resources.files("vipe") / "models" / DEFAULT))


def resolve_folder(name: str | os.PathLike[str] | None, **where: Any) -> Path:
    """Find a model: None or "default" for the package's own, a local folder, or a hub id.

    Args:
        name: Which.
        where: On the hub; as of `hub.fetch`.

    Raises:
        ModelError: There is no such model.
    """
    if name is None or os.fspath(name) == DEFAULT:
        folder = default_folder()
    else:
        folder = Path(name)
        if not folder.exists() and str(name).count("/") == 1:
            files, own = (CONFIG, WEIGHTS), (f"{LANGUAGE_MODEL}/*",)
            folder = hub.fetch(str(name), files, also=own, failure=ModelError, **where)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: not a model folder: it has no {file}")
    return folder


def read_config(folder: Path) -> ViPEConfig:
    """Read a model folder's config.

    Raises:
        ModelError: It is damaged.
    """
    values = read_values(folder)
    if "method" in values:
        raise ModelError(f"{folder}: a model that reads tokens, not one that writes weights")
    return _config(folder, values)


def read_any_config(folder: Path) -> ViPEConfig:
    """Read a model folder's config, whichever kind of model it is.

    Raises:
        ModelError: It is damaged.
    """
    values = read_values(folder)
    return _config(folder, {k: v for k, v in values.items() if k not in ("method", "reads")})


def is_twin(folder: Path) -> bool:
    """Tell a model that reads a video as tokens from one that writes weights.

    Raises:
        ModelError: The folder's config is damaged.
    """
    return "method" in read_values(folder)


def read_twin(folder: Path) -> tuple[ViPEConfig, Reads]:
    """Read the config of a model that reads a video as tokens, and what becomes a token.

    Raises:
        ModelError: It is damaged, or that of another model.
    """
    values = read_values(folder)
    method, reads = values.pop("method", "vipe"), values.pop("reads", None)
    if method != "tokens" or reads not in get_args(Reads):
        raise ModelError(f"{folder}: not a model that reads tokens")
    return _config(folder, values), reads


def read_values(folder: Path) -> dict[str, Any]:
    """Read what a model folder's config says of the model.

    Raises:
        ModelError: It is damaged, or that of a model of another kind.
    """
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{path}: not a model config: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: not a model config: it is no JSON object")
    kind = values.get("model_type", MODEL_TYPE)
    if kind != MODEL_TYPE:
        raise ModelError(f"{path}: a model of type {kind!r}, not {MODEL_TYPE!r}")
    return {key: value for key, value in values.items() if key not in _ABOUT}


def own_language_model(name: str) -> Path | None:
    """Return the model folder that a language model's folder is in, or None if it is in none."""
    folder = Path(name).parent
    if Path(name).name != LANGUAGE_MODEL:
        return None
    try:
        return folder if read_values(folder).get("language_model") == OWN else None
    except ModelError:
        return None


def _config(folder: Path, values: dict[str, Any]) -> ViPEConfig:
    if values.get("language_model") == OWN:
        own = (folder / LANGUAGE_MODEL).resolve()
        if not own.is_dir():
            raise ModelError(f"{folder}: has no {LANGUAGE_MODEL}, which its {CONFIG} names")
        values = {**values, "language_model": str(own)}
    try:
        return ViPEConfig.from_dict(values)
    except ModelError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error


def load_weights(
    name: str | os.PathLike[str],
    config: ViPEConfig,
    module: nn.Module,
    only: Mapping[str, str] | None = None,
    *,
    fresh: str | None = None,
) -> None:
    """Load a model folder's weights into injection and perception.

    Args:
        name: The model, as `resolve_folder` finds it.
        config: The module's.
        module: Injection and perception, or the trained part of a twin.
        fresh: What of `module` may be left as it is where the model has none of it, by the
            beginning of its names.
        only: Names of parts of it, such as "injection", and what they are called in `module`: what
            that has of them is loaded, and all else left as it is. Everything by default.

    Raises:
        ModelError: There is no such model, it is damaged, has none of the parts, or does not fit
            the config.
    """
    path = resolve_folder(name) / WEIGHTS
    try:
        state = load_file(path)
        if only:
            state = {
                own + key.removeprefix(part): value
                for part, own in only.items()
                for key, value in state.items()
                if f"{key}.".startswith(f"{part}.")
            }
            state = {key: state[key] for key in module.state_dict().keys() & state.keys()}
            if not state:
                raise ModelError(f"{path}: has no {' or '.join(only)} that the model needs")
        elif fresh is not None and not any(key.startswith(fresh) for key in state):
            own = module.state_dict().items()
            state |= {key: value for key, value in own if key.startswith(fresh)}
        module.load_state_dict(state, strict=not only)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged weights: {' '.join(str(error).split())}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: does not fit its model's config: {reason}") from error


def save_model(
    folder: Path,
    config: ViPEConfig,
    weights: Mapping[str, Tensor],
    *,
    language_model: Callable[[Path], None] | None = None,
) -> None:
    """Write a model folder: a temporary folder first, then a rename; other files of it stay.

    Weights are rounded to bfloat16, half the size of float32.

    Args:
        folder: Where to.
        config: The model's. A language model that is in the folder of a model goes along.
        weights: Of its trained part.
        language_model: Writes the language model into a folder, where it was tuned.
    """
    values = {"model_type": MODEL_TYPE, **config.to_dict()}
    _save(folder, values, weights, language_model)


def save_twin(
    folder: Path,
    config: ViPEConfig,
    reads: Reads,
    weights: Mapping[str, Tensor],
    *,
    language_model: Callable[[Path], None] | None = None,
) -> None:
    """Write the folder of a model that reads a video as tokens, in the same way."""
    values = {"method": "tokens", "reads": reads, **config.to_dict()}
    _save(folder, values, weights, language_model)


def contents(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[bytes, bytes]:
    """Return the bytes of the two files; the tensors' dtypes stay."""
    state = {k: v.detach().contiguous() for k, v in weights.items()}
    return config_text(config), save(state, metadata={"format": "pt"})


def config_text(config: Mapping[str, Any]) -> bytes:
    """Return the bytes of a config's file."""
    return (json.dumps(config, indent=2) + "\n").encode()


def _save(
    folder: Path,
    config: dict[str, Any],
    weights: Mapping[str, Tensor],
    language_model: Callable[[Path], None] | None,
) -> None:
    name = config["language_model"]
    if language_model is None and own_language_model(name) is not None:
        language_model = partial(copy_tree, Path(name))
    if language_model is not None:
        config = {**config, "language_model": OWN}
    text, state = contents(config, {k: v.detach().to(torch.bfloat16) for k, v in weights.items()})
    with written_whole(folder, own=(CONFIG, WEIGHTS, LANGUAGE_MODEL)) as unfinished:
        # Not `save_file`, which leaves a file that only its owner can read.
        (unfinished / WEIGHTS).write_bytes(state)
        (unfinished / CONFIG).write_bytes(text)
        if language_model is not None:
            language_model(unfinished / LANGUAGE_MODEL)
