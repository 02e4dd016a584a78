"""`vipe report`: kept answers of one or more models → a page of figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vipe.progress import progress


def report(
    answers: Annotated[
        list[Path],
        typer.Argument(
            metavar="ANSWERS.jsonl",
            help="Answers kept by vipe eval --answers, a file for each model.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="PAGE.html", help="The page to write.", show_default=False
        ),
    ],
) -> None:
    """Put models' answers side by side on a page.

    The page holds the accuracy of every file in all, by kind, and by length where rows state it
    (frames), with 95% intervals over videos, caption scores (CIDEr with an interval), some wrong
    answers, and for two files of the same rows the difference. It is one file that loads nothing;
    beside it the same figures are written as PAGE.json. Its path goes to stdout.
    """
    with progress() as bar:
        bar.show("counting what is right")
        from vipe.evaluation.answers import read_answers
        from vipe.evaluation.page import write
        from vipe.evaluation.report import report_on

        write(report_on([(path, read_answers(path)) for path in answers]), output)
    print(output)
