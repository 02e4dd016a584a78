"""Kinds of questions: what they ask for, where they are asked, and the slots they are given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from vipe import ViPEConfig
from vipe.data.clip import Clip, Question
from vipe.data.pictures import pictures
from vipe.training import kinds, loop, sources
from vipe.training.kinds import give_over, given_over, groups_of, kind_of
from vipe.training.recipe import Recipe
from vipe.training.run import Run

PER_GROUP = 9


@pytest.mark.parametrize(
    ("question", "group"),
    [
        ("What animal is in the video?", "animal"),
        ("Which vehicle can you see in the video?", "vehicle"),
        ("What piece of clothing is in the video?", "clothing"),
        ("What is in the video?", None),
        ("Which animal comes first in the video?", None),
        ("What color is the animal in the video?", None),
        ("Is there an animal in the video?", None),
        ("Which food comes after the dog in the video?", None),
    ],
)
def test_questions_that_ask_for_a_group(question: str, group: str | None) -> None:
    found = kind_of(question)
    assert (None if found is None else kinds._GROUPS[found]) == group


def some_things() -> tuple[str, ...]:
    """Nine animals and nine foods."""
    table = pictures().values()
    of = {group: [p.phrase for p in table if p.group == group] for group in ("animal", "food")}
    return tuple(sorted(phrase for phrases in of.values() for phrase in phrases[:PER_GROUP]))


def test_groups_are_those_of_the_pictures() -> None:
    members = dict(zip(kinds._GROUPS, groups_of(some_things()), strict=True))
    assert {group: sum(own) for group, own in members.items() if any(own)} == {
        "animal": PER_GROUP,
        "food": PER_GROUP,
    }


class Asked(tiny.ColourClips):
    """Colours, of which is asked what animal or food they are."""

    def clip(self, index: int, epoch: int = 0) -> Clip:
        clip = super().clip(index, epoch)
        asked = [
            Question(text=f"What {group} is in the video?", answers=(answer,), kind="name")
            for group, answer in (("animal", "red"), ("food", "blue"))
        ]
        return replace(clip, questions=(*clip.questions, *asked))


@pytest.fixture
def run(tiny_config: ViPEConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: Asked())
    monkeypatch.setattr(kinds, "_BATCHES", 3)
    perception = replace(
        tiny_config.perception, recollection=True, concepts=2 * PER_GROUP + 2, things=some_things()
    )
    values: dict[str, Any] = {
        "name": "run",
        "model": replace(tiny_config, perception=perception).to_dict(),
        "cache": tmp_path,
        "runs": tmp_path,
        "sources": [{"clips": 5, "source": {"kind": "scenes"}}],
        "optimizer": {"steps": 1},
        "row_tokens": 250,
    }
    run = loop.build(Recipe.model_validate(values), tiny.Quiet())
    perception = run.module.perception
    with torch.no_grad():
        for part in (perception.heads_B, perception.shift, perception.binding):
            for parameter in part.parameters():
                parameter.normal_(std=0.1)
    return run


def test_slots_that_are_given_over_write_what_is_asked_for_alone(run: Run) -> None:
    perception: Any = run.module.perception
    slots = given_over(perception)
    assert slots
    batch = run.train[0]
    quiet = replace(batch, frames=None)
    method: Any = run.method
    gists, read = method._read(batch.tokens)
    target = list(perception.targets)[slots[0]]
    assert method._decide(read, gists, quiet).B[target].any()
    found = give_over(run, method)
    assert set(found) == {"animal", "food"}
    gists, read = method._read(batch.tokens)
    B = method._decide(read, gists, quiet).B
    for slot, name in enumerate(perception.targets):
        if slot in slots:
            assert B[name].abs().max() < 1e-5, "it writes nothing by itself"
        else:
            assert B[name].any()


def test_rows_of_a_tell_kinds_apart(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_SLACK", 1.0)  # for as few tokens
    method: Any = run.method
    perception = run.module.perception
    give_over(run, method)
    target = list(perception.targets)[given_over(perception)[0]]
    rows = perception.static[target.replace(".", "-")]
    (x,), asked = kinds._answers(run, method, [target])
    match = x.float() @ rows[:2].T  # animal, food
    animals, foods = (asked[:, kinds._GROUPS.index(group)] > 0 for group in ("animal", "food"))
    assert match[animals, 0].mean() > match[foods, 0].mean() + 0.3
    assert match[foods, 1].mean() > match[animals, 1].mean() + 0.3


def test_a_run_gives_over_once(run: Run) -> None:
    recollection = run.module.perception.recollection
    loop._start_binding(run)
    key = recollection.key.clone()
    assert key.any()
    with torch.no_grad():
        recollection.key.mul_(2)
    loop._start_binding(run)
    assert torch.equal(recollection.key, 2 * key), "a model that has kinds keeps them"
