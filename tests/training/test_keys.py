"""Keys: fitted to the questions that name what a video shows, with no gradient."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from vipe.perception import Perception, PerceptionConfig
from vipe.training.keys import _last_token, start_keys, thing_keys
from vipe.training.language import TrainingLanguageModel
from vipe.training.loop import Run

THINGS = ["a dog", "a red car", "an apple", "two birds"]


def perception_of(model: LlamaForCausalLM) -> Perception:
    config = PerceptionConfig(width=16, heads=2, depth=1, rank=3)
    return config.build(model, name="tiny", gists=14).eval()


def test_codes_are_what_each_a_reads(tiny_language_model: LlamaForCausalLM) -> None:
    perception = perception_of(tiny_language_model)
    weights = perception.static_weights()
    seen: dict[str, torch.Tensor] = {}
    for target in weights.targets:
        tiny_language_model.get_submodule(target).register_forward_pre_hook(
            lambda _, args, target=target: seen.update({target: args[0]})
        )
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0]])
    with torch.no_grad():
        tiny_language_model(ids)
    expected = torch.stack(
        [seen[target] @ weights.factors(target)[0].T for target in weights.targets], dim=2
    )
    language = TrainingLanguageModel(tiny_language_model, list(weights.targets), compile=True)
    torch.testing.assert_close(language.codes(ids, weights), expected, atol=1e-5, rtol=1e-4)


def test_a_thing_is_found_in_a_prompt(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tiny_tokenizer("Is there a red car?").input_ids
    last = _last_token(tiny_tokenizer, prompt, "a red car")
    assert "a red car" in tiny_tokenizer.decode(prompt[: last + 1])
    assert "a red car" not in tiny_tokenizer.decode(prompt[:last])
    with pytest.raises(ValueError, match="does not hold 'a cat'"):
        _last_token(tiny_tokenizer, prompt, "a cat")


def test_keys_tell_things_apart_in_coordinates_of_unit_variance(
    tiny_language_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    perception = perception_of(tiny_language_model)
    language = TrainingLanguageModel(tiny_language_model, list(perception.targets))
    keys, whiten = thing_keys(perception, language, tiny_tokenizer, THINGS)
    assert keys.shape == (4, 6, 3)
    assert whiten.shape == (6, 3, 3)
    assert keys.square().mean().item() == pytest.approx(1)
    torch.testing.assert_close(whiten, whiten.mT, atol=1e-2, rtol=1e-3)


def test_a_video_gets_the_keys_of_what_it_shows(run: Run) -> None:
    module = run.module.eval()
    content = module.perception.binding.content
    before = content.clone()
    batches = [run.train[step] for step in range(4)]
    things = start_keys(module, run.language, run.train.packer.tokenizer, batches)
    assert things > 1
    assert not torch.equal(content, before)
    assert content.isfinite().all()


def test_without_questions_of_presence_nothing_changes(run: Run) -> None:
    content = run.module.perception.binding.content
    before = content.clone()
    assert start_keys(run.module.eval(), run.language, run.train.packer.tokenizer, []) == 0
    assert torch.equal(content, before)
