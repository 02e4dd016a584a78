"""What holds for every kind of language model: see, attach, ask, save, and load by PEFT.

Logits are up to about 10; PEFT multiplies the scale in at another place: measured at most 2e-5.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

import tiny
import tiny_backbones
from vipe import PerceptualWeights, ViPE, ViPEConfig
from vipe.chat import prompt_ids

KINDS = ("Llama", "Qwen2", "Qwen3", "Mistral", "Gemma", "Gemma2", "Gemma3", "Gemma3 with eyes")
FRAMES = 6


@pytest.fixture(scope="module", params=KINDS)
def config(
    request: pytest.FixtureRequest,
    tiny_tokenizer: PreTrainedTokenizerFast,
    tiny_config: ViPEConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> ViPEConfig:
    """A config of a random language model of each kind, saved as transformers does."""
    folder = tmp_path_factory.mktemp("language-model")
    tiny_backbones.any_language_model(request.param, tiny_tokenizer).save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return replace(tiny_config, language_model=str(folder))


@pytest.fixture(scope="module")
def model(config: ViPEConfig, tmp_path_factory: pytest.TempPathFactory) -> ViPE:
    """A model of it, saved and loaded again; do not change it."""
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny_backbones.model(config).save_pretrained(folder)
    return ViPE.from_pretrained(folder)


@pytest.fixture(scope="module")
def seen(model: ViPE) -> list[PerceptualWeights]:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return [model.see(tiny.frames(FRAMES, size=64)) for _ in range(2)]


@pytest.fixture(scope="module")
def base(config: ViPEConfig) -> Any:
    """The language model as a user of PEFT loads it."""
    return AutoModelForCausalLM.from_pretrained(config.language_model, dtype="float32").eval()


def ids(count: int = 2) -> torch.Tensor:
    return torch.randint(3, 200, (count, 9))


def logits(model: Any, prompts: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=prompts).logits


def ours(model: ViPE, seen: PerceptualWeights, prompts: torch.Tensor) -> torch.Tensor:
    with seen.attached_to(model.language_model):
        return logits(model.language_model, prompts)


def test_every_layer_of_the_decoder_and_no_other_is_updated(
    model: ViPE, seen: list[PerceptualWeights]
) -> None:
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "down_proj")
    names = [name for name, _ in model.language_model.named_modules()]
    decoder = [name for name in names if "vision" not in name and name.endswith(kinds)]
    assert len(decoder) == 2 * len(kinds)
    assert set(seen[0].targets) == set(decoder)
    attention = "self_attn.k_proj"
    key = next(name for name in seen[0].targets if name.endswith(attention))
    query = key.replace("k_proj", "q_proj")
    outputs = {name: seen[0].factors(name)[1].shape[0] for name in (key, query)}
    assert outputs[query] == 2 * outputs[key], "queries are grouped"


def test_videos_change_what_is_said_and_leave_nothing_behind(
    model: ViPE, seen: list[PerceptualWeights]
) -> None:
    prompts = ids()
    before = {k: v.clone() for k, v in model.language_model.state_dict().items()}
    bare, one, two = (
        logits(model.language_model, prompts),
        ours(model, seen[0], prompts),
        ours(model, seen[1], prompts),
    )
    for a, b in ((bare, one), (bare, two), (one, two)):
        assert (a - b).abs().max() > 0.1
    assert torch.equal(logits(model.language_model, prompts), bare)
    after = model.language_model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_peft_loads_the_adapter_to_the_same_logits(
    model: ViPE, seen: list[PerceptualWeights], base: Any, tmp_path: Path
) -> None:
    prompts = ids()
    seen[0].save(tmp_path / "adapter")
    peft = PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path / "adapter")).eval()
    wanted = ours(model, seen[0], prompts)
    assert_close(logits(peft, prompts), wanted, rtol=1e-5, atol=5e-5)
    loaded = PerceptualWeights.load(tmp_path / "adapter")
    assert torch.equal(ours(model, loaded, prompts), wanted)


def test_peft_says_the_same_words(
    model: ViPE, seen: list[PerceptualWeights], base: Any, tmp_path: Path
) -> None:
    answer = model.ask(seen[0], "What is it?")
    assert answer
    seen[0].save(tmp_path / "adapter")
    peft = PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path / "adapter")).eval()
    prompt = torch.tensor([prompt_ids(model.tokenizer, "What is it?")])
    tokens = peft.generate(
        input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
        max_new_tokens=64, eos_token_id=model.tokenizer.eos_token_id,
        pad_token_id=model.tokenizer.pad_token_id,
    )  # fmt: skip
    said = model.tokenizer.decode(tokens[0, prompt.shape[1] :], skip_special_tokens=True)
    assert said.strip() == answer


def test_merged_gives_the_same_logits(model: ViPE, seen: list[PerceptualWeights]) -> None:
    prompts = ids()
    wanted, bare = ours(model, seen[0], prompts), logits(model.language_model, prompts)
    with seen[0].merge_into(model.language_model):
        # The largest difference over all kinds: 1e-5.
        assert_close(logits(model.language_model, prompts), wanted, rtol=1e-5, atol=5e-5)
    assert torch.equal(logits(model.language_model, prompts), bare)


def test_a_batch_of_videos_says_what_each_says_alone(
    model: ViPE, seen: list[PerceptualWeights]
) -> None:
    questions = ["What is it?", "Who goes there?"]
    together = model.ask_batch(seen, questions)
    alone = [model.ask(one, question) for one, question in zip(seen, questions, strict=True)]
    assert together == alone


def test_shapes_are_enough_to_see(
    config: ViPEConfig, model: ViPE, seen: list[PerceptualWeights]
) -> None:
    shapes = ViPE.from_config(config, only_see=True)
    assert shapes.video_to_weights.perception.targets == model.video_to_weights.perception.targets
    seen[0].check_fits(shapes.language_model)


def test_the_kinds_are_what_they_are_called(model: ViPE) -> None:
    """Scaled embeddings, capped logits, tied heads: else the suite would show nothing of them."""
    language_model, kind = model.language_model, type(model.language_model).__name__
    assert isinstance(language_model, transformers.PreTrainedModel)
    tied = language_model.get_input_embeddings().weight is language_model.lm_head.weight
    assert tied == kind.startswith("Gemma")
    if kind == "Gemma2ForCausalLM":
        assert logits(language_model, ids()).abs().max() <= 30
