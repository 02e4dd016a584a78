"""A model folder: `config.json` and `model.safetensors` (injection and perception, bf16)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
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
from vipe.tokens import Reads

CONFIG, WEIGHTS = "config.json", "model.safetensors"
DEFAULT = "default"
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
            folder = hub.fetch(str(name), (CONFIG, WEIGHTS), failure=ModelError, **where)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise ModelError(f"{folder}: not a model folder: it has no {file}")
    return folder


def read_config(folder: Path) -> ViPEConfig:
    """Read a model folder's config.

    Raises:
        ModelError: It is damaged.
    """
    values = _read(folder)
    if "method" in values:
        raise ModelError(f"{folder}: a model that reads tokens, not one that writes weights")
    return _config(folder, values)


def is_twin(folder: Path) -> bool:
    """Tell a model that reads a video as tokens from one that writes weights.

    Raises:
        ModelError: The folder's config is damaged.
    """
    return "method" in _read(folder)


def read_twin(folder: Path) -> tuple[ViPEConfig, Reads]:
    """Read the config of a model that reads a video as tokens, and what becomes a token.

    Raises:
        ModelError: It is damaged, or that of another model.
    """
    values = _read(folder)
    method, reads = values.pop("method", "vipe"), values.pop("reads", None)
    if method != "tokens" or reads not in get_args(Reads):
        raise ModelError(f"{folder}: not a model that reads tokens")
    return _config(folder, values), reads


def _read(folder: Path) -> dict[str, Any]:
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


def _config(folder: Path, values: dict[str, Any]) -> ViPEConfig:
    try:
        return ViPEConfig.from_dict(values)
    except ModelError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error


def load_weights(
    name: str | os.PathLike[str],
    config: ViPEConfig,
    module: nn.Module,
    only: Mapping[str, str] | None = None,
) -> None:
    """Load a model folder's weights into injection and perception.

    Args:
        name: The model, as `resolve_folder` finds it.
        config: The module's.
        module: Injection and perception, or the trained part of a twin.
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
                if key.startswith(f"{part}.")
            }
            state = {key: state[key] for key in module.state_dict().keys() & state.keys()}
            if not state:
                raise ModelError(f"{path}: has no {' or '.join(only)} that the model needs")
        module.load_state_dict(state, strict=not only)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: damaged weights: {' '.join(str(error).split())}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: does not fit its model's config: {reason}") from error


def save_model(folder: Path, config: ViPEConfig, weights: Mapping[str, Tensor]) -> None:
    """Write a model folder: a temporary folder first, then a rename; other files of it stay.

    Weights are rounded to bfloat16, half the size of float32.
    """
    _save(folder, {"model_type": MODEL_TYPE, **config.to_dict()}, weights)


def save_twin(
    folder: Path, config: ViPEConfig, reads: Reads, weights: Mapping[str, Tensor]
) -> None:
    """Write the folder of a model that reads a video as tokens, in the same way."""
    _save(folder, {"method": "tokens", "reads": reads, **config.to_dict()}, weights)


def digest_of_folder(folder: Path) -> str:
    """Hash a model folder's two files; backbones count by the name that the config gives them.

    What the config says for transformers does not count: a folder of before it did has the same.

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
    return _digest(_text(_read(folder)), state)


def digest_of(config: ViPEConfig, weights: Mapping[str, Tensor]) -> str:
    """Hash a model in memory: as the folder that `save_model` writes, if rounding changes nothing.

    Weights that it would round are hashed as they are, so the model is another one than its folder.
    """
    rounded = {name: value.detach().to(torch.bfloat16) for name, value in weights.items()}
    exact = all(torch.equal(rounded[name].to(v.dtype), v) for name, v in weights.items())
    text, state = _contents(config.to_dict(), rounded if exact else weights)
    return _digest(text, hashlib.sha256(state).digest())


def _digest(config: bytes, state: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(config).digest() + state).hexdigest()


def _contents(config: dict[str, Any], weights: Mapping[str, Tensor]) -> tuple[bytes, bytes]:
    """Return the bytes of the two files; the tensors' dtypes stay."""
    state = {k: v.detach().contiguous() for k, v in weights.items()}
    return _text(config), save(state, metadata={"format": "pt"})


def _text(config: Mapping[str, Any]) -> bytes:
    return (json.dumps(config, indent=2) + "\n").encode()


def _save(folder: Path, config: dict[str, Any], weights: Mapping[str, Tensor]) -> None:
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    older = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    text, state = _contents(config, {k: v.detach().to(torch.bfloat16) for k, v in weights.items()})
    try:
        temporary.mkdir(exist_ok=True)
        # Not `save_file`, which leaves a file that only its owner can read.
        (temporary / WEIGHTS).write_bytes(state)
        (temporary / CONFIG).write_bytes(text)
        if folder.exists():
            folder.rename(older)
        temporary.rename(folder)
        if older.exists():
            for other in older.iterdir():  # a card, a processor's or tokenizer's files
                if other.name not in (CONFIG, WEIGHTS):
                    other.rename(folder / other.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.exists() and older.exists():
            older.rename(folder)
        for file in (CONFIG, WEIGHTS):  # and nothing else that may still be there
            (older / file).unlink(missing_ok=True)
        with suppress(OSError):
            older.rmdir()
