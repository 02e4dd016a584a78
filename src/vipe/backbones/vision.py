"""Vision backbones: timm models, and the vision towers of Hugging Face models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vipe.backbones.lookup import hint_for, load_from, local_folder, one_line, quiet_transformers
from vipe.backbones.packages import DEFAULT_VISION_MODEL, VISION_PACKAGES
from vipe.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

# Kind of model → its vision tower's class. SigLIP 2 of fixed size is of SigLIP's kind; "siglip2"
# is the one whose images may have any size.
VISION_TOWERS = {
    "clip": "CLIPVisionModel",
    "siglip": "SiglipVisionModel",
    "siglip2": "Siglip2VisionModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}


def load_vision_weights(name: str = DEFAULT_VISION_MODEL) -> dict[str, Tensor]:
    """Load a timm model's parameters from its installed weight package.

    The package names its tensors otherwise than timm, but holds the same ones in the same order,
    which is checked shape by shape.

    Returns:
        The parameters under timm's names.

    Raises:
        ModelError: There is no such package, or its file does not fit timm's model.
    """
    import timm
    import torch

    package = VISION_PACKAGES.get(name)
    path = package.find() if package else None
    if path is None:
        raise ModelError(f"vision model {name!r}: no weight package, {hint_for(package)}")
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(f"{path}: cannot be read as weights ({one_line(error)})") from error
    # Not on the meta device: drawing random numbers there imports sympy, which takes two seconds.
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
        ModelError: timm cannot build the model, or its weights are nowhere to be found.
    """
    import timm

    folder, package = local_folder(name), VISION_PACKAGES.get(name)
    source = f"local-dir:{folder}" if folder else name
    packaged = bool(pretrained and not folder and package and package.find())
    try:
        # With no package, timm asks the hub, and takes a file from its cache if there is no answer.
        model = timm.create_model(source, pretrained=pretrained and not packaged, **options)
        if packaged:
            weights = load_vision_weights(name)
            # A model cut for its feature maps lacks the classifier; it may lack nothing else.
            model.load_state_dict({key: weights[key] for key in model.state_dict()})
        return model
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"vision model {name!r}: cannot be loaded, {hint_for(package)} ({one_line(error)})"
        ) from error


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

    what = f"vision model {name!r}"

    def load(source: str, **where: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
        config = transformers.AutoConfig.from_pretrained(source, **where)
        config = getattr(config, "vision_config", config)
        kind = config.model_type.removesuffix("_vision_model")
        if kind not in VISION_TOWERS:
            raise ModelError(f"{what}: of kind {kind}, known are {', '.join(VISION_TOWERS)}")
        tower = getattr(transformers, VISION_TOWERS[kind])
        if not pretrained:
            return tower(config), _image_processing(source, **where)
        model, report = tower.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **where,
        )
        if missing := sorted(report["missing_keys"]):
            raise ModelError(f"{what}: {source} lacks {missing[0]}")
        return model, _image_processing(source, **where)

    with quiet_transformers():
        return load_from(local_folder(name) or name, load, what=what, hint=hint_for(None))


def _image_processing(source: str, **where: Any) -> dict[str, Any]:
    """Read an image processor's file, without building the processor (which wants torchvision)."""
    from transformers.utils.hub import cached_file

    for file in ("preprocessor_config.json", "processor_config.json"):
        path = cached_file(
            source,
            file,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            **where,
        )
        if path is not None:
            break
    else:
        return {}
    values = json.loads(Path(path).read_text(encoding="utf-8"))
    values = values.get("image_processor", values)
    # A crop comes after the resizing and so has the last word; CLIP's size is the shortest edge.
    size = values.get("crop_size") or values.get("size")
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge")
    found = {"image_size": size, "mean": values.get("image_mean"), "std": values.get("image_std")}
    return {key: value for key, value in found.items() if value}
