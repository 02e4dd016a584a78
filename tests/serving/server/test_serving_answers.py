"""Tokens to text: the pieces join to the text, and a stop is where it should be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from vipe.serving.server.answers import AnswerText


def pieces(
    tokenizer: PreTrainedTokenizerFast, text: str, stop: list[str]
) -> tuple[list[str], bool]:
    answer = AnswerText(tokenizer, stop)
    given = []
    for token in tokenizer(text, add_special_tokens=False).input_ids:
        given.append(answer.push(token))
        if answer.stopped:
            break
    return [*given, answer.end()], answer.stopped


TEXTS = st.text(st.sampled_from("ab \né€😀.,"), max_size=24)


@given(TEXTS)
def test_the_pieces_join_to_the_text(tiny_tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    parts, stopped = pieces(tiny_tokenizer, text, [])
    assert "".join(parts) == text.strip()
    assert not stopped


@given(TEXTS, st.lists(st.text(st.sampled_from("ab \né"), min_size=1, max_size=3), max_size=3))
def test_an_answer_ends_before_the_first_stop(
    tiny_tokenizer: PreTrainedTokenizerFast, text: str, stop: list[str]
) -> None:
    parts, stopped = pieces(tiny_tokenizer, text, stop)
    ends = [text.find(word) for word in stop if word in text]
    given = "".join(parts)
    assert stopped == bool(ends)
    # The stop that is whole first ends it; one that begins earlier but ends later may be beaten.
    whole = [text.find(word) + len(word) for word in stop if word in text]
    expected = text
    if whole:
        cut = text[: min(whole)]
        expected = cut[: min(cut.find(word) for word in stop if word in cut)]
    assert given == expected.strip()


def test_a_piece_is_given_as_soon_as_it_is_certain(
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    parts, _ = pieces(tiny_tokenizer, "é!", [])
    assert parts == ["", "é", "!", ""]
    parts, _ = pieces(tiny_tokenizer, "a b", [])
    assert parts == ["a", "", " b", ""]
    parts, stopped = pieces(tiny_tokenizer, "xENDy", ["END"])
    assert (parts, stopped) == (["x", "", "", "", ""], True)
    parts, _ = pieces(tiny_tokenizer, "xENy", ["END"])
    assert parts == ["x", "", "", "ENy", ""]


def test_special_tokens_are_no_text(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    answer = AnswerText(tiny_tokenizer)
    start = tiny_tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert answer.push(start) == ""
    assert answer.push(tiny_tokenizer("a").input_ids[0]) == "a"
