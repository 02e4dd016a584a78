"""The vision towers of Hugging Face's CLIP, SigLIP and DINOv2 as encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.backbones import load_vision_tower
from vipe.encoders.encoder import Colour, Encoder, Precision
from vipe.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FINAL_NORMS = ("post_layernorm", "layernorm", "norm")  # as SigLIP, DINOv2 and DINOv3 call theirs


@dataclass(frozen=True, kw_only=True)
class HuggingFaceEncoderConfig:
    """A vision tower of Hugging Face transformers as encoder: CLIP, SigLIP, DINOv2.

    Attributes:
        name: A local folder or a hub id; of a text-and-image model the vision tower is taken.
        layer: Which hidden state: 0 is the embeddings, -1 the last layer's output before the
            final norm. LLaVA reads the penultimate, -2 (Liu et al., NeurIPS 2023).
        image_size: Pixels a side; None takes the image processor's, else the tower's own.
        mean: Of each colour, within 0..1; None takes the image processor's.
        std: As `mean`.
        pretrained: False leaves the weights random, for tests.
        dtype: What the tower computes in; "auto" takes what is fastest on the machine.
        batch_size: Frames that are encoded at once.
    """

    kind: ClassVar[str] = "huggingface"

    name: str
    layer: int = -2
    image_size: int | None = None
    mean: Colour | None = None
    std: Colour | None = None
    pretrained: bool = True
    dtype: Precision = "auto"
    batch_size: int = 32

    def build(self) -> HuggingFaceEncoder:
        """Load the vision tower.

        Raises:
            ModelError: It is nowhere to be found, is of no known kind, or has no such layer.
        """
        return HuggingFaceEncoder(self)

    def find_image_size(self) -> int:
        """Return the pixels a side of what it reads, without loading its weights.

        Raises:
            ModelError: The backbone is nowhere to be found.
        """
        if self.image_size is not None:
            return self.image_size
        with torch.device("meta"):
            return HuggingFaceEncoder(replace(self, pretrained=False)).image_size


class HuggingFaceEncoder(Encoder):
    """Patch tokens of one hidden layer of a vision tower, without class and register tokens."""

    def __init__(self, config: HuggingFaceEncoderConfig) -> None:
        what = f"vision model {config.name!r}"
        tower, processor = load_vision_tower(config.name, pretrained=config.pretrained)
        shape = tower.config
        own_size = getattr(shape, "image_size", None) or (
            int(shape.num_patches**0.5) * shape.patch_size  # SigLIP 2 for images of any size
        )
        size = config.image_size or processor.get("image_size") or own_size
        mean, std = config.mean or processor.get("mean"), config.std or processor.get("std")
        if mean is None or std is None:
            raise ModelError(f"{what}: has no image processor, so mean and std must be given")
        if size % shape.patch_size:
            raise ModelError(f"{what}: {size} pixels are no multiple of {shape.patch_size}")
        _cut(tower, config.layer, what)
        super().__init__(
            config,
            tower,
            channels=shape.hidden_size,
            grid=size // shape.patch_size,
            image_size=size,
            mean=tuple(mean),
            std=tuple(std),
        )
        self._patch_size = shape.patch_size
        self._wants_patches = shape.model_type.startswith("siglip2")
        # DINOv2 and DINOv3 fit their positions to any image; CLIP and SigLIP have to be told.
        fits = shape.model_type.startswith("dino") or size == own_size
        self._options: dict[str, Any] = {} if fits else {"interpolate_pos_encoding": True}

    def forward(
        self, images: Float[Tensor, "frames 3 size size"]
    ) -> Float[Tensor, "frames patches channels"]:
        """Run the tower; see [`Encoder.forward`][vipe.encoders.Encoder.forward]."""
        if self._wants_patches:
            out = self.backbone(**self._as_patches(images))
        else:
            out = self.backbone(pixel_values=images, **self._options)
        # Class and register tokens come before the patches.
        return out.last_hidden_state[:, -self.patches :].float()

    def _as_patches(self, images: Tensor) -> dict[str, Tensor]:
        """Cut images into patches, `(frames, N, size · size · 3)`, as SigLIP 2 wants them."""
        frames, g, p = len(images), self.grid, self._patch_size
        patches = images.reshape(frames, 3, g, p, g, p).permute(0, 2, 4, 3, 5, 1)
        return {
            "pixel_values": patches.reshape(frames, self.patches, -1),
            "pixel_attention_mask": torch.ones(frames, self.patches, device=images.device).long(),
            "spatial_shapes": torch.full((frames, 2), g, device=images.device),
        }


def _cut(tower: PreTrainedModel, layer: int, what: str) -> None:
    """Take away the layers after the chosen one, and the final norm.

    What the tower returns is then that layer's output: nothing is computed in vain, and no other
    hidden state is kept in memory.
    """
    count = tower.config.num_hidden_layers
    if not -count - 1 <= layer <= count:
        raise ModelError(f"{what}: has {count} layers, no layer {layer}")
    kept = layer if layer >= 0 else count + 1 + layer
    name, layers = next(
        (name, module)
        for name, module in tower.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    )
    tower.set_submodule(name, layers[:kept])
    for norm in FINAL_NORMS:
        if hasattr(tower, norm):
            setattr(tower, norm, nn.Identity())
