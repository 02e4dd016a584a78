"""Evaluation, what a report says: kept answers of one or more models → its figures, one value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from vipe.errors import DataError
from vipe.evaluation.answers import Answered, Compared, compare_answers
from vipe.evaluation.intervals import Interval, interval
from vipe.evaluation.metrics import (
    CaptionScores,
    caption_scores,
    caption_scores_by_row,
    verdict,
)

EXAMPLES = 3
"""Wrong answers of each kind that are shown."""


class Wrong(TypedDict):
    """An answer in which none of `accept` is found."""

    video: str
    question: str
    answer: str
    accept: list[str]


class OfKind(TypedDict):
    """One kind of question; `accuracy` is None where no row has `accept`.

    `n` counts all rows of the kind, `wrong` the wrong answers, of which `examples` are a few.
    """

    n: int
    accuracy: Interval | None
    wrong: int
    examples: list[Wrong]


class OfLength(TypedDict):
    """The rows about videos of so many frames; `by_kind` has the kinds that can be judged."""

    frames: int
    accuracy: Interval | None
    by_kind: dict[str, Interval]


class OfFile(TypedDict):
    """One file of answers; a figure without rows to compute it from is None.

    `by_length` is of the rows that state how many frames their videos have, shortest first.
    `cider` is that of `captions` with its interval.
    """

    name: str
    file: str
    n: int
    accuracy: Interval | None
    by_kind: dict[str, OfKind]
    by_length: list[OfLength]
    captions: CaptionScores | None
    cider: Interval | None


class Report(TypedDict):
    """The figures of every file, in the order given.

    `difference` is the second file less the first where there are two, of the same rows; of two
    that are not, `not_compared` says why.
    """

    files: list[OfFile]
    difference: Compared | None
    not_compared: str | None


def report_on(files: Sequence[tuple[Path, Sequence[Answered]]]) -> Report:
    """Compute the figures of a report.

    Accuracies and caption scores are those of `summarise`; the intervals are over videos (see
    `vipe.evaluation.intervals`). CIDEr's is of each caption's part of it: n-grams keep the weights
    that they have among all references of the file.

    Args:
        files: Each file's path and its answers, one or more.

    Raises:
        ValueError: A file has no answers.
    """
    names = _names([path for path, _ in files])
    difference, not_compared = None, None
    if len(files) == 2:
        (_, first), (_, second) = files
        try:
            difference = compare_answers(first, second)
        except DataError as error:
            not_compared = str(error)
    return {
        "files": [_of_file(name, *file) for name, file in zip(names, files, strict=True)],
        "difference": difference,
        "not_compared": not_compared,
    }


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names without folder and ending, or the whole paths where two would be alike."""
    short = [path.stem for path in paths]
    return short if len(set(short)) == len(short) else list(map(str, paths))


def _of_file(name: str, path: Path, answers: Sequence[Answered]) -> OfFile:
    if not answers:
        raise ValueError(f"{path}: no answers")
    lengths: dict[int, list[Answered]] = {}
    for one in answers:
        if one.row.frames is not None:
            lengths.setdefault(one.row.frames, []).append(one)
    captioned = [one for one in answers if one.row.references]
    captions = [(one.answer, one.row.references) for one in captioned]
    return {
        "name": name,
        "file": str(path),
        "n": len(answers),
        "accuracy": _accuracy(answers),
        "by_kind": {kind: _of_kind(some) for kind, some in _by_kind(answers).items()},
        "by_length": [_of_length(frames, some) for frames, some in sorted(lengths.items())],
        "captions": caption_scores(*zip(*captions, strict=True)) if captions else None,
        "cider": _cider(captioned),
    }


def _by_kind(answers: Sequence[Answered]) -> dict[str, list[Answered]]:
    kinds: dict[str, list[Answered]] = {}
    for one in answers:
        kinds.setdefault(one.row.kind, []).append(one)
    return kinds


def _of_length(frames: int, answers: Sequence[Answered]) -> OfLength:
    judged = {kind: _accuracy(some) for kind, some in _by_kind(answers).items()}
    return {
        "frames": frames,
        "accuracy": _accuracy(answers),
        "by_kind": {kind: found for kind, found in judged.items() if found is not None},
    }


def _of_kind(answers: Sequence[Answered]) -> OfKind:
    wrong = [one for one in answers if verdict(one.row, one.answer) is False]
    shown = min(EXAMPLES, len(wrong))
    # From all over the file: the first ones would often be about one video.
    spread = [wrong[place * len(wrong) // shown] for place in range(shown)]
    return {
        "n": len(answers),
        "accuracy": _accuracy(answers),
        "wrong": len(wrong),
        "examples": [
            {
                "video": str(one.row.video),
                "question": one.row.question,
                "answer": one.answer,
                "accept": list(one.row.accept) or [_time(one)],
            }
            for one in spread
        ],
    }


def _accuracy(answers: Sequence[Answered]) -> Interval | None:
    judged = [(one.row.video, verdict(one.row, one.answer)) for one in answers]
    known = [(video, float(right)) for video, right in judged if right is not None]
    if not known:
        return None
    return interval([right for _, right in known], [video for video, _ in known])


def _cider(answers: Sequence[Answered]) -> Interval | None:
    if not answers:
        return None
    parts = caption_scores_by_row(
        [one.answer for one in answers], [one.row.references for one in answers]
    )
    return interval(parts, [one.row.video for one in answers])


def _time(one: Answered) -> str:
    """What a right answer states, where a time is asked for."""
    start, end = one.row.seconds or (0.0, 0.0)
    return f"{start:g} s" if start == end else f"{start:g} to {end:g} s"
