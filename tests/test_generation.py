"""Decoding: greedy is the likeliest token each time, pieces join to the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from vipe.chat import prompt_ids
from vipe.generation import Decoding, TextStream, generate, iterate

QUESTIONS = ("Why?", "What is in the video?", "Is there a dog in it, or a cat?")


def greedy(model: LlamaForCausalLM, prompt: list[int], count: int) -> list[int]:
    """Decode with neither cache, padding nor `generate`."""
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == model.config.eos_token_id:
            break
    return ids[len(prompt) :]


def test_greedy_is_the_likeliest_token_each_time_in_a_batch_too(
    tiny_language_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    model, tokenizer = tiny_language_model, tiny_tokenizer
    model.generation_config.repetition_penalty = 1.5  # some models come with one
    prompts = [prompt_ids(tokenizer, question) for question in QUESTIONS]
    answers = generate(model, tokenizer, prompts, Decoding(max_new_tokens=12))
    for prompt, answer in zip(prompts, answers, strict=True):
        wanted = tokenizer.decode(greedy(model, prompt, 12), skip_special_tokens=True).strip()
        assert answer == wanted
        assert generate(model, tokenizer, [prompt], Decoding(max_new_tokens=12)) == [answer]
    assert len(set(answers)) > 1
    assert generate(model, tokenizer, [], Decoding()) == []


def test_a_seed_repeats_a_sampled_answer(
    tiny_language_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [prompt_ids(tiny_tokenizer, "Why?")]

    def sample(seed: int | None) -> list[str]:
        decoding = Decoding(max_new_tokens=20, temperature=2.0, top_p=0.95, seed=seed)
        return generate(tiny_language_model, tiny_tokenizer, prompts, decoding)

    assert sample(3) == sample(3)
    assert len({sample(seed)[0] for seed in range(4)}) > 1
    assert sample(None) != sample(None)


def test_the_answer_has_at_most_so_many_tokens(
    tiny_language_model: LlamaForCausalLM, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    prompts = [prompt_ids(tiny_tokenizer, "Why?")]
    long, short = (
        generate(tiny_language_model, tiny_tokenizer, prompts, Decoding(max_new_tokens=n))[0]
        for n in (12, 4)
    )
    assert len(short) <= 4
    assert long.startswith(short.rstrip("\ufffd"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"num_beams": 0},
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"top_p": 2.0},
    ],
)
def test_a_wrong_decoding_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Decoding(**wrong)


def pieces(tokenizer: PreTrainedTokenizerFast, text: str | list[int]) -> list[str]:
    ids = tokenizer(text).input_ids if isinstance(text, str) else text
    given: list[str] = []
    stream = TextStream(tokenizer, given.append)
    stream.put(torch.tensor([[1, 2, 3]]))
    for token in ids:
        stream.put(torch.tensor([token]))
    stream.end()
    return given


@pytest.mark.parametrize("text", ["a dog", "  a dog \n runs ", "ein Bär ißt 🍯", "", " \n", "ø"])
def test_pieces_are_whole_characters_and_join_to_the_stripped_text(
    tiny_tokenizer: PreTrainedTokenizerFast, text: str
) -> None:
    given = pieces(tiny_tokenizer, text)
    assert "".join(given) == text.strip()
    assert all(given)
    assert not any("\ufffd" in piece for piece in given)


def test_half_a_character_at_the_end_is_what_decoding_makes_of_it(
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    ids = tiny_tokenizer("ein Bär").input_ids
    for end in range(len(ids) + 1):
        wanted = tiny_tokenizer.decode(ids[:end], skip_special_tokens=True).strip()
        assert "".join(pieces(tiny_tokenizer, ids[:end])) == wanted


def test_what_a_run_hands_on_is_yielded_and_its_error_raised() -> None:
    def run(on_text: Callable[[str], None]) -> None:
        on_text("a")
        on_text("b")
        raise KeyError("in the thread")

    answer = iterate(run)
    assert [next(answer), next(answer)] == ["a", "b"]
    with pytest.raises(KeyError, match="in the thread"):
        next(answer)
    assert list(iterate(lambda on_text: None)) == []


def test_closing_stops_the_run_and_waits_for_it() -> None:
    over, wait, given = threading.Event(), threading.Event(), []

    def run(on_text: Callable[[str], None]) -> None:
        try:
            for i in range(2000):
                wait.wait(0.001)
                given.append(i)
                on_text(str(i))
        finally:
            over.set()

    running = threading.active_count()
    answer = iterate(run)
    assert next(answer) == "0"
    answer.close()  # type: ignore[attr-defined]
    assert over.is_set()
    assert len(given) < 2000
    assert threading.active_count() == running
