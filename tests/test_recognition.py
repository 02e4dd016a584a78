"""What was recognised: of frames, and of parts that join into what the whole is."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from vipe.recognition import Recognised, Sight, sights


def of(shares: list[list[float]], start: int = 0) -> Recognised:
    """Frames half a second apart, one row each."""
    seconds = 0.5 * (torch.arange(len(shares)) + start) + 0.25
    every = torch.tensor([0.5])
    return Recognised.of_frames(torch.tensor(shares)[None], seconds[None], every)


def test_of_a_concept_is_kept_when_and_how_often() -> None:
    seen = of([[0.9, 0.0], [0.8, 0.1], [0.0, 0.2], [0.0, 0.9], [0.1, 0.0], [0.7, 0.0], [0.9, 0.8]])
    assert_close(seen.share, torch.tensor([[0.9, 0.9]]))
    assert_close(seen.first, torch.tensor([[0.25, 1.75]]))
    assert_close(seen.last, torch.tensor([[3.25, 3.25]]))
    assert_close(seen.times, torch.tensor([[2.0, 2.0]]))


def test_a_frame_that_is_unsure_is_no_gap() -> None:
    assert of([[0.9], [0.1], [0.9], [0.9]]).times.item() == 1
    assert of([[0.9], [0.1], [0.1], [0.9]]).times.item() == 2


def test_a_single_picture() -> None:
    seen = Recognised.of_frames(torch.tensor([[[0.7, 0.3]]]), torch.zeros(1, 1))
    assert seen.times.tolist() == [[1, 1]]
    assert seen.first.tolist() == seen.last.tolist() == [[0, 0]]


@given(
    st.lists(st.sampled_from([0.0, 0.02, 0.9, 1.0]), min_size=2, max_size=30), st.integers(1, 29)
)
def test_parts_join_into_the_whole(shares: list[float], at: int) -> None:
    at = min(at, len(shares) - 1)
    rows = [[share, 1 - share] for share in shares]
    whole, joined = of(rows), of(rows[:at]).join(of(rows[at:], start=at))
    for field in fields(Recognised):
        assert_close(getattr(joined, field.name), getattr(whole, field.name))


def test_where_one_part_saw_it_better_it_alone_says_when() -> None:
    joined = of([[0.3], [0.3]]).join(of([[0.0], [0.9]], start=2))
    assert joined.first.item() == 1.75
    assert joined.times.item() == 1
    joined = of([[0.9], [0.0]]).join(of([[0.3], [0.3]], start=2))
    assert joined.last.item() == 0.25


def test_later_choosing_and_batches() -> None:
    one, two = of([[0.9], [0.1]]), of([[0.2], [0.6]])
    both = Recognised.batch([one, two])
    assert len(both) == 2
    assert both.videos(torch.tensor([1])).share.item() == pytest.approx(0.6)
    later = two.later(10)
    assert later.first.item() == pytest.approx(10.75)
    assert later.times.item() == 1
    assert both.to("cpu").share.equal(both.share)


def test_sights_are_named_in_the_order_in_which_they_come() -> None:
    seen = of([[0.1, 0.9, 0.0], [0.8, 0.0, 0.1], [0.75, 0.0, 0.0]])
    assert sights(seen, ("a cat", "a dog"), 0.5) == [
        Sight("a dog", pytest.approx(0.9), 0.25, 0.25, 1),
        Sight("a cat", pytest.approx(0.8), 0.75, 1.25, 1),
    ]
    assert sights(seen, ("a cat", "a dog"), 0.95) == []
