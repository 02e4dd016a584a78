"""Seconds: least squares from codes of things to the characters of when they were seen."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from vipe.clock import NOTHING
from vipe.recognition import Recognised
from vipe.seconds import CODE, LENGTHS, ROLES, WORDS, Role, Seconds, _least_squares
from vipe.seen import Seen

CONCEPTS, OUT = 30, 12
TARGETS = {f"model.layers.{n}.mlp.down_proj": (8, OUT) for n in range(len(ROLES))}


OTHERS = 8
"""So many more things make it a video of many."""


def seen(
    first: dict[int, float],
    length: float,
    last: dict[int, float] | None = None,
    among: int = OTHERS,
) -> Seen:
    """Things by number, with when first they were seen; the last ones are among others."""
    share, start, end = (torch.zeros(1, CONCEPTS) for _ in range(3))
    for thing, second in first.items():
        share[0, thing], start[0, thing] = 0.99, second
        end[0, thing] = (last or first)[thing]
    share[0, CONCEPTS - 1 - among : CONCEPTS - 1] = 0.99
    recognised = Recognised(
        share=share, first=start, last=end, times=torch.ones_like(share), every=torch.zeros(1)
    )
    return Seen.of(recognised, torch.tensor([length]))


def module() -> Seconds:
    torch.manual_seed(0)
    seconds = Seconds(TARGETS, concepts=CONCEPTS)
    torch.nn.init.ones_(seconds.size)
    for sign in seconds.sign.values():
        torch.nn.init.eye_(sign)
    seconds.code.data *= 10  # least squares are then as good as exact
    return seconds


def characters(seconds: Seconds, seen: Seen, thing: int, role: Role) -> str:
    """What is written most of where a thing's character is due."""
    attended = (seen.which < CONCEPTS - 1 - OTHERS).float()[:, None]
    place = next(n for n, own in enumerate(seconds.roles) if role in own)
    number = seconds.roles[place].index(role)
    B = seconds(seen, attended)[list(TARGETS)[place]][0]
    columns = B[:, WORDS + LENGTHS + number * CODE :][:, :CODE]
    written = columns @ seconds.code[place, number, thing]
    (sign,) = seconds.sign.values()
    return (
        "0123456789."[int((sign @ written).argmax())] if (sign @ written).argmax() < NOTHING else ""
    )


def test_each_thing_has_its_own_seconds() -> None:
    seconds = module()
    found = seen({2: 125.0, 5: 7.0, 11: 430.0}, 600.0, last={2: 250.0, 5: 90.0, 11: 431.0})
    for thing, start, end in ((2, "125", "250"), (5, "7", "90"), (11, "430", "431")):
        for number, text in (("start", start), ("end", end)):
            for place in range(3):
                due = characters(seconds, found, thing, Role(number, place))
                assert due == text[place : place + 1], (thing, number, place)


def test_the_length_is_told_in_every_layer() -> None:
    seconds = module()
    found = seen({2: 1.0}, 480.0)
    (sign,) = seconds.sign.values()
    for B in seconds(found, torch.zeros(1, 1, found.which.shape[1])).values():
        said = (sign @ B[0, :, WORDS : WORDS + LENGTHS]).argmax(dim=0)
        assert said.tolist() == [4, 8, 0, NOTHING]


def test_of_few_things_nothing_is_written() -> None:
    found = seen({2: 1.0, 5: 3.0}, 480.0, among=0)
    for B in module()(found, torch.zeros(1, 1, found.which.shape[1])).values():
        assert not B.any()


def test_nothing_is_written_at_the_start_and_zero_is_no_saddle() -> None:
    torch.manual_seed(0)
    seconds = Seconds(TARGETS, concepts=CONCEPTS)
    found = seen({2: 1.0, 3: 5.0}, 9.0)
    attention = torch.zeros(1, 1, found.which.shape[1])
    written = seconds(found, attention)
    assert {B.shape for B in written.values()} == {(1, OUT, seconds.count)}
    assert not any(B.any() for B in written.values())
    sum((B - 1).square().sum() for B in written.values()).backward()
    assert seconds.size.grad is not None
    assert seconds.size.grad.any()


def test_of_many_things_those_that_answer_a_kind_are_kept() -> None:
    seconds = module()
    many = {thing: float(10 * thing) for thing in range(25)}
    found = seen(many, 600.0)
    attention = torch.zeros(1, 2, found.which.shape[1])
    for kind, thing in enumerate((4, 17)):
        attention[0, kind] = (found.which[0] == thing).float()
    place = next(n for n, own in enumerate(seconds.roles) if Role("start", 0) in own)
    number = seconds.roles[place].index(Role("start", 0))
    B = seconds(found, attention)[list(TARGETS)[place]][0]
    B = B[:, WORDS + LENGTHS + number * CODE :][:, :CODE]
    (sign,) = seconds.sign.values()
    for thing, due in ((4, 4), (17, 1)):
        assert (sign @ B @ seconds.code[place, number, thing]).argmax() == due


@pytest.mark.parametrize("things", [1, 3, CODE])
def test_least_squares_is_exact_for_few(things: int) -> None:
    torch.manual_seed(1)
    # Codes that have much in common.
    codes = 300 * (torch.randn(2, things, CODE) + 2 * torch.randn(2, 1, CODE))
    values = torch.randn(2, things, OUT)
    found = _least_squares(codes, values, torch.ones(2, things))
    assert found.shape == (2, OUT, CODE)
    assert_close(codes @ found.mT, values, rtol=0.1, atol=0.1)


def test_who_is_not_kept_does_not_count() -> None:
    torch.manual_seed(1)
    codes, values = torch.randn(1, 6, CODE), torch.randn(1, 6, OUT)
    kept = torch.tensor([[1.0, 1, 0, 0, 1, 0]])
    alone = _least_squares(codes[:, [0, 1, 4]], values[:, [0, 1, 4]], torch.ones(1, 3))
    assert_close(_least_squares(codes, values, kept), alone)
