"""Evaluation, the answers that were kept: one JSON object a line, and two such files compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from vipe.errors import DataError
from vipe.evaluation.intervals import Comparison, compare
from vipe.evaluation.metrics import caption_scores_by_row, verdict
from vipe.evaluation.rows import Row, parse_row, read_objects


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A row, and what a model answered."""

    row: Row
    answer: str


class Compared(TypedDict):
    """The second model against the first, on the same rows; None where no row has such a score."""

    accuracy: Comparison | None
    cider: Comparison | None
    by_kind: dict[str, Comparison]


def to_line(row: Row, answer: str) -> str:
    """Return the line that keeps an answer."""
    expected: dict[str, object] = {"accept": row.accept} if row.accept else {}
    if row.references:
        expected = {"references": row.references}
    if row.seconds is not None:
        expected |= {"seconds": row.seconds, "length": row.length}
    if row.options:
        expected["options"] = row.options
    length = {} if row.frames is None else {"frames": row.frames}
    record = {
        "video": str(row.video),
        "question": row.question,
        "kind": row.kind,
        "answer": answer,
        "right": verdict(row, answer),
        **expected,
        **length,
    }
    return json.dumps(record, ensure_ascii=False) + "\n"


def read_answers(path: str | Path) -> list[Answered]:
    """Read what `vipe eval --answers` kept.

    Raises:
        DataError: The file is missing, or a line of it is malformed; names file and line.
    """
    path = Path(path)
    found: list[Answered] = []
    for record, where in read_objects(path):
        answer = record.get("answer")
        if not isinstance(answer, str):
            raise DataError(f"{where}: 'answer' must be a text")
        # A path was written as it was then, and is not read: rows are told apart by it.
        found.append(Answered(row=parse_row(record, where, Path()), answer=answer))
    return found


def compare_answers(first: Sequence[Answered], second: Sequence[Answered]) -> Compared:
    """Compare two models' answers to the same rows.

    Args:
        first: One model's.
        second: The other's, in the same order.

    Returns:
        What the second has more than the first: of accuracy, in all and kind by kind, over the
        rows with `accept`; of CIDEr over those with `references`.

    Raises:
        DataError: They are not of the same rows; names the first that differs.
    """
    for place, (one, other) in enumerate(zip(first, second, strict=False), start=1):
        if one.row != other.row:
            raise DataError(
                f"answer {place} is to {one.row.question!r} about {one.row.video} in one file, "
                f"and to {other.row.question!r} about {other.row.video} in the other"
            )
    if len(first) != len(second):
        raise DataError(f"one file has {len(first)} answers and the other {len(second)}")

    def compared(
        chosen: Callable[[Row], object], score: Callable[[Sequence[Answered]], list[float]]
    ) -> Comparison | None:
        places = [i for i, one in enumerate(first) if chosen(one.row)]
        if not places:
            return None
        ours, theirs = ([answers[i] for i in places] for answers in (first, second))
        return compare(score(ours), score(theirs), [one.row.video for one in ours])

    by_kind: dict[str, Comparison] = {}
    for kind in dict.fromkeys(one.row.kind for one in first if not one.row.references):
        found = compared(lambda row, kind=kind: not row.references and row.kind == kind, _right)  # type: ignore[misc]
        assert found is not None
        by_kind[kind] = found
    return {
        "accuracy": compared(lambda row: not row.references, _right),
        "cider": compared(lambda row: row.references, _cider),
        "by_kind": by_kind,
    }


def _right(answers: Sequence[Answered]) -> list[float]:
    return [float(bool(verdict(one.row, one.answer))) for one in answers]


def _cider(answers: Sequence[Answered]) -> list[float]:
    return caption_scores_by_row(
        [one.answer for one in answers], [one.row.references for one in answers]
    )
