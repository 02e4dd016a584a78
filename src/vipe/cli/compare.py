"""`vipe compare`: two models' answers to the same rows → how far apart they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vipe.evaluation.answers import Compared


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="FIRST.jsonl", help="Answers kept by vipe eval --answers.")
    ],
    second: Annotated[
        Path, typer.Argument(metavar="SECOND.jsonl", help="Another model's, to the same rows.")
    ],
) -> None:
    """Compare two models' answers, row by row.

    The last line of stdout is one JSON object: accuracy, cider and by_kind, each with the
    difference (second less first), its 95% interval over videos, and p.
    """
    from vipe.evaluation.answers import compare_answers, read_answers

    compared = compare_answers(read_answers(first), read_answers(second))
    if sys.stderr.isatty():
        _print_table(compared)
    print(json.dumps(compared))


def _print_table(compared: Compared) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "rows", "difference", "95%", "p", box=None, header_style="bold")
    figures = {"accuracy": compared["accuracy"], **compared["by_kind"], "cider": compared["cider"]}
    for name, found in figures.items():
        if found is not None:
            table.add_row(
                name,
                str(found["n"]),
                f"{found['difference']:+.3f}",
                f"{found['low']:+.3f} … {found['high']:+.3f}",
                f"{found['p']:.3f}",
            )
    Console(stderr=True).print(table)
