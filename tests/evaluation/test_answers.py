"""Kept answers: they come back as they were, and two models are compared on the same rows alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from vipe.errors import DataError
from vipe.evaluation.answers import Answered, compare_answers, read_answers, to_line
from vipe.evaluation.metrics import caption_scores, caption_scores_by_row
from vipe.evaluation.rows import Row

CAPTIONS = [
    "a brown dog runs through the long grass",
    "two men sit on a wooden bench",
    "a child climbs a red slide",
    "a woman rides a white horse on the beach",
]


def asked(number: int, kind: str = "object") -> Row:
    return Row(video=Path(f"{number}.mp4"), question="What is it?", kind=kind, accept=("dog",))


def captioned(number: int) -> Row:
    caption = CAPTIONS[number]
    return Row(video=Path(f"{number}.jpg"), question="?", kind="caption", references=(caption,))


def answered(rows: list[Row], answers: list[str]) -> list[Answered]:
    return [Answered(row=row, answer=answer) for row, answer in zip(rows, answers, strict=True)]


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    chosen = replace(asked(2), options=("a dog", "a cat"))
    long = replace(asked(3), frames=10_000)
    kept = answered(
        [asked(0), captioned(1), chosen, long], ["A dog,\u2028“two” lines\n", "", "a cat", "x"]
    )
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(to_line(one.row, one.answer) for one in kept), encoding="utf-8")
    assert read_answers(path) == kept


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"video": "a", "question": "b", "kind": "c", "accept": ["d"]}', "'answer' must be"),
        ('{"video": "a", "question": "b", "kind": "c", "answer": "d"}', "needs either 'accept'"),
        ("no", "not JSON"),
    ],
)
def test_what_is_no_answer_is_named(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(to_line(asked(0), "dog") + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"answers\.jsonl, line 2: {fault}"):
        read_answers(path)


def test_the_second_model_against_the_first_in_all_and_by_kind() -> None:
    rows = [asked(i, "object" if i < 40 else "colour") for i in range(60)]
    first = answered(rows, ["a cat"] * 40 + ["a dog"] * 20)
    second = answered(rows, ["a dog"] * 30 + ["a cat"] * 10 + ["a dog"] * 20)
    found = compare_answers(first, second)
    assert found["accuracy"] is not None
    assert found["accuracy"]["difference"] == pytest.approx(0.5)
    assert found["accuracy"]["p"] < 0.001
    assert {kind: round(each["difference"], 6) for kind, each in found["by_kind"].items()} == {
        "object": 0.75,
        "colour": 0.0,
    }
    assert found["by_kind"]["colour"]["p"] == 1
    assert found["cider"] is None


def test_captions_are_compared_by_their_part_of_cider() -> None:
    rows = [captioned(i) for i in range(4)]
    first, second = [CAPTIONS[0], "a car", "a car", "a car"], [*CAPTIONS[:3], "a horse"]
    references = [row.references for row in rows]
    for answers in (first, second):
        parts = caption_scores_by_row(answers, references)
        assert sum(parts) / 4 == pytest.approx(caption_scores(answers, references)["cider"])
    found = compare_answers(answered(rows, first), answered(rows, second))
    assert found["accuracy"] is None
    assert found["by_kind"] == {}
    wanted = [caption_scores(answers, references)["cider"] for answers in (first, second)]
    assert found["cider"] is not None
    assert found["cider"]["difference"] == pytest.approx(wanted[1] - wanted[0])


def test_other_rows_are_not_compared() -> None:
    first = answered([asked(0), asked(1)], ["dog"] * 2)
    with pytest.raises(DataError, match=r"answer 2 is .* about 1\.mp4 .* about 2\.mp4"):
        compare_answers(first, answered([asked(0), asked(2)], ["dog"] * 2))
    with pytest.raises(DataError, match="one file has 2 answers and the other 1"):
        compare_answers(first, first[:1])


def test_a_time_is_kept_and_compared(tmp_path: Path) -> None:
    row = Row(video=Path("a.mp4"), question="When?", kind="when", seconds=(3.0, 4.5), length=9.0)
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_text(to_line(row, "from 3 to 4 seconds"))
    second.write_text(to_line(row, "at noon"))
    (kept,) = read_answers(first)
    assert kept.row == row
    assert json.loads(first.read_text())["right"] is True
    assert json.loads(second.read_text())["right"] is False
    compared = compare_answers([kept], read_answers(second))
    assert compared["accuracy"] is not None
    assert compared["by_kind"].keys() == {"when"}
