"""Evaluation, first step: a JSONL file → rows, each one question about one video.

A line is an object with `video` (a path, relative to the file), `question`, `kind`, and either
`accept` (words of which any one makes an answer right) or `references` (sentences that a caption
is compared with). A row that asks for a time has `seconds`, a number or [start, end], and the
video's `length`, and needs neither. With `options` beside `accept` the question is multiple choice:
the answer is the option that the model finds likeliest. `frames` may say how long the video is, for
figures by length. Other keys are left alone, and blank lines are skipped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vipe.data.text import numbered_lines, read_text
from vipe.errors import DataError

_YEARS = 1e9
"""Seconds that no video lasts."""
CAPTION_BEAMS = 3
"""Of the search for an answer that is scored against references, as is the rule for captions."""
CAPTION_LENGTH_PENALTY = 0.0
"""Of that search: the likeliest caption as it is. Divided by their length, longer ones win: a tenth
longer than people's, on the photographs of Flickr8k's validation set, where this was chosen."""


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
        options: What is chosen from, by likelihood; empty where the answer is written freely.
        frames: How many frames the video has; None where the row does not say.
        seconds: (start, end) of what is asked for, of a moment twice the same; None where no time
            is asked for.
        length: The video's, in seconds; there where `seconds` is.
    """

    video: Path
    question: str
    kind: str
    accept: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    frames: int | None = None
    seconds: tuple[float, float] | None = None
    length: float | None = None


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
    return [parse_row(record, where, path.parent) for record, where in read_objects(path)]


def read_objects(path: Path) -> list[tuple[dict[str, object], str]]:
    """Read the objects of a JSONL file, at least one, each with the place that errors name.

    Raises:
        DataError: The file is missing, not UTF-8, empty, or a line is not a JSON object.
    """
    lines = numbered_lines(path, read_text(path))
    found = [(_object(line, where), where) for where, line in lines]
    if not found:
        raise DataError(f"{path}: holds no rows")
    return found


def _object(line: str, where: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError(f"{where}: not JSON") from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: not a JSON object")
    return record


def parse_row(record: dict[str, object], where: str, folder: Path) -> Row:
    """Return one object's row; `where` opens the text of every error.

    Raises:
        DataError: A key is missing or is not what it must be.
    """
    video, question, kind = (text_of(record, key, where) for key in ("video", "question", "kind"))
    both = "accept" in record and "references" in record
    if both or not record.keys() & {"accept", "references", "seconds"}:
        found = "both" if both else "neither"
        raise DataError(f"{where}: needs either 'accept' or 'references', has {found}")
    options = _texts(record, "options", where)
    if options and (len(options) < 2 or "references" in record):
        raise DataError(f"{where}: 'options' must be two or more, beside 'accept'")
    frames = record.get("frames")
    if frames is not None and (type(frames) is not int or frames < 1):
        raise DataError(f"{where}: 'frames' must be a number of frames")
    return Row(
        video=folder / video,
        question=question,
        kind=kind,
        accept=_texts(record, "accept", where),
        references=_texts(record, "references", where),
        options=options,
        frames=frames,
        **_times(record, where),
    )


def _times(record: dict[str, object], where: str) -> dict[str, Any]:
    if "seconds" not in record:
        return {}
    given: Any = record["seconds"]
    length: Any = record.get("length")
    span = given if isinstance(given, list) else [given, given]
    if not _is_number(length) or len(span) != 2 or not all(map(_is_number, span)):
        raise DataError(
            f"{where}: 'seconds' must be a number or [start, end], beside 'length', a number"
        )
    if not 0 <= span[0] <= span[1] <= length or length == 0:
        raise DataError(f"{where}: 'seconds' {given} are not within a length of {length}")
    return {"seconds": (float(span[0]), float(span[1])), "length": float(length)}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _YEARS


def text_of(record: dict[str, object], key: str, where: str) -> str:
    """Return the text under a key.

    Raises:
        DataError: It is missing, no text, or empty.
    """
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
