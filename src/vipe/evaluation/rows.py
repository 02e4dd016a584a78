"""Evaluation, first step: a JSONL file → rows, each one question about one video.

A line is an object with `video` (a path, relative to the file), `question`, `kind`, and either
`accept` (words of which any one makes an answer right) or `references` (sentences that a caption
is compared with). Other keys are left alone, and blank lines are skipped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from vipe.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One question about one video, and what a right answer is.

    Attributes:
        video: The video, its path already joined to the folder of the row's file.
        question: What is asked.
        kind: What the question is about: "object", "direction", "caption", …
        accept: Words or phrases, any one of which makes an answer right. Empty where the answer
            is scored against `references`.
        references: Sentences that people wrote. Empty where there is `accept`.
    """

    video: Path
    question: str
    kind: str
    accept: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


def read_rows(path: str | Path) -> list[Row]:
    """Read every row of a JSONL file.

    That the videos exist is not checked here: a missing one is an error of the moment it is seen,
    so that a file may list more than the part that is used.

    Args:
        path: The JSONL file.

    Returns:
        The rows in the file's order, at least one.

    Raises:
        DataError: The file is missing, not UTF-8, empty, or a line of it is malformed; names the
            file and the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    # Not str.splitlines(): it also breaks at U+2028 and its like, which JSON strings may hold.
    rows = [
        _parse(line, f"{path}, line {number}", path.parent)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if not rows:
        raise DataError(f"{path}: holds no rows")
    return rows


def _parse(line: str, where: str, folder: Path) -> Row:
    """One line → a row; `where` opens the text of every error."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: not JSON") from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a JSON object")
    video, question, kind = (_text(record, key, where) for key in ("video", "question", "kind"))
    if ("accept" in record) == ("references" in record):
        found = "both" if "accept" in record else "neither"
        raise DataError(f"{where}: needs either 'accept' or 'references', has {found}")
    return Row(
        video=folder / video,
        question=question,
        kind=kind,
        accept=_texts(record, "accept", where),
        references=_texts(record, "references", where),
    )


def _text(record: dict[str, object], key: str, where: str) -> str:
    if key not in record:
        raise DataError(f"{where}: {key!r} is missing")
    value = record[key]
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where}: {key!r} must be a text that is not empty")
    return value


def _texts(record: dict[str, object], key: str, where: str) -> tuple[str, ...]:
    if key not in record:
        return ()
    values = record[key]
    # An entry of punctuation alone would be right of any answer, or have no word to compare.
    if (
        not isinstance(values, list)
        or not values
        or not all(isinstance(v, str) and any(map(str.isalnum, v)) for v in values)
    ):
        raise DataError(f"{where}: {key!r} must be a list of one or more texts with words")
    return tuple(values)
