"""Keys: computed from what the language model asks with, with no gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from vipe.perception import Perception, PerceptionConfig
from vipe.targets import all_targets
from vipe.training.keys import _codes, _last_token, start_of_concepts, thing_keys
from vipe.training.language import TrainingLanguageModel

THINGS = ["a dog", "a red car", "an apple", "two birds"]


def perception_of(model: LlamaForCausalLM) -> Perception:
    config = PerceptionConfig(width=16, heads=2, depth=1, rank=3)
    return config.build(model, name="tiny", gists=14).eval()


def asked(model: LlamaForCausalLM) -> tuple[Perception, TrainingLanguageModel]:
    perception = perception_of(model)
    return perception, TrainingLanguageModel(model, list(all_targets(model, perception.config)))


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
    torch.testing.assert_close(
        language.codes(ids, weights, weights.targets), expected, atol=1e-5, rtol=1e-4
    )


def test_a_thing_is_found_in_a_prompt(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    prompt = tiny_tokenizer("Is there a red car?").input_ids
    last = _last_token(tiny_tokenizer, prompt, "a red car")
    assert "a red car" in tiny_tokenizer.decode(prompt[: last + 1])
    assert "a red car" not in tiny_tokenizer.decode(prompt[:last])
    with pytest.raises(ValueError, match="does not hold 'a cat'"):
        _last_token(tiny_tokenizer, prompt, "a cat")


def test_a_key_matches_its_own_thing_best(
    tiny_language_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    perception, language = asked(tiny_language_model)
    keys = thing_keys(perception, language, tiny_tokenizer, THINGS)
    assert keys.shape == (4, 6, 3)
    named, answered, _ = _codes(perception, language, tiny_tokenizer, THINGS)
    assert named.shape == (4, 4, 6, 3)  # four questions
    assert answered.shape == (4, 6, 6, 3)  # two of them with the beginning of an answer
    for slots, codes in ((slice(0, 2), named), (slice(2, 6), answered)):
        own = codes - codes.mean(dim=0)
        match = torch.einsum("nsr,mpsr->nm", keys[:, slots], own[:, :, slots])
        size = match.diagonal().sqrt()
        others = (match / size[:, None] / size)[~torch.eye(4, dtype=torch.bool)]
        assert others.max() < 0.9
        matched = torch.einsum("nsr,npsr->nps", keys[:, slots], own[:, :, slots])
        assert matched.mean().item() == pytest.approx(1, abs=0.5)


def test_concepts_start_from_what_is_asked_and_said(
    tiny_language_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    perception, language = asked(tiny_language_model)
    found = start_of_concepts(perception, language, tiny_tokenizer, THINGS)
    assert set(found) == {f"binding.{n}" for n in ("concept", "said.o_proj", "said.down_proj")}
    for name, value in found.items():
        assert value.shape == perception.get_parameter(name).shape
        assert value[: len(THINGS)].flatten(1).any(dim=1).all()
        assert not value[len(THINGS) :].any()
    dog = found["binding.said.o_proj"][0]
    tokens = tiny_tokenizer(" dog", add_special_tokens=False).input_ids
    embedded = language.body.embed_tokens.weight[tokens].mean(dim=0)
    torch.testing.assert_close(dog, F.normalize(embedded, dim=0))


def test_without_concepts_there_is_nothing_to_start(
    tiny_language_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    config = PerceptionConfig(width=16, heads=2, depth=1, rank=3, concepts=0)
    perception = config.build(tiny_language_model, name="tiny", gists=14)
    language = TrainingLanguageModel(tiny_language_model, list(perception.targets))
    with pytest.raises(ValueError, match="no binding"):
        start_of_concepts(perception, language, tiny_tokenizer, THINGS)
