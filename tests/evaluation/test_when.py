"""Times in answers: what is read of them, and how far they are off."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipe.evaluation.metrics import summarise
from vipe.evaluation.rows import Row
from vipe.evaluation.when import error_of, is_near, span_in


@pytest.mark.parametrize(
    ("answer", "span"),
    [
        ("at 12 seconds", (12, 12)),
        ("At 2 minutes and 5 seconds.", (125, 125)),
        ("after 90 s", (90, 90)),
        ("after 90s.", (90, 90)),
        ("1:30", (90, 90)),
        ("It appears at 0:07.5", (7.5, 7.5)),
        ("1:02:03", (3723, 3723)),
        ("from 3 to 7 seconds", (3, 7)),
        ("from 3 seconds to 7 seconds", (3, 7)),
        ("between 3 and 7 seconds", (3, 7)),
        ("between 1:05 and 1:30", (65, 90)),
        ("3-7 s", (3, 7)),
        ("3–7s", (3, 7)),
        ("from 2 to 3 minutes", (120, 180)),
        ("from 50 seconds to 1 minute and 10 seconds", (50, 70)),
        ("from 7 to 3 seconds", (3, 7)),
        ("for 4.5 seconds", (4.5, 4.5)),
        ("about 2 min 5 sec in", (125, 125)),
        ("2m5s", (125, 125)),
        ("1 hour, 2 minutes and 3 seconds", (3723, 3723)),
        ("twelve seconds", (12, 12)),
        ("after twenty-five seconds", (25, 25)),
        ("after twenty five seconds", (25, 25)),
        ("half a minute", (30, 30)),
        ("after a minute", (60, 60)),
        ("a 10-second video", (10, 10)),
        ("at 12 seconds, and again at 20 seconds", (12, 12)),
        ("at 5 seconds, then from 8 to 9 seconds", (5, 5)),
        ("2 dogs appear at 4 seconds", (4, 4)),
        ("at the 3rd second, 4 s", (4, 4)),
        ("at 12", None),
        ("two dogs and a cat", None),
        ("10 more", None),
        ("5 sheep", None),
        ("a moment", None),
        ("a store", None),
        ("ratio 16:9", None),
        ("", None),
    ],
)
def test_what_an_answer_states(answer: str, span: tuple[float, float] | None) -> None:
    assert span_in(answer) == span


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_every_way_of_writing_a_time(start: int, end: int) -> None:
    minutes, seconds = divmod(start, 60)
    for text in (
        f"at {start} seconds",
        f"at {start}.0 s",
        f"at {minutes}:{seconds:02}",
        f"at {minutes} minutes and {seconds} seconds",
    ):
        assert span_in(text) == (start, start)
    low, high = sorted((start, end))
    assert span_in(f"from {low} to {high} seconds") == (low, high)
    assert span_in(f"from {low // 60}:{low % 60:02} until {high} s") == (low, high)


@given(st.text(max_size=60))
def test_any_text_is_read(answer: str) -> None:
    span = span_in(answer)
    assert span is None or 0 <= span[0] <= span[1]


def test_how_far_off() -> None:
    assert error_of("at 12 seconds", (10.0, 10.0)) == 2
    assert error_of("from 12 to 20 seconds", (10.0, 10.0)) == 2, (
        "a moment: where the stretch begins"
    )
    assert error_of("from 12 to 20 seconds", (10.0, 21.0)) == 1.5
    assert error_of("at 12 seconds", (10.0, 20.0)) == 5
    assert error_of("at noon", (10.0, 10.0)) is None
    assert is_near("at 13 seconds", (10.0, 10.0), 60)
    assert not is_near("at 13.1 seconds", (10.0, 10.0), 60)
    assert is_near("at 5.7 s", (6.0, 6.0), 6), "0.3 of 6 is 5%, whatever binary fractions say"
    assert not is_near("a dog", (10.0, 10.0), 60)


def row(seconds: tuple[float, float] | None, length: float | None = None, **more: object) -> Row:
    kind = "when" if seconds else "name"
    return Row(
        video=Path("a.mp4"),
        question="?",
        kind=kind,
        seconds=seconds,
        length=length,
        **more,  # type: ignore[arg-type]
    )


def test_figures() -> None:
    rows = [
        row((10.0, 10.0), 100.0),
        row((10.0, 20.0), 100.0),
        row((3.0, 3.0), 10.0),
        row(None, accept=("dog",)),
    ]
    answers = ["at 14 seconds", "from 10 to 40 seconds", "soon", "a dog"]
    summary = summarise(rows, answers)
    assert summary["when"] == {
        "n": 3, "stated": 2, "median_error": 7.0, "within_5_percent": pytest.approx(1 / 3)
    }  # fmt: skip
    assert summary["accuracy"] == 0.5
    assert summary["by_kind"]["when"] == {"n": 3, "accuracy": pytest.approx(1 / 3)}
    assert "when" not in summarise(rows[3:], answers[3:])
    nothing = summarise(rows[2:3], ["no idea"])["when"]
    assert nothing == {"n": 1, "stated": 0, "median_error": None, "within_5_percent": 0.0}
