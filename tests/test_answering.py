"""What is answered, however it is asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tiny
from vipe import Decoding, PerceptualWeights, ViPE, ViPEConfig
from vipe.chat import Message, prompt_ids
from vipe.errors import AdapterError
from vipe.generation import generate

SHORT = Decoding(max_new_tokens=12)
QUESTIONS = ["Why?", "What is in the video?", "Is there a dog in it, or a cat?"]


@pytest.fixture
def seen(tiny_vipe: ViPE) -> PerceptualWeights:
    return tiny_vipe.see(tiny.frames(3))


def prompt_lengths(model: ViPE, seen: PerceptualWeights, question: str) -> list[int]:
    """Lengths of what the language model is given, up to the first token of the answer."""
    lengths: list[int] = []
    handle = model.language_model.get_input_embeddings().register_forward_pre_hook(
        lambda _, args: lengths.append(args[0].shape[1])
    )
    model.ask(seen, question, decoding=Decoding(max_new_tokens=1))
    handle.remove()
    return lengths


def test_no_visual_token_is_in_the_prompt(tiny_vipe: ViPE) -> None:
    for count in (1, 30):
        seen = tiny_vipe.see(tiny.frames(count))
        assert prompt_lengths(tiny_vipe, seen, "Why?") == [len(_prompt(tiny_vipe, "Why?"))]


def test_several_questions_at_once_get_the_answers_they_get_alone(
    tiny_vipe: ViPE, seen: PerceptualWeights
) -> None:
    answers = [tiny_vipe.ask(seen, question, decoding=SHORT) for question in QUESTIONS]
    assert tiny_vipe.ask_batch(seen, QUESTIONS, decoding=SHORT) == answers
    assert len(set(answers)) == 3
    assert tiny_vipe.ask_batch(seen, []) == []


def test_several_videos_at_once_get_the_answers_they_get_alone(tiny_vipe: ViPE) -> None:
    batch = tiny_vipe.see_batch([tiny.frames(3), tiny.frames(5), tiny.frames(1)])
    answers = [
        tiny_vipe.ask(one, question, decoding=SHORT)
        for one, question in zip(batch, QUESTIONS, strict=True)
    ]
    assert tiny_vipe.ask_batch(batch, QUESTIONS, decoding=SHORT) == answers
    with pytest.raises(ValueError, match="3 videos but 2 questions"):
        tiny_vipe.ask_batch(batch, QUESTIONS[:2])


def test_the_answer_comes_from_the_weights(tiny_vipe: ViPE, seen: PerceptualWeights) -> None:
    plain = generate(
        tiny_vipe.language_model, tiny_vipe.tokenizer, [_prompt(tiny_vipe, "Why?")], SHORT
    )[0]
    assert tiny_vipe.ask(seen, "Why?", decoding=SHORT) != plain
    nothing = replace(seen, static=None) * 0.0  # nor what is alike for all videos
    assert tiny_vipe.ask(nothing, "Why?", decoding=SHORT) == plain
    other = tiny_vipe.see(tiny.frames(3))
    assert tiny_vipe.ask(other, "Why?", decoding=SHORT) != tiny_vipe.ask(
        seen, "Why?", decoding=SHORT
    )


def _prompt(model: ViPE, question: str) -> list[int]:
    return prompt_ids(model.tokenizer, question)


def test_an_untrained_model_answers_as_the_language_model_does(tiny_config: ViPEConfig) -> None:
    model = ViPE.from_config(tiny_config)
    plain = generate(model.language_model, model.tokenizer, [_prompt(model, "Why?")], SHORT)
    assert [model.ask(model.see(tiny.frames(3)), "Why?", decoding=SHORT)] == plain


@pytest.mark.parametrize(
    "decoding", [SHORT, Decoding(max_new_tokens=12, temperature=1.5, top_p=0.9, seed=4)]
)
def test_pieces_join_to_the_answer(
    tiny_vipe: ViPE, seen: PerceptualWeights, decoding: Decoding
) -> None:
    for question in QUESTIONS:
        answer = tiny_vipe.ask(seen, question, decoding=decoding)
        assert "".join(tiny_vipe.stream(seen, question, decoding=decoding)) == answer
        assert tiny_vipe.ask(seen, question, decoding=decoding) == answer


def test_several_turns_are_one_prompt(tiny_vipe: ViPE, seen: PerceptualWeights) -> None:
    turns = [
        Message(role="user", content="Why?"),
        Message(role="assistant", content="So."),
        Message(role="user", content="What is in the video?"),
    ]
    answer = tiny_vipe.ask(seen, turns, decoding=SHORT)
    assert answer != tiny_vipe.ask(seen, "What is in the video?", decoding=SHORT)
    assert "".join(tiny_vipe.stream(seen, turns, decoding=SHORT)) == answer
    assert tiny_vipe.ask_batch(seen, [turns, "Why?"], decoding=SHORT)[0] == answer


def test_the_language_model_is_as_it_was_afterwards(
    tiny_vipe: ViPE, seen: PerceptualWeights
) -> None:
    model = tiny_vipe.language_model
    state = {name: value.clone() for name, value in model.state_dict().items()}
    kinds = [type(module) for module in model.modules()]
    ids = torch.tensor([_prompt(tiny_vipe, "Why?")])
    with torch.no_grad():
        before = model(ids).logits
    tiny_vipe.ask(seen, "Why?", decoding=SHORT)
    stopped = tiny_vipe.stream(seen, "Why?", decoding=Decoding(max_new_tokens=200))
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    list(tiny_vipe.stream(seen, "Why?", decoding=SHORT))
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(ids).logits, before)


def test_what_cannot_be_streamed(tiny_vipe: ViPE, seen: PerceptualWeights) -> None:
    with pytest.raises(ValueError, match="beam search"):
        tiny_vipe.stream(seen, "Why?", decoding=Decoding(num_beams=2))
    batch = PerceptualWeights.batch([seen, seen])
    with pytest.raises(ValueError, match="2 videos but 1 question"):
        tiny_vipe.stream(batch, "Why?")


def test_weights_of_another_model_are_refused(tiny_vipe: ViPE) -> None:
    other = PerceptualWeights(
        A={"model.layers.9.mlp.down_proj": torch.zeros(2, 48)},
        B={"model.layers.9.mlp.down_proj": torch.zeros(32, 2)},
        alpha=1.0,
        base_model="another",
    )
    for ask in (tiny_vipe.ask, tiny_vipe.stream):
        with pytest.raises(AdapterError, match="another does not fit"):
            ask(other, "Why?")


def test_the_default_model_names_the_animal(default_model: ViPE, shared_data: Path) -> None:
    seen = default_model.see(shared_data / "clips" / "dog.mp4")
    question = "What animal is in the video?"
    assert "dog" in default_model.ask(seen, question).casefold()
    assert prompt_lengths(default_model, seen, question) == [len(_prompt(default_model, question))]
