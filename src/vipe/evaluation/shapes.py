"""Evaluation, cost: the shapes of large models, as configs without weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from vipe.config import ViPEConfig
from vipe.encoders import HuggingFaceEncoderConfig
from vipe.injection import InjectionConfig
from vipe.perception import PerceptionConfig

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@contextmanager
def vicuna_7b() -> Iterator[ViPEConfig]:
    """Yield a config with the shapes of LLaVA-1.5-7B: Vicuna-7B and CLIP-L/14 at 336 pixels.

    For building on the meta device, within the block: the backbones are folders that hold a
    `config.json` and no weights. Injection and perception are as wide as CLIP is, the rank is 32.
    """
    from transformers import CLIPVisionConfig, LlamaConfig

    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    with TemporaryDirectory() as folder:
        language_model, encoder = Path(folder) / "vicuna-7b", Path(folder) / "clip-vit-l-14-336"
        LlamaConfig(architectures=["LlamaForCausalLM"]).save_pretrained(language_model)
        vision.save_pretrained(encoder)
        settings = {"crop_size": 336, "image_mean": _CLIP_MEAN, "image_std": _CLIP_STD}
        (encoder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
        yield ViPEConfig(
            language_model=str(language_model),
            encoder=HuggingFaceEncoderConfig(name=str(encoder), pretrained=False),
            injection=InjectionConfig(width=1024, heads=16, hidden=2048, joint=2048),
            perception=PerceptionConfig(width=1024, heads=16, rank=32, alpha=64.0),
        )
