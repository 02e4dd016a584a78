"""Kinds of questions: what they ask for, and where they are asked."""

from __future__ import annotations

import pytest
import torch

from vipe.binding import Binding
from vipe.data.pictures import pictures
from vipe.kinds import Kinds
from vipe.training import asked_kinds
from vipe.training.asked import Answers, Said
from vipe.training.asked_kinds import Kind, groups_of, kind_of, start_kinds

PER_GROUP = 9


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("What animal is in the video?", ("animal", "any")),
        ("Which vehicle can you see in the video?", ("vehicle", "any")),
        ("What piece of clothing is in the video?", ("clothing", "any")),
        ("Which animal comes first in the video?", ("animal", "first")),
        ("Which piece of food appears last?", ("food", "last")),
        ("What is in the video?", None),
        ("What color is the animal in the video?", None),
        ("Is there an animal in the video?", None),
        ("Which food comes after the dog in the video?", None),
        ("What is shown in the first part of the video?", None),
    ],
)
def test_questions_that_ask_for_a_group(question: str, kind: tuple[str, str] | None) -> None:
    assert kind_of(question) == kind


def some_things() -> tuple[str, ...]:
    """Nine animals and nine foods."""
    table = pictures().values()
    of = {group: [p.phrase for p in table if p.group == group] for group in ("animal", "food")}
    return tuple(sorted(phrase for phrases in of.values() for phrase in phrases[:PER_GROUP]))


def test_groups_are_those_of_the_pictures() -> None:
    members = groups_of(some_things())
    assert {group: sum(own) for group, own in members.items() if any(own)} == {
        "animal": PER_GROUP,
        "food": PER_GROUP,
    }


TARGET = "model.layers.2.mlp.down_proj"
WIDTH, OUT = 12, 16


@pytest.fixture
def kinds() -> Kinds:
    torch.manual_seed(0)
    things = 2 * PER_GROUP + 2
    binding = Binding([OUT], ["down_proj"], width=16, rank=2, gists=3, concepts=things)
    return Kinds(binding, {TARGET: (WIDTH, OUT)})


def answers(of: int) -> Answers:
    """Answers to questions for animals and foods, which differ in the first two of what is read."""
    asked = [
        Said(f"What {group} is in the video?", before, token)
        for _ in range(of)
        for group in ("animal", "food")
        for before, token in (("", 1), ("a", 5))
    ]
    read = 0.1 * torch.randn(len(asked), WIDTH)
    for row, said in enumerate(asked):
        if said.token == 5:
            read[row, int("food" in said.question)] += 1
    return Answers({TARGET: read}, asked)


def start(kinds: Kinds, found: Answers) -> dict[Kind, int]:
    torch.manual_seed(1)
    names = torch.randn(2 * PER_GROUP, OUT)
    things = some_things()
    says = {target: torch.ones_like(own) for target, own in kinds.said.items()}
    learned = start_kinds(kinds, found, names=names, things=things, says=says, articles={1})
    return dict(learned)


def test_rows_of_a_tell_kinds_apart(kinds: Kinds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked_kinds, "_SLACK", 1.0)  # for as few tokens
    found = answers(20)
    learned = start(kinds, found)
    assert learned == {Kind("animal", "any"): 20, Kind("food", "any"): 20}
    match = found.read[TARGET] @ kinds.keys(TARGET)[:2].T
    for place, group in enumerate(("animal", "food")):
        for said, matches in zip(found.said, match[:, place].tolist(), strict=True):
            own = said.token == 5 and group in said.question
            assert (matches > 0.6) == own
    assert kinds.size[:, :2].all()
    assert not kinds.size[:, 2:].any()
    assert all(said.eq(1).all() for said in kinds.said.values()), "as they were told"


def test_they_ask_for_what_is_of_their_group(kinds: Kinds) -> None:
    start(kinds, answers(20))
    torch.manual_seed(1)
    names = torch.randn(2 * PER_GROUP, OUT)
    scores = (names - names.mean(dim=0)) @ kinds.asks[:2].T
    members = groups_of(some_things())
    for place, group in enumerate(("animal", "food")):
        own = torch.tensor(members[group])
        assert scores[own, place].mean() > scores[~own, place].mean() + 5


def test_few_answers_teach_nothing(kinds: Kinds) -> None:
    before = {target: said.clone() for target, said in kinds.said.items()}
    assert start(kinds, answers(3)) == {}
    assert not kinds.size.any()
    assert all(torch.equal(said, before[target]) for target, said in kinds.said.items())
