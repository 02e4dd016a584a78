"""Costs: every method at every length, and what takes too long is not timed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from vipe import ViPE, ViPEConfig
from vipe.evaluation.cost import as_json, measure
from vipe.evaluation.cost_plot import plot
from vipe.evaluation.operations import METHODS, Counter, Method
from vipe.evaluation.timing import Stopwatch, Times


@pytest.fixture(scope="module")
def counter(tiny_config: ViPEConfig) -> Counter:
    return Counter(tiny_config, prompt_tokens=10)


class Pretending(Stopwatch):
    """A second for each frame, to all but ViPE and the bare model."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, tuple[Method, ...]]] = []

    def time(self, methods: Sequence[Method], frames: int) -> dict[Method, Times]:
        self.asked.append((frames, tuple(methods)))
        return {
            method: Times(
                see=1.0,
                first_token=0.1 if method in ("text", "vipe") else float(frames),
                token=0.01,
                peak_bytes=None,
            )
            for method in methods
        }


def test_every_method_at_every_length_in_order(counter: Counter) -> None:
    done: list[tuple[int, int]] = []
    costs = measure(counter, None, [8, 1, 8], progress=lambda *at: done.append(at))
    assert [(c.frames, c.method) for c in costs] == [(n, m) for n in (1, 8) for m in METHODS]
    assert all(cost.times is None for cost in costs)
    assert done == [(0, 2), (1, 2)]
    values = json.loads(json.dumps(as_json(costs)))
    assert values[0]["method"] == "text"
    assert values[0]["first_token_seconds"] is None
    assert values[1]["prompt"] == counter.count("vipe", 1).prompt


def test_what_would_take_too_long_is_counted_but_not_timed(counter: Counter) -> None:
    watch = Pretending()
    costs = measure(counter, watch, [1, 10, 100, 1000], patience=30.0)
    assert watch.asked[0] == (1, METHODS)
    # Merged tokens stop growing; all patches cost ten times as much at every length, or more.
    timed = dict(watch.asked)
    assert "patches" in timed[10]
    assert "patches" not in timed[100] + timed[1000]
    assert all({"text", "vipe"} <= set(methods) for methods in timed.values())
    late = [c for c in costs if c.frames == 1000 and c.method == "patches"]
    assert late[0].times is None
    assert late[0].operations.visual_tokens == 4000


def test_a_stopwatch_times_real_answers(tiny_vipe: ViPE) -> None:
    watch = Stopwatch(tiny_vipe, question="What is it?", new_tokens=3, repeats=2)
    times = watch.time(METHODS, 3)
    assert list(times) == list(METHODS)
    for method, taken in times.items():
        assert taken.first_token > 0
        assert taken.token >= 0
        assert (taken.see > 0) or method == "text"
        assert taken.peak_bytes is None or taken.peak_bytes > 1e6
    with pytest.raises(ValueError, match="new_tokens"):
        Stopwatch(tiny_vipe, question="What is it?", new_tokens=1)


@pytest.mark.parametrize("timed", [False, True])
def test_the_curves_are_drawn(counter: Counter, tmp_path: Path, timed: bool) -> None:
    path = tmp_path / "cost.png"
    plot(measure(counter, Pretending() if timed else None, [1, 8]), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert (picture.width > 1000) == timed
