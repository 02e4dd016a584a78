"""Prompts: by the tokenizer's own template, with no token more."""

from __future__ import annotations

import copy

import pytest
from transformers import PreTrainedTokenizerFast

from vipe.chat import Message, as_messages, prompt_around, prompt_ids


def test_a_question_is_a_conversation_of_one_turn() -> None:
    assert as_messages("Why?") == [{"role": "user", "content": "Why?"}]
    turns = [Message(role="user", content="Why?"), Message(role="assistant", content="So.")]
    assert as_messages(tuple(turns)) == turns


def test_the_prompt_is_the_templates_and_ends_where_the_answer_begins(
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    ids = prompt_ids(tiny_tokenizer, "What is it?")
    assert tiny_tokenizer.decode(ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is it?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert ids.count(tiny_tokenizer.bos_token_id) == 3, "none is added before the template's"


def test_several_turns_come_in_order(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    turns = [
        Message(role="system", content="Rhyme."),
        Message(role="user", content="One?"),
        Message(role="assistant", content="Sun."),
        Message(role="user", content="Two?"),
    ]
    assert tiny_tokenizer.decode(prompt_ids(tiny_tokenizer, turns)) == (
        "<|im_start|>system\nRhyme.<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n"
        "<|im_start|>assistant\nSun.<|im_end|>\n<|im_start|>user\nTwo?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_without_a_template(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    plain = copy.deepcopy(tiny_tokenizer)
    plain.chat_template = None
    turns = [
        Message(role="user", content="One?"),
        Message(role="assistant", content="Sun."),
        Message(role="user", content="Two?"),
    ]
    text = "Question: One?\nAnswer: Sun.\nQuestion: Two?\nAnswer:"
    assert plain.decode(prompt_ids(plain, turns)) == text


def test_the_place_of_visual_tokens_is_before_the_users_first_words(
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    turns = [
        Message(role="user", content="One?"),
        Message(role="assistant", content="Sun."),
        Message(role="user", content="Two?"),
    ]
    plain = copy.deepcopy(tiny_tokenizer)
    plain.chat_template = None
    for tokenizer in (tiny_tokenizer, plain):
        for question in ("What is it?", turns):
            before, after = prompt_around(tokenizer, question)
            assert before + after == prompt_ids(tokenizer, question)
            first = question if isinstance(question, str) else "One?"
            assert tokenizer.decode(after).startswith(first)
    assert turns[0]["content"] == "One?"
    with pytest.raises(ValueError, match="turn of the user"):
        prompt_around(tiny_tokenizer, [Message(role="system", content="Rhyme.")])
