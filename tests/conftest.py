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

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub

import jaxtyping

# Before vipe is imported: every shape and type in its signatures is checked at each call.
jaxtyping.install_import_hook("vipe", "beartype.beartype")

import hypothesis
import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import tiny_backbones
from vipe.config import ViPEConfig
from vipe.model import ViPE

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


@pytest.fixture(scope="session")
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, so that any text goes there and back; special tokens as SmolLM2's."""
    return tiny_backbones.tokenizer()


@pytest.fixture
def tiny_language_model(tiny_tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A random Llama of three layers with grouped queries, float32; the test's own, to change."""
    return tiny_backbones.language_model(tiny_tokenizer)


@pytest.fixture(scope="session")
def tiny_language_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_language_model` and its tokenizer as saved by transformers; do not write to it."""
    folder = tmp_path_factory.mktemp("tiny-language-model")
    tiny_backbones.save_language_model(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random convolutional net in timm's hub format; do not write to it."""
    folder = tmp_path_factory.mktemp("tiny-encoder")
    tiny_backbones.save_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_config(tiny_language_model_folder: Path, tiny_encoder_folder: Path) -> ViPEConfig:
    """A config of the tiny backbones: frames of 64 pixels, 2 × 2 patches."""
    return tiny_backbones.config(tiny_language_model_folder, tiny_encoder_folder)


@pytest.fixture(scope="session")
def tiny_vipe(tiny_config: ViPEConfig) -> ViPE:
    """A random model of the tiny backbones, of which videos differ; do not change it."""
    return tiny_backbones.model(tiny_config)


@pytest.fixture(scope="session")
def model_folder(tiny_vipe: ViPE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_vipe` as a model folder; do not write to it."""
    folder = tmp_path_factory.mktemp("tiny-model") / "model"
    tiny_vipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def saved_vipe(model_folder: Path) -> ViPE:
    """The model as it is loaded (saving rounds); do not change it."""
    return ViPE.from_pretrained(model_folder)


@pytest.fixture
def tiny_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny shapes in the place of Vicuna-7B's and CLIP-L/336's."""
    from vipe.evaluation import shapes

    monkeypatch.setitem(shapes._LANGUAGE_MODELS, shapes.VICUNA, tiny_backbones.LANGUAGE_SHAPES)
    monkeypatch.setitem(shapes._VISION_MODELS, shapes.CLIP, tiny_backbones.VISION_SHAPES)
    monkeypatch.setitem(shapes._PROCESSORS[shapes.CLIP], "crop_size", 32)
