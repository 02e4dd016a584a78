"""Kinds of questions: what they ask for is there before the first step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import tiny_backbones
from vipe import ViPE, ViPEConfig
from vipe.data.pictures import pictures
from vipe.recognition import Recognised
from vipe.training.kinds import groups_of, start_of_kinds
from vipe.training.language import TrainingLanguageModel

PER_GROUP = 9


def some_things() -> tuple[str, ...]:
    """Nine animals and nine foods, in the order of their names."""
    table = pictures().values()
    of = {group: [p.phrase for p in table if p.group == group] for group in ("animal", "food")}
    return tuple(sorted(phrase for phrases in of.values() for phrase in phrases[:PER_GROUP]))


@pytest.fixture(scope="module")
def model(tiny_config: ViPEConfig) -> ViPE:
    perception = replace(
        tiny_config.perception, recollection=True, concepts=2 * PER_GROUP + 2, things=some_things()
    )
    return tiny_backbones.model(replace(tiny_config, perception=perception))


@pytest.fixture(scope="module")
def language(model: ViPE) -> TrainingLanguageModel:
    targets = list(model.video_to_weights.targets)
    return TrainingLanguageModel(model.language_model, targets, precision="float32")


def test_groups_are_the_larger_ones_of_the_pictures() -> None:
    things = some_things()
    groups = groups_of(things)
    assert list(groups) == ["animal", "food"]
    assert all(sum(members) == PER_GROUP for members in groups.values())
    assert groups_of(things[:4]) == {}


def test_kinds_find_their_group_first_and_last(
    model: ViPE, language: TrainingLanguageModel
) -> None:
    perception, things = model.video_to_weights.perception, some_things()
    found = start_of_kinds(perception, language, model.tokenizer, things)
    recollection, binding = perception.recollection, perception.binding
    assert recollection is not None
    assert binding is not None
    for name, value in found.items():
        perception.get_parameter(name).data.copy_(value)
    animals = torch.tensor(groups_of(things)["animal"])
    count = len(things)
    times = torch.arange(count + 2.0)[None] / 2
    seen = Recognised(
        share=torch.full((1, count + 2), 0.9),
        first=times,
        last=times,
        times=torch.ones_like(times),
        every=torch.tensor([0.5]),
    )
    which, odds, there = recollection._seen(seen)
    shares = times.gather(1, which) / 10
    asked = torch.stack([odds, shares, shares, torch.zeros_like(odds)], dim=-1)
    attention = recollection._attention(which, asked, there, binding)[0]
    of_things = torch.zeros(len(attention), count + 2).index_add(1, which[0], attention)
    one, first, last = (of_things[2 * way, :count] for way in range(3))  # of animals
    assert one[animals].sum() > 0.9
    numbers = animals.nonzero()[:, 0]
    assert first.argmax() == numbers[0]
    assert last.argmax() == numbers[-1]
    foods = of_things[1, :count]
    assert foods[~animals].sum() > 0.9
    assert found["recollection.key"][:6].any(dim=(1, 2)).all()
    assert not found["recollection.key"][6:].any(), "no group is left for these"


def test_without_groups_all_stays_as_it_is(model: ViPE, language: TrainingLanguageModel) -> None:
    perception = model.video_to_weights.perception
    assert start_of_kinds(perception, language, model.tokenizer, ("a dream",)) == {}
