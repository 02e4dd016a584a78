"""The encoders against the libraries they stand on, called directly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vipe.encoders import HuggingFaceEncoderConfig, TimmEncoderConfig
from vipe.frames import Frames

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def frames_and_images(size: int, mean: Any = MEAN, std: Any = STD) -> tuple[Frames, Tensor]:
    pixels = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8)
    images = (pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    return Frames(pixels=pixels, seconds=torch.arange(3.0)), images


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Within 1e-4 of the deviation: sums in another order (folded norms, channels last).

    Measured: at most 2e-5 for convolutional nets, 3e-6 for transformers.
    """
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-4 * expected.std()


SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
TOWERS: dict[str, tuple[type, Any]] = {
    "clip": (
        transformers.CLIPVisionModel,
        transformers.CLIPVisionConfig(**SHAPE, intermediate_size=48),
    ),
    "siglip": (
        transformers.SiglipVisionModel,
        transformers.SiglipVisionConfig(**SHAPE, intermediate_size=48),
    ),
    "dinov2": (transformers.Dinov2Model, transformers.Dinov2Config(**SHAPE, mlp_ratio=2)),
    "dinov2 with registers": (
        transformers.Dinov2WithRegistersModel,
        transformers.Dinov2WithRegistersConfig(**SHAPE, mlp_ratio=2),
    ),
    "dinov3": (
        transformers.DINOv3ViTModel,
        transformers.DINOv3ViTConfig(**SHAPE, intermediate_size=48, num_register_tokens=2),
    ),
}


@pytest.mark.parametrize("layer", [-1, -2, 0])
@pytest.mark.parametrize("tower", TOWERS)
def test_patch_tokens_are_transformers_own(tower: str, layer: int, tmp_path: Path) -> None:
    kind, shape = TOWERS[tower]
    model = kind(shape).eval()
    model.save_pretrained(tmp_path)
    frames, images = frames_and_images(32)
    with torch.no_grad():
        hidden = model(pixel_values=images, output_hidden_states=True).hidden_states
    encoder = HuggingFaceEncoderConfig(
        name=str(tmp_path), layer=layer, mean=MEAN, std=STD, dtype="float32"
    ).build()
    assert encoder.patches == 16
    assert_near(encoder.encode(frames).features, hidden[layer][:, -16:])


@pytest.mark.parametrize("size", [48, 24])
def test_another_image_size_interpolates_the_positions(size: int, tmp_path: Path) -> None:
    model = transformers.CLIPVisionModel(TOWERS["clip"][1]).eval()
    model.save_pretrained(tmp_path)
    frames, images = frames_and_images(size)
    with torch.no_grad():
        expected = model(
            pixel_values=images, output_hidden_states=True, interpolate_pos_encoding=True
        ).hidden_states[-2][:, 1:]
    encoder = HuggingFaceEncoderConfig(
        name=str(tmp_path), image_size=size, mean=MEAN, std=STD, dtype="float32"
    ).build()
    assert_near(encoder.encode(frames).features, expected)


@pytest.mark.parametrize("family", ["CLIP", "Siglip"])
def test_only_the_vision_tower_of_a_whole_model_is_taken(family: str, tmp_path: Path) -> None:
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "vocab_size": 100}
    text |= {"num_attention_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{family}Config")(
        vision_config={**SHAPE, "intermediate_size": 48}, text_config=text
    )
    model = getattr(transformers, f"{family}Model")(config).eval()
    model.save_pretrained(tmp_path)
    frames, images = frames_and_images(32)
    with torch.no_grad():
        out = model.vision_model(pixel_values=images, output_hidden_states=True)
    encoder = HuggingFaceEncoderConfig(
        name=str(tmp_path), mean=MEAN, std=STD, dtype="float32"
    ).build()
    assert_near(encoder.encode(frames).features, out.hidden_states[-2][:, -16:])


def test_siglip2_patches_are_its_image_processor_s(tmp_path: Path) -> None:
    shape = transformers.Siglip2VisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_patches=16,
        patch_size=8,
    )
    model = transformers.Siglip2VisionModel(shape).eval()
    model.save_pretrained(tmp_path)
    processor = {"image_mean": MEAN, "image_std": STD, "patch_size": 8, "max_num_patches": 16}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    frames, _ = frames_and_images(32)
    prepare = pytest.importorskip("transformers.models.siglip2.image_processing_pil_siglip2")
    inputs = prepare.Siglip2ImageProcessorPil(**processor)(
        [Image.fromarray(p.permute(1, 2, 0).numpy()) for p in frames.pixels], return_tensors="pt"
    )
    with torch.no_grad():
        expected = model(**inputs, output_hidden_states=True).hidden_states[-2]
    encoder = HuggingFaceEncoderConfig(name=str(tmp_path), dtype="float32").build()
    assert encoder.image_size == 32
    assert_near(encoder.encode(frames).features, expected)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "test_convnext", "test_vit"])
def test_maps_are_timm_s_own(name: str, tmp_path: Path) -> None:
    whole = timm.create_model(name, pretrained=False, num_classes=5).eval()
    timm.models.save_for_hf(whole, tmp_path)
    net = timm.create_model(f"local-dir:{tmp_path}", features_only=True, pretrained=True).eval()
    frames, images = frames_and_images(160)
    with torch.no_grad():
        *_, first, last = net(images)
    expected = torch.cat([F.adaptive_avg_pool2d(first, last.shape[-1]), last], dim=1)
    config = TimmEncoderConfig(name=str(tmp_path), mean=MEAN, std=STD, dtype="float32")
    assert_near(config.build().encode(frames).features, expected.flatten(2).transpose(1, 2))


def test_a_transformer_s_last_map_is_its_last_block_s_patch_tokens(tmp_path: Path) -> None:
    whole = timm.create_model("test_vit", pretrained=False).eval()
    timm.models.save_for_hf(whole, tmp_path)
    frames, images = frames_and_images(160)
    tokens: list[Tensor] = []
    whole.blocks[-1].register_forward_hook(lambda *_: tokens.append(_[-1]))
    with torch.no_grad():
        whole(images)
    config = TimmEncoderConfig(
        name=str(tmp_path), levels=(-1,), mean=MEAN, std=STD, dtype="float32"
    )
    assert_near(config.build().encode(frames).features, tokens[0][:, whole.num_prefix_tokens :])
