"""The engine: together as alone, and no one's fault is another's."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

import tiny
from vipe import Decoding, PerceptualWeights, ViPE
from vipe.chat import prompt_ids
from vipe.errors import AdapterError
from vipe.serving.server.engine import Busy, Done, Engine, Event, Question

WAIT = 120  # seconds, on a machine that is busy


class Asked:
    """A question and what came of it."""

    def __init__(self, model: ViPE, text: str, weights: PerceptualWeights, **settings: Any) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        given = {"most": 12} | settings
        self.question = Question(
            prompt=prompt_ids(model.tokenizer, text), weights=weights, tell=self.events.put, **given
        )

    def answer(self) -> tuple[str, Done]:
        text = ""
        while not isinstance(event := self.events.get(timeout=WAIT), Done):
            if isinstance(event, Exception):
                raise event
            text += event
        return text, event


@pytest.fixture(scope="module")
def model(model_folder: Any) -> ViPE:
    return ViPE.from_pretrained(model_folder)


@pytest.fixture(scope="module")
def steps() -> list[int]:
    return []


@pytest.fixture(scope="module")
def engine(model: ViPE, steps: list[int]) -> Iterator[Engine]:
    engine = Engine(model.language_model, model.tokenizer, batch=4, waiting=8, on_step=steps.append)
    yield engine
    engine.close()


def weights(model: ViPE, count: int) -> list[PerceptualWeights]:
    return [model.see(tiny.frames(2 + i, size=64)) for i in range(count)]


def test_together_is_as_alone(engine: Engine, saved_vipe: ViPE, steps: list[int]) -> None:
    seen = weights(saved_vipe, 7)
    texts = [f"What is it, number {'i' * n}?" for n in range(7)]
    expected = [
        saved_vipe.ask(one, text, decoding=Decoding(max_new_tokens=12))
        for one, text in zip(seen, texts, strict=True)
    ]
    asked = [Asked(saved_vipe, text, one) for text, one in zip(texts, seen, strict=True)]
    steps.clear()
    for one in asked:
        engine.submit(one.question)
    answers = [one.answer() for one in asked]
    assert [text for text, _ in answers] == expected
    assert max(steps) > 1, "several were answered in one pass"
    assert max(steps) <= 4
    for _, done in answers:
        assert done.visual_tokens == 0
        assert 1 <= done.tokens <= 12


def test_a_stop_ends_one_answer_and_not_the_other(engine: Engine, saved_vipe: ViPE) -> None:
    (seen,) = weights(saved_vipe, 1)
    whole = saved_vipe.ask(seen, "What?", decoding=Decoding(max_new_tokens=12))
    assert len(whole) > 4
    stop = whole[2:4]
    asked = [Asked(saved_vipe, "What?", seen, stop=[stop]), Asked(saved_vipe, "What?", seen)]
    for one in asked:
        engine.submit(one.question)
    (cut, done), (text, _) = (one.answer() for one in asked)
    assert cut == whole[: whole.find(stop)].strip()
    assert done.reason == "stop"
    assert text == whole


def test_one_s_fault_is_not_another_s(engine: Engine, saved_vipe: ViPE) -> None:
    good, other = weights(saved_vipe, 2)
    misfit = PerceptualWeights(
        A={"no.such.layer": next(iter(other.A.values()))},
        B={"no.such.layer": next(iter(other.B.values()))},
        alpha=1.0,
        base_model="another",
    )
    expected = saved_vipe.ask(good, "What?", decoding=Decoding(max_new_tokens=12))
    asked = [Asked(saved_vipe, "What?", one) for one in (good, misfit, good)]
    for one in asked:
        engine.submit(one.question)
    assert asked[0].answer()[0] == asked[2].answer()[0] == expected
    with pytest.raises(AdapterError, match="no layer"):
        asked[1].answer()


def test_a_step_that_fails_is_the_end_of_its_answers_alone(
    engine: Engine, saved_vipe: ViPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    (seen,) = weights(saved_vipe, 1)

    def fail() -> list[int]:
        monkeypatch.undo()
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine._batch, "step", fail)
    failed = Asked(saved_vipe, "What?", seen)
    engine.submit(failed.question)
    with pytest.raises(RuntimeError, match="out of memory"):
        failed.answer()
    after = Asked(saved_vipe, "What?", seen)
    engine.submit(after.question)
    expected = saved_vipe.ask(seen, "What?", decoding=Decoding(max_new_tokens=12))
    assert after.answer()[0] == expected


def test_what_nobody_wants_is_given_up(engine: Engine, saved_vipe: ViPE) -> None:
    (seen,) = weights(saved_vipe, 1)
    long = Asked(saved_vipe, "What?", seen, most=10_000)
    engine.submit(long.question)
    first = long.events.get(timeout=WAIT)
    assert isinstance(first, str)
    long.question.cancelled = True
    after = Asked(saved_vipe, "What?", seen)
    engine.submit(after.question)
    after.answer()
    tokens = long.question.tokens
    again = Asked(saved_vipe, "What?", seen)
    engine.submit(again.question)
    again.answer()
    assert long.question.tokens == tokens


def test_who_finds_no_place_is_told_so(model_folder: Any) -> None:
    model = ViPE.from_pretrained(model_folder)
    (seen,) = weights(model, 1)
    engine = Engine(model.language_model, model.tokenizer, batch=1, waiting=2)
    asked = [Asked(model, "What?", seen, most=400) for _ in range(3)]
    engine.submit(asked[0].question)
    asked[0].events.get(timeout=WAIT)  # it has the one place
    for one in asked[1:]:
        engine.submit(one.question)
    with pytest.raises(Busy) as busy:
        engine.submit(Asked(model, "What?", seen).question)
    assert busy.value.seconds >= 1
    engine.close()
    with pytest.raises(Busy):
        asked[2].answer()
    with pytest.raises(Busy):
        engine.submit(Asked(model, "What?", seen).question)
