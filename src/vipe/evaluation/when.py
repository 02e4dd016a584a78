"""Evaluation, times: what an answer says of when, in seconds, and how far it is off.

Dimensions: none; a span is (start, end) in seconds, of a moment twice the same.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from vipe.evaluation.rows import Row

Span = tuple[float, float]

NEAR = 0.05
"""An answer is right when it is at most this share of the video's length off."""

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_WORDS = (
    {word: float(value) for value, word in enumerate(_ONES)}
    | {word: 10.0 * value for value, word in enumerate(_TENS, start=2)}
    | {
        f"{ten}{dash}{one}": 10.0 * value + digit
        for value, ten in enumerate(_TENS, start=2)
        for digit, one in enumerate(_ONES[1:10], start=1)
        for dash in "- "
    }
    | {"a": 1.0, "an": 1.0, "half a": 0.5, "half an": 0.5}
)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}

_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))  # "twenty-five" before "twenty"
_NUMBER = rf"(?:\d+(?:\.\d+)?|\.\d+|\b(?:{_WORD})\b)"
_CLOCK = r"(?<![\d:.])\d+:[0-5]\d(?::[0-5]\d)?(?:\.\d+)?(?![\d:])"
_UNIT = r"(?:h|hours?|hrs?|m|minutes?|mins?|s|seconds?|secs?)(?![a-z])"
_ONE = rf"{_NUMBER}[\s-]*{_UNIT}\.?"
# "2 minutes and 5 seconds", "1 h 2 m": larger units first.
_TIME = rf"(?:{_CLOCK}|{_ONE}(?:(?:\s*,)?(?:\s+and)?\s*{_ONE})*)"
_RANGE = re.compile(
    rf"(?P<start>{_TIME}|{_NUMBER})"
    rf"(?:\s*(?<=[\dhms ])[-–—]\s*|\s+(?:to|until|till)\s+)(?P<end>{_TIME})"
    rf"|\bbetween\s+(?P<after>{_CLOCK}|{_ONE}|{_NUMBER})\s+and\s+(?P<before>{_TIME})"
)
_ENDS = (("start", "after"), ("end", "before"))
_ANY = re.compile(_TIME)
_PIECE = re.compile(rf"(?P<number>{_NUMBER})[\s-]*(?P<unit>{_UNIT})")


class WhenSummary(TypedDict):
    """Figures of rows that state a time.

    `stated` of the `n` answers say any; `median_error` is of these, in seconds, None without any;
    `within_5_percent` is the share of all `n` that are at most 5% of the video's length off.
    """

    n: int
    stated: int
    median_error: float | None
    within_5_percent: float


def span_in(answer: str) -> Span | None:
    """Return the time that an answer states, in seconds; None where it states none.

    "at 12 seconds", "after 90 s", "at 2 minutes and 5 seconds", "1:30" and "for twelve seconds"
    are (t, t); "from 3 to 7 seconds", "3–7 s", "between 0:10 and 1:30" are (start, end), in order.
    A number without a unit is no time. Of several times the first counts.
    """
    text = " ".join(answer.casefold().split())
    for found in _RANGE.finditer(text):
        first_text, last_text = (found[a] or found[b] for a, b in _ENDS)
        start, end = _seconds(first_text, last_text), _seconds(last_text)
        if start is None or end is None:
            continue
        first = _ANY.search(text)
        if first is not None and first.start() < found.start():
            break  # what is said before it counts
        return min(start, end), max(start, end)
    first = _ANY.search(text)
    value = None if first is None else _seconds(first.group())
    return None if value is None else (value, value)


def _seconds(text: str, unit_of: str = "") -> float | None:
    """Return a time in seconds; a bare number is in the last unit of another."""
    if ":" in text:
        seconds = 0.0
        for part in text.split(":"):
            seconds = 60 * seconds + float(part)
        return seconds
    pieces = list(_PIECE.finditer(text))
    if pieces:
        units = [_UNITS[piece["unit"][0]] for piece in pieces]
        descending = all(one > other for one, other in pairwise(units))
        used = list(zip(pieces, units, strict=True))[: None if descending else 1]
        return sum(_value(piece["number"]) * unit for piece, unit in used)
    others = list(_PIECE.finditer(unit_of))
    return _value(text) * _UNITS[others[-1]["unit"][0]] if others else None


def _value(number: str) -> float:
    return _WORDS[number] if number in _WORDS else float(number)


def error_of(answer: str, seconds: Span) -> float | None:
    """Return by how many seconds an answer is off; None where it states no time.

    Where a moment is asked for, what counts of a stretch is its start; where a stretch is, the
    mean of how far both ends are off.
    """
    stated = span_in(answer)
    if stated is None:
        return None
    if seconds[0] == seconds[1]:
        return abs(stated[0] - seconds[0])
    return (abs(stated[0] - seconds[0]) + abs(stated[1] - seconds[1])) / 2


def is_near(answer: str, seconds: Span, length: float | int) -> bool:
    """Whether an answer states the time, to a twentieth of the video's length."""
    error = error_of(answer, seconds)
    # Rounded, so that 0.3 s off in 6 s is not lost to binary fractions.
    return error is not None and round(error, 6) <= round(NEAR * length, 6)


def summarise_when(rows: Sequence[Row], answers: Sequence[str]) -> WhenSummary | None:
    """Compute the figures of the rows that have `seconds`; None where none has."""
    asked = [
        (answer, row.seconds, row.length)
        for row, answer in zip(rows, answers, strict=True)
        if row.seconds is not None and row.length is not None
    ]
    if not asked:
        return None
    errors = [error_of(answer, seconds) for answer, seconds, _ in asked]
    known = [error for error in errors if error is not None]
    return {
        "n": len(asked),
        "stated": len(known),
        "median_error": statistics.median(known) if known else None,
        "within_5_percent": sum(is_near(*one) for one in asked) / len(asked),
    }
