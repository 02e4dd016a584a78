"""Intervals: they hold the truth as often as they say, and rows of one video count as one."""

from __future__ import annotations

import numpy as np
import pytest

from vipe.evaluation import intervals
from vipe.evaluation.intervals import compare, interval


def test_an_interval_of_independent_rows_is_the_textbooks() -> None:
    values = [1.0] * 70 + [0.0] * 30
    found = interval(values, range(100))
    assert (found["mean"], found["n"], found["clusters"]) == (0.7, 100, 100)
    half = 1.96 * (0.7 * 0.3 / 100) ** 0.5
    assert found["low"] == pytest.approx(0.7 - half, abs=0.015)
    assert found["high"] == pytest.approx(0.7 + half, abs=0.015)


def test_rows_of_one_video_tell_no_more_than_one() -> None:
    values = [1.0] * 14 + [0.0] * 6
    alone = interval(values, range(20))
    repeated = interval(values * 50, list(range(20)) * 50)
    assert repeated["n"] == 1000
    assert (repeated["low"], repeated["high"]) == pytest.approx((alone["low"], alone["high"]))
    believed = interval(values * 50, range(1000))
    assert believed["high"] - believed["low"] < 0.2 * (repeated["high"] - repeated["low"])


def test_a_larger_video_counts_as_often_as_it_has_rows() -> None:
    found = interval([1.0, 0.0, 0.0, 0.0], ["short", "long", "long", "long"])
    assert found["mean"] == 0.25
    assert (found["low"], found["high"]) == (0.0, 1.0)


def test_of_many_experiments_nineteen_in_twenty_hold_the_truth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 400)
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        skill = rng.normal(0, 0.5, 40).repeat(5)  # five rows of each of 40 videos share a skill
        values = (skill + rng.normal(0, 1, 200)).tolist()
        found = interval(values, np.arange(40).repeat(5).tolist(), seed=seed)
        held += found["low"] <= 0 <= found["high"]
    assert 0.9 <= held / 300 <= 0.99  # seen: 0.94


def test_one_video_has_no_interval() -> None:
    found = interval([1.0, 0.0], ["only", "only"])
    assert (found["low"], found["mean"], found["high"]) == (0.5, 0.5, 0.5)


def test_a_seed_says_the_interval() -> None:
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    assert interval(values, range(6)) == interval(values, range(6))


def test_paired_rows_show_what_two_intervals_hide() -> None:
    rng = np.random.default_rng(1)
    first = (rng.random(300) < 0.5).astype(float)
    second = first.copy()
    second[rng.choice(np.flatnonzero(first == 0), 15, replace=False)] = 1  # 15 of 300 better
    one, other = interval(first.tolist(), range(300)), interval(second.tolist(), range(300))
    assert one["high"] > other["low"], "the intervals overlap"
    found = compare(first.tolist(), second.tolist(), range(300))
    assert found["difference"] == pytest.approx(0.05)
    assert 0.02 < found["low"] < 0.05 < found["high"] < 0.08
    assert found["p"] < 0.001


def test_models_that_are_alike_do_not_differ() -> None:
    same = compare([1.0, 0.0, 1.0], [1.0, 0.0, 1.0], range(3))
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)
    swapped = compare([1.0, 0.0] * 20, [0.0, 1.0] * 20, range(40))
    assert swapped["difference"] == 0
    assert swapped["p"] > 0.9


def test_what_is_no_set_of_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="0 values but 0 clusters"):
        interval([], [])
    with pytest.raises(ValueError, match="2 values but 1 clusters"):
        interval([1.0, 0.0], ["a"])
    with pytest.raises(ValueError, match="zip"):
        compare([1.0], [1.0, 0.0], ["a"])
