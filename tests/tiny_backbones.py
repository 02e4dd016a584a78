"""Tiny random backbones and a model of them, made in milliseconds, shaped like the default one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from vipe.config import ViPEConfig
from vipe.encoders import TimmEncoderConfig
from vipe.injection import InjectionConfig
from vipe.merging import MergeConfig
from vipe.model import ViPE
from vipe.perception import PerceptionConfig
from vipe.vision import VideoToWeights

# As SmolLM2's: ChatML, with a system turn of its own where the conversation brings none.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe brief.<|im_end|>\n' }}"
    "{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

LANGUAGE_SHAPES = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
VISION_SHAPES = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, so that any text goes there and back; special tokens as SmolLM2's."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(special + letters)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def language_model(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> LlamaForCausalLM:
    """A random Llama of three layers with grouped queries, float32."""
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        # Ten times the usual: else the random logits are so near 0 that no change shows in them.
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(LlamaConfig(**settings | changes)).eval()


def save_language_model(folder: Path) -> None:
    """Save the language model and its tokenizer as transformers does."""
    made = tokenizer()
    language_model(made).save_pretrained(folder)
    made.save_pretrained(folder)


def save_encoder(folder: Path) -> None:
    """Save a random convolutional net in timm's hub format."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = timm.create_model("test_efficientnet", pretrained=False)
    timm.models.save_for_hf(net, folder, safe_serialization=True)


def save_vision_tower(folder: Path) -> None:
    """Save a random CLIP vision tower with an image processor, as transformers does."""
    shape = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    CLIPVisionModel(shape).save_pretrained(folder)
    processor = {
        "size": {"shortest_edge": 40},
        "crop_size": {"height": 32, "width": 32},
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.3, 0.4],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def timm_encoder(**changes: Any) -> TimmEncoderConfig:
    """A random timm net that sees frames of 64 pixels."""
    settings: dict[str, Any] = {
        "name": "test_efficientnet",
        "pretrained": False,
        "image_size": 64,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    return TimmEncoderConfig(**settings | changes)


def config(language_model: Path, encoder: Path) -> ViPEConfig:
    """A config of saved backbones: frames of 64 pixels, 2 × 2 patches."""
    return ViPEConfig(
        language_model=str(language_model),
        encoder=TimmEncoderConfig(
            name=str(encoder),
            image_size=64,
            grid=2,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            dtype="float32",
        ),
        merging=MergeConfig(frames_per_clip=4, budget=12),
        injection=InjectionConfig(width=32, heads=2, depth=1),
        perception=PerceptionConfig(width=32, heads=2, depth=1, rank=2),
        frames=6,
    )


def model(config: ViPEConfig) -> ViPE:
    """A random model, of which videos differ."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = ViPE.from_config(config)
        perception = made.video_to_weights.perception
        for parameter in (*perception.heads_B.parameters(), *perception.static_lora.B.parameters()):
            torch.nn.init.normal_(parameter, std=0.2)
    return made


def any_language_model(kind: str, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A random language model of two layers with grouped queries, of any of the usual kinds.

    Args:
        kind: As transformers names it: "Llama", "Qwen2", …; "Gemma3 with eyes" is the one that is
            a part of a model which reads pictures too.
        tokenizer: Its tokenizer.
    """
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "Gemma3 with eyes":
            eyes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                    "num_attention_heads": 4, "image_size": 28, "patch_size": 14}  # fmt: skip
            both = transformers.Gemma3Config(
                text_config=transformers.Gemma3TextConfig(**settings).to_dict(),
                vision_config=transformers.SiglipVisionConfig(**eyes).to_dict(),
                tie_word_embeddings=True,
            )
            return transformers.Gemma3ForConditionalGeneration(both).eval()
        name = f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config"
        config = getattr(transformers, name)(**settings)
        return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


def video_to_weights(
    language_model: torch.nn.Module, *, started: bool = False, **perception: Any
) -> VideoToWeights:
    """The trained part, for tokens of eight channels; started, videos differ."""
    config = ViPEConfig(
        injection=InjectionConfig(width=16, heads=2, depth=1),
        perception=PerceptionConfig(width=16, heads=2, depth=1, rank=2, **perception),
    )
    module = VideoToWeights(config, channels=8, language_model=language_model)
    if started:
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.15)
    return module.eval()
