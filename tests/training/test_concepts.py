"""Concepts: which things a part of a video holds, by when and where its source saw them."""

from __future__ import annotations

import pytest
import torch

from vipe.binding import Binding
from vipe.data.clip import Clip, Question, Shot, Sighting
from vipe.data.scene_source import SceneSource
from vipe.gist import parts_of
from vipe.training.concepts import Things, concept_loss, sightings

PARTS = parts_of(4, 3)
DOG = Sighting(thing="a dog", end=0.4, centre=(0.22, 0.22))
CAR = Sighting(thing="a car", start=0.6, centre=(0.78, 0.78))
THINGS = Things(names=("a car", "a dog"), concepts=4, parts=PARTS)


def test_the_commonest_things_get_concepts() -> None:
    seen = [(DOG,), (DOG, CAR), (Sighting(thing="a hat"), CAR)]
    things = Things.count(seen, concepts=3, parts=PARTS)
    assert things.names == ("a car", "a dog")


def test_each_part_holds_what_is_seen_there_and_then() -> None:
    held, known = THINGS.targets([(DOG, CAR)])
    assert known.all()
    torch.testing.assert_close(held.sum(dim=-1), torch.ones(1, len(PARTS)))
    car, dog, nothing = 0, 1, 3
    likeliest = dict(zip(PARTS, held[0].argmax(dim=-1).tolist(), strict=True))
    assert held[0, 0, [car, dog]].tolist() == [0.5, 0.5]
    assert likeliest[0.0, None, None] == dog
    assert likeliest[1.0, None, None] == car
    assert likeliest[None, 0.22, 0.22] == dog
    assert likeliest[None, 0.78, 0.78] == car
    assert likeliest[None, 0.22, 0.78] == nothing


def test_what_is_seen_at_no_known_place_is_known_of_the_whole_alone() -> None:
    held, known = THINGS.targets([(Sighting(thing="a dog"),), (), (Sighting(thing="a hat"),)])
    assert known.nonzero().tolist() == [[0, 0]]
    assert held[0, 0].tolist() == [0, 1, 0, 0]


def test_things_that_questions_of_presence_affirm_are_seen() -> None:
    def asked(about: str, answer: str) -> Question:
        return Question(text=f"Is there {about}?", answers=(answer,), kind="presence", about=about)

    questions = (asked("a dog", "Yes, there is."), asked("a cat", "no"), asked("a dog", "yes"))
    clip = Clip(shots=(Shot(key="photograph"),), questions=questions)
    assert sightings(clip) == (Sighting(thing="a dog"),)
    told = Clip(shots=clip.shots, questions=questions, sightings=(CAR,))
    assert sightings(told) == (CAR,)


def test_scenes_say_what_they_show_as_their_questions_do() -> None:
    source = SceneSource(range(40))
    for index in range(40):
        clip = source.clip(index)
        there = {q.about for q in clip.questions if q.about and q.answers[0] == "yes"}
        names = {sighting.thing for sighting in clip.sightings}
        assert {thing for thing in there if thing not in ("an animal", "a vehicle")} <= names
        assert all(0 <= s.start < s.end <= 1 for s in clip.sightings)


def test_a_binding_learns_to_recognise() -> None:
    binding = Binding([4], ["o_proj"], width=16, rank=2, gists=len(PARTS), concepts=4)
    gists = torch.randn(2, len(PARTS), 16)
    seen = [(DOG, CAR), (DOG,)]
    optimizer = torch.optim.Adam(binding.recognise.parameters(), lr=0.02)
    for _ in range(100):
        loss = concept_loss(binding, gists, THINGS, seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held, _ = THINGS.targets(seen)
    torch.testing.assert_close(binding.concepts(gists), held, atol=0.05, rtol=0)


def test_where_nothing_is_known_there_is_no_loss() -> None:
    binding = Binding([4], ["o_proj"], width=16, rank=2, gists=len(PARTS), concepts=4)
    assert concept_loss(binding, torch.randn(1, len(PARTS), 16), THINGS, [()]) is None


@pytest.mark.parametrize("concepts", [1, 2])
def test_there_may_be_fewer_concepts_than_things(concepts: int) -> None:
    things = Things.count([(DOG,), (DOG, CAR)], concepts=concepts, parts=PARTS)
    held, known = things.targets([(DOG, CAR)])
    assert held.shape == (1, len(PARTS), concepts)
    assert known.any() == (concepts == 2)


def test_frames_hold_what_is_seen_at_their_moment() -> None:
    unplaced = (Sighting(thing="a dog"),)
    held, known = THINGS.of_frames([(DOG, CAR), (), unplaced, unplaced], [0, 0, 0, 1, 2, 2, 3],
                                   [0.1, 0.5, 0.9, 0.5, 0.2, 0.8, 0.5])  # fmt: skip
    assert known[:4].tolist() == [True, True, True, False]
    assert known[4:6].tolist() == [False, False], "where nobody says where, it may go"
    assert known[6], "of a single picture it is known"
    car, dog, nothing = 0, 1, 3
    assert held[:3].argmax(dim=1).tolist() == [dog, nothing, car]
    assert held[6].argmax() == dog
    torch.testing.assert_close(held.sum(dim=1), torch.ones(7))
    both, _ = THINGS.of_frames([(DOG, Sighting(thing="a car", centre=(0.5, 0.5)))], [0], [0.2])
    assert both.tolist() == [[0.5, 0.5, 0, 0]]
