"""What PEFT does with adapter folders, each to the logits that are had here.

The adapters are what a model with static targets (config: `static_targets`, `static_layers`) sees
in two videos: they share what is alike for all, and update some layers only. Tolerances are those
of `test_peft_parity`.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from peft import PeftModel
from peft.utils.hotswap import hotswap_adapter
from transformers import LlamaForCausalLM

import pages
import tiny
from vipe import PerceptualWeights, ViPE
from vipe.chat import prompt_ids
from vipe.config import ViPEConfig
from vipe.serving.language_model import export_language_model

STATIC = {f"model.layers.{layer}.self_attn.{p}_proj" for layer in (0, 2) for p in "qkv"}


class Seen(NamedTuple):
    model: ViPE
    one: PerceptualWeights
    two: PerceptualWeights
    folder: Path  # of the adapters "one" and "two"
    ids: torch.Tensor  # (2, 9)

    @property
    def language_model(self) -> LlamaForCausalLM:
        """A copy, for PEFT changes the model that it is given."""
        return copy.deepcopy(self.model.language_model)

    def ours(self, weights: PerceptualWeights, ids: torch.Tensor | None = None) -> torch.Tensor:
        with weights.attached_to(self.model.language_model):
            return logits(self.model.language_model, self.ids if ids is None else ids)


def logits(model: torch.nn.Module, ids: torch.Tensor, **more: object) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **more).logits


def close(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=1e-5, atol=5e-5)


@pytest.fixture(scope="module")
def seen(tiny_config: ViPEConfig, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    perception = replace(
        tiny_config.perception, static_targets=("q_proj", "k_proj", "v_proj"), static_layers=(0, 2)
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = ViPE.from_config(replace(tiny_config, perception=perception))
        trained = model.video_to_weights.perception
        for parameter in (*trained.heads_B.parameters(), *trained.static_lora.B.values()):
            torch.nn.init.normal_(parameter, std=0.2)
        one, two = (model.see(tiny.frames(6, size=64)) for _ in range(2))
        ids = torch.randint(3, 200, (2, 9))
    folder = tmp_path_factory.mktemp("adapters")
    one.save(folder / "one")
    two.save(folder / "two")
    return Seen(model, one, two, folder, ids)


def test_the_config_names_the_layers_that_are_updated_and_no_others(seen: Seen) -> None:
    config = json.loads((seen.folder / "one" / "adapter_config.json").read_text())
    decided = {
        f"model.layers.{layer}.{name}"
        for layer in range(3)
        for name in ("self_attn.o_proj", "mlp.down_proj")
    }
    assert set(config["target_modules"]) == decided | STATIC == set(seen.one.targets)
    peft = PeftModel.from_pretrained(seen.language_model, str(seen.folder / "one"))
    touched = {name for name, m in peft.base_model.model.named_modules() if hasattr(m, "lora_A")}
    assert touched == decided | STATIC


def test_the_videos_and_the_bare_model_differ(seen: Seen) -> None:
    """Else nothing below would show anything."""
    bare = logits(seen.model.language_model, seen.ids)
    one, two = seen.ours(seen.one), seen.ours(seen.two)
    for a, b in ((one, two), (one, bare), (two, bare)):
        assert (a - b).abs().max() > 0.1


def test_a_second_adapter_is_loaded_and_chosen(seen: Seen) -> None:
    peft = PeftModel.from_pretrained(seen.language_model, str(seen.folder / "one"), "one")
    report = peft.load_adapter(str(seen.folder / "two"), "two")
    assert not report.missing_keys
    assert not report.unexpected_keys
    close(logits(peft, seen.ids), seen.ours(seen.one))
    peft.set_adapter("two")
    close(logits(peft, seen.ids), seen.ours(seen.two))
    with peft.disable_adapter():
        assert torch.equal(logits(peft, seen.ids), logits(seen.model.language_model, seen.ids))


def test_transformers_own_way_of_loading(seen: Seen) -> None:
    model = seen.language_model
    model.load_adapter(str(seen.folder / "two"))
    close(logits(model, seen.ids), seen.ours(seen.two))


def test_one_video_is_swapped_for_another(seen: Seen) -> None:
    peft = PeftModel.from_pretrained(seen.language_model, str(seen.folder / "one"))
    layers = {id(module) for module in peft.modules()}
    hotswap_adapter(peft, str(seen.folder / "two"), "default", torch_device="cpu")
    close(logits(peft, seen.ids), seen.ours(seen.two))
    assert {id(module) for module in peft.modules()} == layers, "no layer was made anew"
    hotswap_adapter(peft, str(seen.folder / "one"), "default", torch_device="cpu")
    close(logits(peft, seen.ids), seen.ours(seen.one))


def test_a_batch_of_several_videos(seen: Seen) -> None:
    peft = PeftModel.from_pretrained(seen.language_model, str(seen.folder / "one"), "one")
    peft.load_adapter(str(seen.folder / "two"), "two")
    peft.eval()
    ids = torch.randint(3, 200, (4, 9))
    names = ["two", "one", "__base__", "two"]
    mixed = logits(peft, ids, adapter_names=names)
    videos = PerceptualWeights.batch([seen.two, seen.one, seen.two])
    ours = seen.ours(videos, ids[[0, 1, 3]])
    close(mixed[[0, 1, 3]], ours)
    close(mixed[2:3], logits(seen.model.language_model, ids[2:3]))


def test_a_batch_of_answers(seen: Seen) -> None:
    """The words, too: PEFT's `generate` and our `ask_batch`, of prompts of one length."""
    questions = ["What is it?", "Who is it?!"]
    ours = seen.model.ask_batch([seen.one, seen.two], questions)
    peft = PeftModel.from_pretrained(seen.language_model, str(seen.folder / "one"), "one")
    peft.load_adapter(str(seen.folder / "two"), "two")
    tokenizer = seen.model.tokenizer
    ids = torch.tensor([prompt_ids(tokenizer, question) for question in questions])
    tokens = peft.eval().generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        adapter_names=["one", "two"],
        do_sample=False,
        max_new_tokens=64,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    said = tokenizer.batch_decode(tokens[:, ids.shape[1] :], skip_special_tokens=True)
    assert [answer.strip() for answer in said] == ours
    assert ours[0] != ours[1]


def test_merged_and_unloaded(seen: Seen) -> None:
    plain = seen.language_model
    merged = PeftModel.from_pretrained(plain, str(seen.folder / "one")).merge_and_unload()
    assert type(merged) is LlamaForCausalLM
    close(logits(merged, seen.ids), seen.ours(seen.one))
    with seen.one.merge_into(seen.model.language_model):
        close(logits(merged, seen.ids), logits(seen.model.language_model, seen.ids))


def test_videos_are_added_up(seen: Seen, tmp_path: Path) -> None:
    """PEFT lays the factors side by side (`cat`); here A is shared, and B is added."""
    peft = PeftModel.from_pretrained(seen.language_model, str(seen.folder / "one"), "one")
    peft.load_adapter(str(seen.folder / "two"), "two")
    (0 * seen.one).save(tmp_path / "static")  # what is alike for all videos
    peft.load_adapter(str(tmp_path / "static"), "static")
    for names, factors, ours in (
        (["one", "two"], [0.5, 0.5], 0.5 * seen.one + 0.5 * seen.two),
        (["one", "two", "static"], [1.0, 1.0, -1.0], seen.one + seen.two),
    ):
        both = "-".join(names)
        peft.add_weighted_adapter(names, factors, both, combination_type="cat")
        peft.set_adapter(both)
        close(logits(peft, seen.ids), seen.ours(ours))


def test_the_code_of_the_page_says_what_we_say(
    seen: Seen,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    export_language_model(seen.model.config.language_model, tmp_path / "language-model")
    seen.one.save(tmp_path / "adapters" / "dog")
    monkeypatch.chdir(tmp_path)
    pages.run("docs/peft.md", only="PeftModel")
    said = capsys.readouterr().out.strip()
    assert said == seen.model.ask(seen.one, "What animal is in the video?")
