"""Packed rows: k turns of a row give what k rows of one turn give."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from vipe.chat import Message, prompt_ids
from vipe.errors import DataError, RecipeError
from vipe.training.language import TrainingLanguageModel
from vipe.training.packing import IGNORE, Packer, Turn

TURNS = [
    Turn(question="What is it?", answer="A dog.", kind="animal"),
    Turn(question="Where?", answer="In a garden", kind="place"),
    Turn(question="Is it a cat?", answer="no", kind="presence"),
]


@pytest.fixture
def packer(tiny_tokenizer: PreTrainedTokenizerFast) -> Packer:
    return Packer(tiny_tokenizer, 300)


def length(packer: Packer, turn: Turn) -> int:
    """Tokens of a turn in a row: all but the end of the answer, which is only predicted."""
    asked = prompt_ids(packer.tokenizer, turn.question)
    return len(asked) - len(packer.prefix) + len(turn.answer)


def test_the_prefix_is_what_all_prompts_begin_with(packer: Packer) -> None:
    text = packer.tokenizer.decode(packer.prefix)
    assert text == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"


def test_a_turn_is_its_prompt_and_answer_and_trains_the_answer_and_its_end(
    packer: Packer,
) -> None:
    rows, tokenizer = packer.pack([TURNS, TURNS[1:]]), packer.tokenizer
    assert rows.turns == (tuple(TURNS), tuple(TURNS[1:]))
    for row, turns in enumerate(rows.turns):
        prefix = rows.turn[row] == 0
        assert rows.input_ids[row][prefix].tolist() == packer.prefix
        assert prefix.sum() == len(packer.prefix), "once a row"
        for number, turn in enumerate(turns, start=1):
            own = rows.turn[row] == number
            ids, labels = rows.input_ids[row][own], rows.labels[row][own]
            whole = tokenizer.decode([*packer.prefix, *ids.tolist()])
            assert whole == tokenizer.decode(prompt_ids(tokenizer, turn.question)) + turn.answer
            trained = labels[labels != IGNORE]
            assert tokenizer.decode(trained) == turn.answer + tokenizer.eos_token
            assert torch.equal(labels[-len(trained) : -1], ids[1 - len(trained) :]), "the next"
            places = rows.position_ids[row][own]
            first = len(packer.prefix)
            assert places.tolist() == list(range(first, first + len(ids)))
        padding = rows.turn[row] == -1
        assert padding.any()
        assert (rows.labels[row][padding | prefix] == IGNORE).all()


def test_a_token_sees_the_prefix_and_its_own_turn_before_it(packer: Packer) -> None:
    rows = packer.pack([TURNS])
    mask, turn = rows.mask()[0, 0], rows.turn[0]
    for reader in range(0, packer.length, 7):
        seen = mask[reader].nonzero().flatten().tolist()
        wanted = [i for i in range(reader + 1) if turn[i] in (0, turn[reader])]
        assert seen == wanted


def test_a_row_of_turns_gives_what_rows_of_one_turn_give(
    packer: Packer, tiny_language_model: LlamaForCausalLM
) -> None:
    language = TrainingLanguageModel(tiny_language_model, [])
    with torch.no_grad():
        together, labels = language(packer.pack([TURNS]))
        alone, same = language(packer.pack([[turn] for turn in TURNS]))
    assert torch.equal(labels, same)
    # float32; the logits' standard deviation is 1.2. Largest difference seen: 3e-6.
    assert_close(together, alone, rtol=0, atol=2e-5)


def test_what_does_not_fit_is_left_out_and_the_next_is_tried(
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> None:
    probe = Packer(tiny_tokenizer, 300)
    long = Turn(question="Describe it?", answer="dog " * 50, kind="caption")
    exact = len(probe.prefix) + length(probe, TURNS[0]) + length(probe, TURNS[2])
    candidates = [TURNS[0], long, TURNS[2], TURNS[1]]
    for room, kept in ((exact, [TURNS[0], TURNS[2]]), (exact - 1, [TURNS[0]])):
        rows = Packer(tiny_tokenizer, room).pack([candidates, [long]])
        assert rows.turns == (tuple(kept), ())
        assert (rows.labels[1] == IGNORE).all()
        assert rows.input_ids.shape == (2, room)
        trained = rows.labels[0][rows.labels[0] != IGNORE]
        assert len(trained) == sum(len(turn.answer) + 1 for turn in kept)


def test_an_answer_of_k_tokens_counts_the_root_of_k(packer: Packer) -> None:
    rows = packer.pack([TURNS, [], TURNS[2:], TURNS[:1]])
    weight, trained = rows.weight(), rows.labels != IGNORE
    assert weight.shape == (trained.sum(),)
    row, column = trained.nonzero(as_tuple=True)
    counts = [(row == r) & (rows.turn[row, column] == t) for r, t in
              ((0, 1), (0, 2), (0, 3), (2, 1), (3, 1))]  # fmt: skip
    answers = [*TURNS, TURNS[2], TURNS[0]]
    wanted = torch.tensor([(len(turn.answer) + 1) ** 0.5 for turn in answers])
    assert_close(torch.stack([weight[own].sum() for own in counts]), wanted / wanted.sum())
    assert all(len(weight[own].unique()) == 1 for own in counts)
    assert torch.equal(rows.answered(), torch.stack(counts).int().argmax(0))


def test_rows_need_room_for_a_question(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(RecipeError, match="row_tokens: 10 hold no question"):
        Packer(tiny_tokenizer, 10)


def test_a_question_that_joins_the_templates_tokens_is_named(
    packer: Packer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where two new lines in a row are one token.
    monkeypatch.setattr("vipe.training.packing.prompt_ids", lambda *_: [1, 2, 3])
    with pytest.raises(DataError, match="Why"):
        packer.pack([[Turn(question="\nWhy?", answer="So.", kind="why")]])


def test_a_bag_is_the_words_of_all_answers_but_yes_and_no(packer: Packer) -> None:
    no_words = [Turn(question="Is it?", answer="yes", kind="presence")]
    one, other = packer.bags([TURNS, no_words])
    assert len(one) == len(set(one))
    assert set(packer.tokenizer.decode(one)) == set(" A dog." + " In a garden")
    assert other == (packer.tokenizer.eos_token_id,), "never empty"


def test_what_is_asked_names_its_video_and_keeps_yes_and_no(packer: Packer) -> None:
    asked = packer.asked([TURNS[:1], [], TURNS[2:]])
    assert [one.video for one in asked] == [0, 2]
    decode = packer.tokenizer.decode
    assert [decode(one.question) for one in asked] == [TURNS[0].question, TURNS[2].question]
    assert [decode(one.answer) for one in asked] == [" Adog.", " no"], "each once"


def test_a_turn_of_a_conversation_follows_what_was_said(packer: Packer) -> None:
    before = (("What is it?", "A dog."), ("Where?", "In a garden"))
    turn = Turn(question="When?", answer="At night", kind="conversation", before=before)
    rows = packer.pack([[turn]])
    messages = [
        Message(role=role, content=text)
        for role, text in zip(
            ["user", "assistant"] * 2 + ["user"], [*before[0], *before[1], "When?"], strict=True
        )
    ]
    ids = rows.input_ids[0][rows.turn[0] >= 0].tolist()
    prompt = prompt_ids(packer.tokenizer, messages)
    assert ids[: len(prompt)] == prompt
    trained = rows.labels[0][rows.labels[0] != IGNORE]
    assert packer.tokenizer.decode(trained) == "At night" + packer.tokenizer.eos_token
