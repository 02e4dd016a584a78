"""What every test has: shapes checked at call time, no network, fixed seeds, shared fixtures.

Two fixtures give what may be absent, `shared_data` and `default_model`; a test that uses one gets
the marker of the same name and skips with a reason where it is absent. The tiny language model
and its tokenizer are random, made here in milliseconds, and shaped like the default one.
"""

# ruff: noqa: E402  # two things must be set before the imports they act on

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub

import jaxtyping

# Before vipe is imported: every shape and type in its signatures is checked at each call.
jaxtyping.install_import_hook("vipe", "beartype.beartype")

import hypothesis
import numpy as np
import pytest
import timm
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from vipe.config import ViPEConfig
from vipe.encoders import TimmEncoderConfig
from vipe.injection import InjectionConfig
from vipe.merging import MergeConfig
from vipe.model import ViPE
from vipe.perception import PerceptionConfig

CI = bool(os.environ.get("CI"))

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers are the parallelism

# No time limits, for the machine may be busy; the same examples in every run of CI.
hypothesis.settings.register_profile(
    "vipe",
    deadline=None,
    derandomize=CI,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("vipe")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses a fixture that may be absent, so that `-m "not default_model"` holds."""
    for item in items:
        for name in ("shared_data", "default_model"):
            if name in getattr(item, "fixturenames", ()):
                item.add_marker(name)


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  # for libraries that draw from the global state
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """For tests of vipe's own errors for wrong shapes and types, which the check is before."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs and clips: `VIPE_SHARED_DATA`, or beside the repository."""
    named = os.environ.get("VIPE_SHARED_DATA")
    if named:
        if not Path(named).is_dir():
            pytest.fail(f"VIPE_SHARED_DATA names no folder: {named}")
        return Path(named)
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data: neither VIPE_SHARED_DATA nor ../shared/data")
    return folder


@pytest.fixture(scope="session")
def default_model() -> ViPE:
    """The trained default model; do not change it. In CI its absence is a failure."""
    from vipe.errors import ModelError

    try:
        return ViPE.from_pretrained()
    except ModelError as error:
        if CI:
            raise
        pytest.skip(f"no default model: {error}")


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


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, so that any text goes there and back; special tokens as SmolLM2's."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(special + letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
        pad_token="<|im_end|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def _tiny_language_model(tokenizer: PreTrainedTokenizerFast, **changes: Any) -> LlamaForCausalLM:
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


@pytest.fixture
def tiny_language_model(tiny_tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A random Llama of three layers with grouped queries, float32; the test's own, to change."""
    return _tiny_language_model(tiny_tokenizer)


@pytest.fixture(scope="session")
def tiny_language_model_folder(
    tiny_tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """`tiny_language_model` and its tokenizer as saved by transformers; do not write to it."""
    folder = tmp_path_factory.mktemp("tiny-language-model")
    _tiny_language_model(tiny_tokenizer).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random convolutional net in timm's hub format; do not write to it."""
    folder = tmp_path_factory.mktemp("tiny-encoder")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = timm.create_model("test_efficientnet", pretrained=False)
    timm.models.save_for_hf(net, folder, safe_serialization=True)
    return folder


@pytest.fixture(scope="session")
def tiny_config(tiny_language_model_folder: Path, tiny_encoder_folder: Path) -> ViPEConfig:
    """A config of the tiny backbones: frames of 64 pixels, 2 × 2 patches."""
    return ViPEConfig(
        language_model=str(tiny_language_model_folder),
        encoder=TimmEncoderConfig(
            name=str(tiny_encoder_folder),
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


@pytest.fixture(scope="session")
def tiny_vipe(tiny_config: ViPEConfig) -> ViPE:
    """A random model of the tiny backbones, of which videos differ; do not change it."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = ViPE.from_config(tiny_config)
        perception = model.video_to_weights.perception
        for parameter in (*perception.heads_B.parameters(), *perception.static_lora.B.parameters()):
            torch.nn.init.normal_(parameter, std=0.2)
    return model
