"""Seconds: which question asks for what, and the codes of things where they are due."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vipe.clock import SIGNS
from vipe.data.time_questions import APPEARS, FROM_TO, GOES, HOW_LONG, LENGTH
from vipe.seconds import CODE, LENGTHS, ROLES, WORDS, Role, Seconds
from vipe.training import asked_seconds
from vipe.training.asked import Answers, Said
from vipe.training.asked_seconds import role_of, start_seconds


def asked(texts: tuple[str, ...]) -> list[str]:
    return [
        text.replace("{does}", "does").replace("{is}", "is").replace("{the thing}", "the dog")
        for text in texts
    ]


def test_all_wordings_of_the_generator_are_known() -> None:
    for question in asked(APPEARS):
        assert role_of(question, "at ") == Role("start", 0), question
    for question in asked(GOES):
        assert role_of(question, "at 1") == Role("end", 1), question
    for question in asked(FROM_TO):
        assert role_of(question, "from 12") == Role("start", 2), question
        assert role_of(question, "from 12 to 3.") == Role("end", 2), question
    for question in asked(LENGTH):
        assert role_of(question, "") == Role("length", 0), question
        assert role_of(question, "10") == Role("length", 2), question
    for question in asked(HOW_LONG):
        assert role_of(question, "for ") == Role("duration", 0), question


@pytest.mark.parametrize("before", ["", "at", "at 12 seconds", "from 3 to"])
def test_where_no_character_is_due(before: str) -> None:
    assert role_of("When does the dog appear?", before) is None
    assert role_of("What animal is in the video?", "a ") is None


THINGS = ("a dog", "a hot dog", "a cat", "rain")
TARGETS = {f"model.layers.{n}.mlp.down_proj": (24, 16) for n in range(len(ROLES))}


def tokenizer(text: str, **_: Any) -> Any:
    numbers = {".": 10, " seconds": 11, " to": 12}
    return SimpleNamespace(input_ids=[0, numbers[text] if text in numbers else int(text)])


def answers() -> Answers:
    """Answers to when things appear, of which what is read says thing and place."""
    torch.manual_seed(0)
    said: list[Said] = []
    read: list[torch.Tensor] = []
    codes = torch.randn(len(THINGS), 8)
    for _ in range(40):
        for number, name in enumerate(("dog", "hot dog", "cat", "rain")):
            for place, before in enumerate(("at", "at ", "at 1")):
                said.append(Said(f"When does the {name} appear?", before, 3))
                row = 0.05 * torch.randn(24)
                row[8 * place : 8 * place + 8] += codes[number]
                read.append(row)
    return Answers(dict.fromkeys(TARGETS, torch.stack(read)), said)


def test_codes_tell_things_apart_where_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_seconds, "_SLACK", 1.0)
    seconds, found = Seconds(TARGETS, concepts=len(THINGS) + 2), answers()
    learned = start_seconds(
        seconds,
        found,
        names=torch.randn(len(THINGS), 16),
        things=THINGS,
        embeddings=torch.randn(20, 16),
        tokenizer=tokenizer,
    )
    assert learned == {Role("start", 0): 160, Role("start", 1): 160}
    for place, roles in enumerate(seconds.roles):
        target = list(TARGETS)[place]
        for number, role in enumerate(roles):
            assert seconds.size[place, WORDS + LENGTHS + number].item() == pytest.approx(
                4 / 3 if role in learned else 0
            )
            if role not in learned:
                continue
            first = WORDS + LENGTHS + number * CODE
            given = found.read[target] @ seconds.keys(target)[first : first + CODE].T
            due = torch.tensor(
                [said.before == ("at ", "at 1")[role.character] for said in found.said]
            )
            assert given[~due].norm(dim=1).mean() < 0.3 * given[due].norm(dim=1).mean()
            nearest = torch.cdist(given[due], seconds.code[place, number, : len(THINGS)]).argmin(1)
            assert nearest.tolist() == list(range(len(THINGS))) * 40


def test_what_was_never_asked_for_is_like_its_likes() -> None:
    names = torch.tensor([[1.0, 0, 0], [0.98, 0.1, 0], [0, 1.0, 0], [0, 0, 1.0]])
    thing = torch.tensor([0, 2, 3] * 30)
    given = torch.eye(4)[thing] + 0.01 * torch.randn(90, 4)
    code, turn = asked_seconds._codes(given, thing, names)
    assert code.shape == turn.shape == (4, CODE)
    nearest = torch.cdist(code[1:2], code[[0, 2, 3]]).argmin()
    assert nearest == 0


def test_characters_are_what_says_them_and_nothing_else() -> None:
    embeddings = torch.randn(20, 16) + 5
    signs = asked_seconds._signs(embeddings, tokenizer)
    assert signs.shape == (SIGNS, 16)
    assert (signs @ (embeddings[:12] - embeddings[:12].mean(0)).T).argmax(dim=1).tolist() == list(
        range(12)
    )
    assert signs.mean(dim=0).norm() < 0.1
