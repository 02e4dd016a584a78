"""Model folders through transformers' Auto classes, there and back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoProcessor

import tiny
import vipe.integrations.transformers
from vipe import ViPE, model_files
from vipe.config import ViPEConfig
from vipe.errors import ModelError
from vipe.integrations.transformers import ViPEModel
from vipe.quantised import is_quantised
from vipe.seer import Seer
from vipe.weights import PerceptualWeights

AUTO = ("AutoModel", "AutoModelForImageTextToText", "AutoModelForMultimodalLM")


@pytest.fixture(scope="module")
def model(model_folder: Path) -> ViPEModel:
    """Do not change it."""
    return AutoModel.from_pretrained(model_folder)


@pytest.fixture(scope="module")
def seen(saved_vipe: ViPE) -> PerceptualWeights:
    return saved_vipe.see(tiny.frames(5, size=64))


def ids(count: int = 2) -> torch.Tensor:
    return torch.randint(3, 200, (count, 9))


def equal(one: ViPE, other: ViPE) -> bool:
    mine, theirs = one.video_to_weights.state_dict(), other.video_to_weights.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(v, theirs[k]) for k, v in mine.items())


def test_the_config_is_the_packages_own(model_folder: Path, tiny_config: ViPEConfig) -> None:
    config = AutoConfig.from_pretrained(model_folder)
    assert type(config) is vipe.integrations.transformers.ViPEConfig
    assert config.plain() == tiny_config
    assert config.frames == 6
    assert config.perception["rank"] == 2
    assert config.to_dict() == json.loads((model_folder / "config.json").read_text())


def test_a_config_is_written_as_a_model_folders(
    model_folder: Path, tmp_path: Path, tiny_config: ViPEConfig
) -> None:
    config = AutoConfig.from_pretrained(model_folder, frames=3)
    config.save_pretrained(tmp_path)
    assert model_files.read_config(tmp_path) == replace(tiny_config, frames=3)
    assert AutoConfig.from_pretrained(tmp_path).plain() == replace(tiny_config, frames=3)


def test_what_a_config_leaves_out_has_the_packages_default() -> None:
    assert vipe.integrations.transformers.ViPEConfig().plain() == ViPEConfig()
    with pytest.raises(ModelError, match="merging"):
        vipe.integrations.transformers.ViPEConfig(merging={"budget": 0})


@pytest.mark.parametrize("auto", AUTO)
def test_the_auto_classes_load_a_model_folder(
    auto: str, model_folder: Path, saved_vipe: ViPE
) -> None:
    loaded = getattr(transformers, auto).from_pretrained(model_folder)
    assert type(loaded) is ViPEModel
    assert equal(loaded.vipe, saved_vipe)
    assert not loaded.training


def test_saved_by_transformers_loaded_by_vipe(
    model: ViPEModel, tmp_path: Path, saved_vipe: ViPE
) -> None:
    model.save_pretrained(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "config.json", "model.safetensors"
    ]  # fmt: skip
    assert equal(ViPE.from_pretrained(tmp_path / "model"), saved_vipe)


def test_processor_and_model_share_a_folder_in_any_order(
    model: ViPEModel, model_folder: Path, tmp_path: Path
) -> None:
    processor = AutoProcessor.from_pretrained(model_folder)
    for save in (processor.save_pretrained, model.save_pretrained, processor.save_pretrained):
        save(tmp_path)
    (tmp_path / "README.md").write_text("A card.")
    model.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "processor_config.json"
    ]  # fmt: skip
    assert AutoProcessor.from_pretrained(tmp_path).to_dict() == processor.to_dict()
    assert type(AutoModel.from_pretrained(tmp_path)) is ViPEModel


def test_a_folder_of_before_there_was_a_model_type(
    model_folder: Path, tmp_path: Path, saved_vipe: ViPE
) -> None:
    old = tmp_path / "old"
    shutil.copytree(model_folder, old)
    values = json.loads((old / "config.json").read_text())
    del values["model_type"]
    (old / "config.json").write_text(json.dumps(values, indent=2) + "\n")
    assert equal(ViPE.from_pretrained(old), saved_vipe)
    assert equal(ViPEModel.from_pretrained(old).vipe, saved_vipe)
    assert Seer.named(old).digest == Seer.named(model_folder).digest, "stores know it"


def test_a_model_of_another_type_is_named(model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(model_folder, tmp_path / "model")
    values = json.loads((model_folder / "config.json").read_text()) | {"model_type": "llava"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match=r"config\.json: a model of type 'llava', not 'vipe'"):
        ViPE.from_pretrained(tmp_path / "model")


def test_a_new_model_of_a_config(model_folder: Path) -> None:
    fresh = AutoModel.from_config(AutoConfig.from_pretrained(model_folder))
    weights = fresh.vipe.see(tiny.frames(4, size=64))
    assert not any(weights.delta(target).any() for target in weights.targets)


def test_the_logits_are_those_of_an_attached_model(
    model: ViPEModel, saved_vipe: ViPE, seen: PerceptualWeights
) -> None:
    prompts = ids()
    with torch.no_grad():
        bare = model(input_ids=prompts).logits
        ours = model(input_ids=prompts, seen=seen, labels=prompts)
        with seen.attached_to(saved_vipe.language_model):
            wanted = saved_vipe.language_model(input_ids=prompts).logits
    assert torch.equal(ours.logits, wanted)
    assert ours.loss > 0
    assert (ours.logits - bare).abs().max() > 0.1


def test_generation_goes_by_the_models_own_settings(
    model: ViPEModel, seen: PerceptualWeights
) -> None:
    prompts = ids()
    settings = transformers.GenerationConfig(max_new_tokens=3, do_sample=False)
    for output in (
        model.generate(prompts, seen=seen, max_new_tokens=3),
        model.generate(prompts, settings, seen=seen),
        model.generate(input_ids=prompts, seen=seen, num_beams=2, num_return_sequences=2,
                       max_new_tokens=3),
    ):  # fmt: skip
        assert output.shape[0] % 2 == 0
        assert 9 < output.shape[1] <= 12
    assert settings.eos_token_id is None, "what is given is not changed"
    assert model.generation_config.max_new_tokens == 64


def test_videos_or_what_was_seen_of_them(model: ViPEModel, seen: PerceptualWeights) -> None:
    with pytest.raises(ValueError, match="not both"):
        model(input_ids=ids(), seen=seen, pixel_values_videos=torch.zeros(1))


def test_a_dtype_is_the_language_models_alone(model_folder: Path) -> None:
    model = AutoModel.from_pretrained(model_folder, dtype=torch.bfloat16)
    for half in (model, AutoModel.from_pretrained(model_folder).to(torch.bfloat16)):
        assert half.language_model.dtype == torch.bfloat16
        assert half.dtype == torch.float32, "what its inputs are made for"
        assert {p.dtype for p in half.video_to_weights.parameters()} == {torch.float32}
    auto = AutoModel.from_pretrained(model_folder, dtype="auto")
    assert auto.language_model.dtype == torch.float32


def test_the_language_model_is_loaded_with_what_is_asked_for(model_folder: Path) -> None:
    model = AutoModel.from_pretrained(model_folder, attn_implementation="eager")
    assert model.language_model.config._attn_implementation == "eager"
    direct = ViPEModel.from_pretrained(model_folder, attn_implementation="eager")
    assert direct.language_model.config._attn_implementation == "eager"


def test_values_of_the_config_can_be_set_while_loading(
    model_folder: Path, tiny_config: ViPEConfig
) -> None:
    for loaded in (
        AutoModel.from_pretrained(model_folder, frames=3),
        ViPEModel.from_pretrained(model_folder, frames=3),
    ):
        assert loaded.vipe.config == replace(tiny_config, frames=3)
    model, report = AutoModel.from_pretrained(model_folder, output_loading_info=True)
    assert type(model) is ViPEModel
    assert not any(report.values())


def test_the_language_model_is_quantised(model_folder: Path) -> None:
    quantization = pytest.importorskip("torchao.quantization", reason="extra quantised")
    settings = transformers.TorchAoConfig(quantization.Int8WeightOnlyConfig())
    loaded = AutoModel.from_pretrained(model_folder, quantization_config=settings)
    assert is_quantised(loaded.language_model.model.layers[0].self_attn.o_proj.weight)
    assert not any(map(is_quantised, loaded.video_to_weights.parameters()))
    assert loaded.vipe.ask(loaded.vipe.see(tiny.frames(4, size=64)), "What is it?")


def test_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a model folder") as error:
        ViPEModel.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


def test_importing_vipe_is_quick_and_leaves_transformers_alone() -> None:
    code = "import sys, vipe; print('transformers' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_parameters_are_counted_once(model: ViPEModel) -> None:
    parts: list[Any] = [model.encoder, model.video_to_weights, model.language_model]
    assert sum(p.numel() for p in model.parameters()) == sum(
        p.numel() for part in parts for p in part.parameters()
    )
    assert model.get_input_embeddings() is model.language_model.get_input_embeddings()
