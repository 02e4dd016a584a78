"""Evaluation, a report's page: its figures → one HTML file that loads nothing, and a JSON file."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, StrictUndefined

from vipe.errors import DataError
from vipe.evaluation.chart import bars, colours, lines
from vipe.evaluation.intervals import Interval
from vipe.evaluation.report import OfFile, Report

_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def render(report: Report) -> str:
    """Return the page; whatever the answers hold stands in it as text.

    Args:
        report: The figures, of one or more files.
    """
    files = report["files"]
    kinds = dict.fromkeys(
        kind for one in files for kind, found in one["by_kind"].items() if found["accuracy"]
    )
    labels = ["all kinds", *kinds]
    accuracies = [[one["accuracy"], *(_of_kind(one, kind) for kind in kinds)] for one in files]
    lengths = [_lengths(number, one) for number, one in enumerate(files)]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        files=files,
        colours=colours(len(files)),
        accuracies=list(zip(labels, zip(*accuracies, strict=True), strict=True)) if kinds else [],
        chart=bars(labels, accuracies) if kinds else "",
        lengths=lengths,
        against_length=lines([table.line for table in lengths]) if any(lengths) else "",
        differences=_differences(report),
        not_compared=report["not_compared"],
    )


def write(report: Report, page: Path) -> None:
    """Write the page, and the figures beside it under the same name with the ending .json.

    Each is written under another name first, so that neither is ever half there.

    Args:
        report: The figures.
        page: The page; files of these names are replaced.

    Raises:
        DataError: The name does not end in .html, is that of a file of answers, or cannot be
            written.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"{page}: the page's name must end in .html")
    texts = {page: render(report), page.with_suffix(".json"): json.dumps(report, indent=1) + "\n"}
    answers = {Path(one["file"]).resolve() for one in report["files"]}
    for path in texts:
        if path.resolve() in answers:
            raise DataError(f"{path}: the report would replace these answers")
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in texts}
    try:
        for path, text in texts.items():
            if path.is_dir():
                raise DataError(f"{path}: cannot be written (it is a folder)")
            temporary[path].write_text(text, encoding="utf-8", errors="replace")
        for path in texts:
            temporary[path].replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        for left in temporary.values():
            with suppress(OSError):
                left.unlink()


def _of_kind(file: OfFile, kind: str) -> Interval | None:
    found = file["by_kind"].get(kind)
    return found and found["accuracy"]


class _Lengths(NamedTuple):
    """A file's table of lengths."""

    number: int
    line: list[tuple[int, Interval]]
    """The numbers of frames, and the accuracy at each."""
    rows: list[tuple[str, list[Interval | None]]]
    """Each kind, and its accuracy at each."""

    @property
    def frames(self) -> list[int]:
        return [frames for frames, _ in self.line]

    def __bool__(self) -> bool:
        return bool(self.line)


def _lengths(number: int, file: OfFile) -> _Lengths:
    judged = [at for at in file["by_length"] if at["by_kind"]]
    line = [(at["frames"], at["accuracy"]) for at in judged if at["accuracy"] is not None]
    kinds = dict.fromkeys(kind for at in judged for kind in at["by_kind"])
    rows: list[tuple[str, list[Interval | None]]] = [("all kinds", [one for _, one in line])]
    rows += [(kind, [at["by_kind"].get(kind) for at in judged]) for kind in kinds]
    return _Lengths(number, line, rows)


def _differences(report: Report) -> list[tuple[str, object]]:
    """The rows of the table of differences."""
    found = report["difference"]
    if found is None:
        return []
    rows = [("all kinds", found["accuracy"]), *found["by_kind"].items(), ("CIDEr", found["cider"])]
    return [(label, one) for label, one in rows if one is not None]
