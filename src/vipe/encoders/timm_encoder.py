"""Any timm backbone as encoder: the feature maps of a convolutional net or a vision transformer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.backbones import DEFAULT_VISION_MODEL, load_timm_model
from vipe.encoders.encoder import Colour, Encoder, Precision
from vipe.encoders.folding import fold_batch_norms


@dataclass(frozen=True, kw_only=True)
class TimmEncoderConfig:
    """A timm backbone as encoder.

    Attributes:
        name: A timm model name, `hf-hub:…`, or a local folder in timm's hub format.
        levels: Which of the backbone's feature maps are concatenated, from the first (0) to the
            last (-1). Of a vision transformer, these are the patch tokens of its blocks.
        grid: Patches a side; each map is average-pooled to it. None takes the last level's.
        image_size: Pixels a side; None takes the size of the pretraining.
        mean: Of each colour, within 0..1; None takes the pretraining's.
        std: As `mean`.
        pretrained: False leaves the weights random, for tests.
        dtype: What the backbone computes in; "auto" takes what is fastest on the machine.
        batch_size: Frames that are encoded at once.
    """

    kind: ClassVar[str] = "timm"

    name: str = DEFAULT_VISION_MODEL
    levels: tuple[int, ...] = (-2, -1)
    grid: int | None = None
    image_size: int | None = None
    mean: Colour | None = None
    std: Colour | None = None
    pretrained: bool = True
    dtype: Precision = "auto"
    batch_size: int = 32

    def build(self) -> TimmEncoder:
        """Load the backbone.

        Raises:
            ModelError: timm cannot build it, or its weights are nowhere to be found.
        """
        return TimmEncoder(self)

    def find_image_size(self) -> int:
        """Return the pixels a side of what it reads, without loading its weights.

        Raises:
            ModelError: The backbone is nowhere to be found.
        """
        if self.image_size is not None:
            return self.image_size
        with torch.device("meta"):
            return TimmEncoder(replace(self, pretrained=False)).image_size


class TimmEncoder(Encoder):
    """Feature maps of a timm backbone, pooled to one grid and concatenated."""

    def __init__(self, config: TimmEncoderConfig) -> None:
        backbone: Any = load_timm_model(
            config.name,
            pretrained=config.pretrained,
            features_only=True,
            out_indices=config.levels,
        )
        backbone = backbone.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        trained: dict[str, Any] = backbone.pretrained_cfg
        size = config.image_size or trained["input_size"][-1]
        inner: Any = getattr(backbone, "model", None)
        if size != trained["input_size"][-1] and hasattr(inner, "set_input_size"):
            inner.set_input_size(img_size=(size, size))  # a transformer's positions are resized

        where = next(backbone.parameters()).device
        seed = torch.Generator().manual_seed(0)
        images = torch.rand(1, 3, size, size, generator=seed, device="cpu").to(where)
        if where.type != "meta":
            backbone = fold_batch_norms(backbone, images)
        channels_last = str(getattr(backbone, "output_fmt", "")).endswith("NHWC")
        maps = _maps(backbone, images, channels_last)
        super().__init__(
            config,
            backbone,
            channels=sum(m.shape[1] for m in maps),
            grid=config.grid or maps[-1].shape[-1],
            image_size=size,
            mean=tuple(config.mean or trained["mean"]),
            std=tuple(config.std or trained["std"]),
        )
        self._channels_last = channels_last

    def forward(
        self, images: Float[Tensor, "frames 3 size size"]
    ) -> Float[Tensor, "frames patches channels"]:
        """Run the backbone; see [`Encoder.forward`][vipe.encoders.Encoder.forward]."""
        maps = _maps(self.backbone, images, self._channels_last)
        pooled = [F.adaptive_avg_pool2d(m.float(), self.grid) for m in maps]
        return torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)


@torch.no_grad()
def _maps(backbone: nn.Module, images: Tensor, channels_last: bool) -> list[Tensor]:
    """Return the feature maps as (frames, channels, height, width); some nets put channels last."""
    return [m.permute(0, 3, 1, 2) if channels_last else m for m in backbone(images)]
