"""Log-likelihoods: those of decoding token by token, whatever else is in the batch."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

import tiny
from vipe import ViPE
from vipe.chat import prompt_ids
from vipe.scoring import log_likelihoods

ANSWERS = ["A dog.", "no", "Two men on a bench", ""]


def one_by_one(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompt: list[int], answer: str
) -> float:
    total, ids = 0.0, list(prompt)
    assert tokenizer.eos_token_id is not None
    for token in [*tokenizer(answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        total += logits.log_softmax(-1)[token].item()
        ids.append(token)
    return total


def test_it_is_what_decoding_finds(
    tiny_language_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [
        prompt_ids(tiny_tokenizer, q) for q in ("What?", "Is there a dog in it?", "Why?", "")
    ]
    found = log_likelihoods(tiny_language_model, tiny_tokenizer, prompts, ANSWERS)
    wanted = [
        one_by_one(tiny_language_model, tiny_tokenizer, prompt, answer)
        for prompt, answer in zip(prompts, ANSWERS, strict=True)
    ]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(ValueError, match="zip"):
        log_likelihoods(tiny_language_model, tiny_tokenizer, prompts, ANSWERS[:2])


def test_a_model_scores_by_what_it_saw(tiny_vipe: ViPE) -> None:
    model = tiny_vipe
    seen = [model.see(tiny.frames(3)) * 5 for _ in range(2)]
    scores = [model.score(one, "What is it?", ANSWERS) for one in seen]
    assert scores[0] != pytest.approx(scores[1], rel=1e-6)
    together = type(seen[0]).batch(seen)
    assert model.score(together[1], "What is it?", ANSWERS) == pytest.approx(scores[1], rel=1e-4)
    assert model.score(seen[0], "What is it?", []) == []
    with pytest.raises(ValueError, match="2 videos but 1 question"):
        model.score(together, "What is it?", ANSWERS)
