"""`vipe eval`: rows of questions → figures."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vipe.cli import options
from vipe.cli.source import check_exist, load_any_model
from vipe.errors import DataError
from vipe.evaluation.rows import CAPTION_BEAMS, CAPTION_LENGTH_PENALTY
from vipe.progress import progress

if TYPE_CHECKING:
    from vipe.evaluation.metrics import Summary
    from vipe.evaluation.runner import Results


def evaluate(
    rows: Annotated[
        Path,
        typer.Argument(
            metavar="DATA.jsonl",
            help="Rows of video, question, kind, and accept or references.",
            show_default=False,
        ),
    ],
    model: options.Model = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The first N rows alone.", show_default=False),
    ] = None,
    frames: options.FrameCount = None,
    merge_ratio: options.MergeRatio = None,
    rate: Annotated[
        float | None,
        typer.Option(
            callback=options.above_zero,
            metavar="R",
            help="Frames a second, in place of --frames.",
            show_default=False,
        ),
    ] = None,
    beams: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Beams of the search for captions (rows with references); 1 for none.",
        ),
    ] = CAPTION_BEAMS,
    length_penalty: Annotated[
        float,
        typer.Option(
            metavar="P",
            help="A caption's log-probability is divided by its length to this power.",
        ),
    ] = CAPTION_LENGTH_PENALTY,
    dtype: Annotated[
        options.Dtype, typer.Option(help="What the language model computes in.")
    ] = options.Dtype.float32,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Keep the answers here.", show_default=False),
    ] = None,
) -> None:
    """Ask rows of questions and score the answers.

    The last line of stdout is one JSON object: n, accuracy (over rows with accept), the same by
    kind, by length where rows say it (frames), and bleu1, bleu4, rouge_l and cider (over rows with
    references). Rows that ask for a time (seconds and length) are right within 5% of the length,
    and add "when": how many answers state one, the median error, and the share within 5%.
    """
    if frames is not None and rate is not None:
        raise typer.BadParameter("give either --frames or --rate")
    with progress() as bar, _kept(answers) as keep:
        from vipe.evaluation.rows import read_rows

        bar.show("loading the model")
        asked = read_rows(rows)[:limit]
        check_exist([row.video for row in asked])
        loaded = load_any_model(model, dtype=dtype.value)
        from vipe.evaluation.runner import evaluate as run
        from vipe.frames import Rate

        results = run(
            loaded,
            asked,
            frames=frames if rate is None else Rate(rate),
            merge_ratio=merge_ratio,
            beams=beams,
            length_penalty=length_penalty,
            progress=lambda done, total: bar.show("seeing and asking", done, total),
        )
        keep(results)
    summary = results.summary()
    if sys.stderr.isatty():
        _print_table(summary)
    print(json.dumps(summary))


@contextmanager
def _kept(path: Path | None) -> Iterator[Callable[[Results], None]]:
    """Yield what writes the answers; that they can be written is known before the work starts.

    Raises:
        DataError: They cannot be written.
    """
    if path is None:
        yield lambda _: None
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        file = temporary.open("w", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with file:
            yield lambda results: file.writelines(_lines(results))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _lines(results: Results) -> Iterator[str]:
    from vipe.evaluation.answers import to_line

    for row, answer in zip(results.rows, results.answers, strict=True):
        yield to_line(row, answer)


def _print_table(summary: Summary) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "rows", "accuracy", box=None, header_style="bold")
    for kind, figures in summary["by_kind"].items():
        accuracy = figures["accuracy"]
        table.add_row(kind, str(figures["n"]), "–" if accuracy is None else f"{accuracy:.1%}")
    Console(stderr=True).print(table)
