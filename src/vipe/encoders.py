"""Stage 2 of the flow, Frames → PatchFeatures: a frozen vision backbone sees every frame.

T frames, N patches a frame, C channels, G = √N patches a side. Any timm backbone serves
([`TimmEncoderConfig`][vipe.encoders.TimmEncoderConfig]), and the vision towers of Hugging Face's
CLIP, SigLIP and DINOv2 ([`HuggingFaceEncoderConfig`][vipe.encoders.HuggingFaceEncoderConfig]).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.backbones import DEFAULT_VISION_MODEL, load_timm_model, load_vision_tower
from vipe.errors import ModelError
from vipe.frames import Frames

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class PatchFeatures:
    """What the encoder saw in every patch of every frame.

    Attributes:
        features: `(T, N, C)`, float32.
        position: `(T, N, 3)`: second, y and x of each patch's centre; y and x within 0..1.
        duration: Length of the whole video in seconds (0 for a picture).
    """

    features: Float[Tensor, "frames patches channels"]
    position: Float[Tensor, "frames patches 3"]
    duration: float = 0.0

    def __post_init__(self) -> None:
        if self.features.ndim != 3 or self.position.shape != (*self.features.shape[:2], 3):
            raise ValueError(
                f"features {tuple(self.features.shape)} must be (T, N, C) and "
                f"position {tuple(self.position.shape)} (T, N, 3)"
            )

    def __len__(self) -> int:
        return self.features.shape[0]


@dataclass(frozen=True, kw_only=True)
class TimmEncoderConfig:
    """A timm backbone as encoder.

    Attributes:
        name: A timm model name, or a local folder in timm's hub format.
        levels: Which of the backbone's feature maps are concatenated: 0 is the first, -1 the last.
        grid: Patches a side; each map is average-pooled to it. None keeps the last level's.
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
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    pretrained: bool = True
    dtype: Precision = "auto"
    batch_size: int = 32

    def build(self) -> Encoder:
        """Load the backbone.

        Raises:
            ModelError: timm does not know it, or its weights are nowhere to be found.
        """
        return _TimmEncoder(self)


@dataclass(frozen=True, kw_only=True)
class HuggingFaceEncoderConfig:
    """A vision tower of Hugging Face transformers as encoder: CLIP, SigLIP, DINOv2.

    Attributes:
        name: A local folder or a hub id; of a text-and-image model the vision tower is taken.
        layer: Which hidden state: 0 is the embeddings, -1 the last layer's output before the
            final norm. LLaVA reads the penultimate, -2 (Liu et al., NeurIPS 2023).
        image_size: Pixels a side; None takes the image processor's.
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
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    pretrained: bool = True
    dtype: Precision = "auto"
    batch_size: int = 32

    def build(self) -> Encoder:
        """Load the vision tower.

        Raises:
            ModelError: It is nowhere to be found, or is of no known kind.
        """
        return _HuggingFaceEncoder(self)


EncoderConfig = TimmEncoderConfig | HuggingFaceEncoderConfig
_CONFIGS: dict[str, type[EncoderConfig]] = {
    config.kind: config for config in (TimmEncoderConfig, HuggingFaceEncoderConfig)
}


def encoder_config_to_dict(config: EncoderConfig) -> dict[str, Any]:
    """Turn a config into plain values with its `kind`, for JSON or YAML."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}
    return {"kind": config.kind, **plain}


def encoder_config_from_dict(values: Mapping[str, Any]) -> EncoderConfig:
    """Turn plain values back into a config; what is left out has its default.

    Raises:
        ModelError: The kind or a key is unknown, or a key is missing.
    """
    given = dict(values)
    kind = given.pop("kind", TimmEncoderConfig.kind)
    if kind not in _CONFIGS:
        raise ModelError(f"encoder: unknown kind {kind!r}, known are {', '.join(_CONFIGS)}")
    known = {field.name for field in fields(_CONFIGS[kind])}
    if unknown := sorted(set(given) - known):
        raise ModelError(f"encoder: unknown key {unknown[0]!r} for kind {kind!r}")
    try:
        return _CONFIGS[kind](
            **{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        )
    except TypeError as error:
        raise ModelError(f"encoder: {error}") from error


class Encoder(nn.Module, ABC):
    """A frozen vision backbone that turns frames into patch features.

    Attributes:
        config: What it was built from.
        channels: C.
        patches: N = G².
        image_size: Pixels a side; frames of another size are resized (the whole frame is kept).
    """

    def __init__(
        self,
        config: EncoderConfig,
        backbone: nn.Module,
        *,
        channels: int,
        grid: int,
        image_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone.requires_grad_(False)
        self.channels, self.grid, self.image_size = channels, grid, image_size
        self.register_buffer("_mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("_std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)
        self.eval()

    @property
    def patches(self) -> int:
        """Patches of one frame."""
        return self.grid**2

    def train(self, mode: bool = True) -> Encoder:
        """Stay in evaluation mode: the encoder is frozen, its batch statistics too."""
        return super().train(False)

    @abstractmethod
    def forward(
        self, images: Float[Tensor, "frames 3 size size"]
    ) -> Float[Tensor, "frames patches channels"]:
        """Turn normalised images of `image_size` into patch features, row by row."""

    @torch.no_grad()
    def encode(self, frames: Frames) -> PatchFeatures:
        """Encode every frame; the result does not depend on the batch that a frame is in."""
        device = self._mean.device
        parts = [
            self._encode_batch(pixels.to(device))
            for pixels in frames.pixels.split(self.config.batch_size)
        ]
        features = (
            torch.cat(parts) if parts else torch.empty(0, self.patches, self.channels).to(device)
        )
        return PatchFeatures(
            features=features,
            position=patch_positions(frames.seconds.to(device), self.grid),
            duration=frames.duration,
        )

    def _encode_batch(
        self, pixels: UInt8[Tensor, "frames 3 height width"]
    ) -> Float[Tensor, "frames patches channels"]:
        images = resize(pixels, self.image_size).float().sub_(self._mean).div_(self._std)
        images = images.contiguous(memory_format=torch.channels_last)
        device = images.device.type
        dtype = resolve_precision(self.config.dtype, device)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            return self(images).float()


class _TimmEncoder(Encoder):
    def __init__(self, config: TimmEncoderConfig) -> None:
        backbone = load_timm_model(
            config.name,
            pretrained=config.pretrained,
            features_only=True,
            out_indices=config.levels,
        )
        cfg = backbone.pretrained_cfg
        size = config.image_size or cfg["input_size"][-1]
        info = backbone.feature_info
        super().__init__(
            config,
            backbone.to(memory_format=torch.channels_last),
            channels=sum(info.channels()),
            grid=config.grid or math.ceil(size / info.reduction()[-1]),
            image_size=size,
            mean=config.mean or cfg["mean"],
            std=config.std or cfg["std"],
        )
        self._channels_last = str(getattr(backbone, "output_fmt", "")).endswith("NHWC")

    def forward(
        self, images: Float[Tensor, "frames 3 size size"]
    ) -> Float[Tensor, "frames patches channels"]:
        maps = self.backbone(images)
        if self._channels_last:
            maps = [m.permute(0, 3, 1, 2) for m in maps]
        pooled = [F.adaptive_avg_pool2d(m, self.grid) for m in maps]
        return torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)


class _HuggingFaceEncoder(Encoder):
    def __init__(self, config: HuggingFaceEncoderConfig) -> None:
        tower, processor = load_vision_tower(config.name, pretrained=config.pretrained)
        shape = tower.config
        size = config.image_size or processor.get("image_size") or shape.image_size
        mean, std = config.mean or processor.get("mean"), config.std or processor.get("std")
        if mean is None or std is None:
            raise ModelError(
                f"vision model {config.name!r} has no image processor: give mean and std"
            )
        layers = shape.num_hidden_layers
        if not -layers - 1 <= config.layer <= layers:
            raise ModelError(
                f"vision model {config.name!r} has {layers} layers, no layer {config.layer}"
            )
        super().__init__(
            config,
            tower,
            channels=shape.hidden_size,
            grid=size // shape.patch_size,
            image_size=size,
            mean=mean,
            std=std,
        )
        self._layer = config.layer
        # DINOv2 always fits its positions to the image; the others have to be told.
        resized = size != shape.image_size and "dino" not in shape.model_type
        self._options = {"interpolate_pos_encoding": True} if resized else {}

    def forward(
        self, images: Float[Tensor, "frames 3 size size"]
    ) -> Float[Tensor, "frames patches channels"]:
        out = self.backbone(pixel_values=images, output_hidden_states=True, **self._options)
        # Class and register tokens come before the patches.
        return out.hidden_states[self._layer][:, -self.patches :]


def resize(
    pixels: UInt8[Tensor, "frames 3 height width"], size: int
) -> UInt8[Tensor, "frames 3 size size"] | Float[Tensor, "frames 3 size size"]:
    """Resize to a square with an antialiased bicubic filter, values within 0..255."""
    if pixels.shape[-2:] == (size, size):
        return pixels
    return F.interpolate(
        pixels.float(), size=(size, size), mode="bicubic", antialias=True, align_corners=False
    ).clamp_(0, 255)


def patch_positions(
    seconds: Float[Tensor, " frames"], grid: int
) -> Float[Tensor, "frames patches 3"]:
    """Return (second, y, x) of the centres of `grid` × `grid` patches, row by row."""
    centres = (torch.arange(grid, device=seconds.device, dtype=torch.float32) + 0.5) / grid
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    place = torch.stack([y.flatten(), x.flatten()], dim=-1).expand(len(seconds), -1, -1)
    time = seconds.float()[:, None, None].expand(-1, grid**2, 1)
    return torch.cat([time, place], dim=-1)


def resolve_precision(precision: Precision, device: str) -> torch.dtype:
    """Return what to compute in; "auto" is bfloat16 where the machine has matrix units for it."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bfloat16" else torch.float32
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    has_units = device == "cpu" and torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_units else torch.float32
