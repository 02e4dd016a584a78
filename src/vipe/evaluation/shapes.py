"""Evaluation, cost: the shapes of large models, as configs without weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vipe.config import ViPEConfig
from vipe.encoders import HuggingFaceEncoderConfig
from vipe.errors import ModelError
from vipe.injection import InjectionConfig
from vipe.perception import PerceptionConfig

VICUNA, CLIP = "lmsys/vicuna-7b-v1.5", "openai/clip-vit-large-patch14-336"
QWEN, SIGLIP = "Qwen/Qwen2.5-7B-Instruct", "google/siglip-so400m-patch14-384"

# As the models' own `config.json` has them; what is left out is transformers' default.
_LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    VICUNA: {"model_type": "llama", "rms_norm_eps": 1e-5, "max_position_embeddings": 4096},
    QWEN: {
        "model_type": "qwen2",
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32_768,
        "rope_theta": 1e6,
        "tie_word_embeddings": False,
    },
}
_VISION_MODELS: dict[str, dict[str, Any]] = {
    CLIP: {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
        "projection_dim": 768,
    },
    SIGLIP: {
        "model_type": "siglip_vision_model",
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "image_size": 384,
        "patch_size": 14,
    },
}
_PROCESSORS: dict[str, dict[str, Any]] = {
    CLIP: {
        "crop_size": 336,
        "image_mean": (0.48145466, 0.4578275, 0.40821073),
        "image_std": (0.26862954, 0.26130258, 0.27577711),
    },
    SIGLIP: {
        "size": {"height": 384, "width": 384},
        "image_mean": (0.5, 0.5, 0.5),
        "image_std": (0.5, 0.5, 0.5),
    },
}


@contextmanager
def shapes_of(config: ViPEConfig) -> Iterator[ViPEConfig]:
    """Yield the same config with shapes in place of its backbones' weights.

    For building on the meta device, within the block: the backbones are folders that hold a
    `config.json` and no weights, and no hub is asked.

    Raises:
        ModelError: The shapes of a backbone are not known here.
    """
    from transformers import CONFIG_MAPPING

    names = config.language_model, config.encoder.name
    for name, known in zip(names, (_LANGUAGE_MODELS, _VISION_MODELS), strict=True):
        if name not in known:
            raise ModelError(f"{name}: its shapes are not known, only {', '.join(known)}")
    assert isinstance(config.encoder, HuggingFaceEncoderConfig)  # as all of them
    with TemporaryDirectory() as place:
        folders = [Path(place) / name.rpartition("/")[2] for name in names]
        values = _LANGUAGE_MODELS[names[0]], _VISION_MODELS[names[1]]
        for folder, own in zip(folders, values, strict=True):
            settings = {**own}
            CONFIG_MAPPING[settings.pop("model_type")](**settings).save_pretrained(folder)
        processor = json.dumps(_PROCESSORS[names[1]])
        (folders[1] / "preprocessor_config.json").write_text(processor, encoding="utf-8")
        encoder = replace(config.encoder, name=str(folders[1]), pretrained=False)
        yield replace(config, language_model=str(folders[0]), encoder=encoder)


@contextmanager
def vicuna_7b() -> Iterator[ViPEConfig]:
    """Yield a config with the shapes of LLaVA-1.5-7B: Vicuna-7B and CLIP-L/14 at 336 pixels.

    See `shapes_of`. Injection and perception are as wide as CLIP is, the rank is 32.
    The encoder computes in bfloat16.
    """
    config = ViPEConfig(
        language_model=VICUNA,
        encoder=HuggingFaceEncoderConfig(name=CLIP, dtype="bfloat16"),
        injection=InjectionConfig(width=1024, heads=16, hidden=2048, joint=2048),
        perception=PerceptionConfig(width=1024, heads=16, rank=32, alpha=64.0),
    )
    with shapes_of(config) as shapes:
        yield shapes
