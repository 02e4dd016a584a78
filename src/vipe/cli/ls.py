"""`vipe ls`: what is in a store of seen videos."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vipe.cli.console import one_line

if TYPE_CHECKING:
    from vipe.entry import Entry

_COLUMNS = ("key", "video", "seconds", "seen (UTC)", "model", "frames", "merged")


def ls(
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE",
            help="A folder that vipe see --store wrote, or its address.",
            show_default=False,
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON list of objects, with the whole hashes.")
    ] = False,
) -> None:
    """List what is in a store.

    One seen video a line, the first seen first: its key, name, length in seconds, when it was seen
    (UTC), by which model (its name, and the first digits of its hash), how many frames were seen,
    and the share of tokens merged away. STORE/KEY is an adapter, for vipe ask and chat. On a
    terminal it is a table, else lines with tabs.
    """
    from vipe.store import Store

    entries = list(Store(store))
    if as_json:
        print(json.dumps([_plain(entry) for entry in entries]))
    elif sys.stdout.isatty():
        _print_table(entries)
    else:
        for entry in entries:
            print(*_cells(entry), sep="\t")


def _plain(entry: Entry) -> dict[str, object]:
    return {
        "key": entry.key,
        "path": str(entry.path),
        "video": entry.video,
        "seconds": entry.seconds,
        "seen": entry.seen.isoformat(),
        "model": entry.model,
        "frames": entry.frames,
        "sampled": entry.sampled,
        "merge_ratio": entry.merge_ratio,
        "model_digest": entry.model_digest,
        "video_digest": entry.video_digest,
    }


def _cells(entry: Entry) -> list[str]:
    return [
        entry.key,
        one_line(entry.video),
        f"{entry.seconds:.1f}",
        f"{entry.seen:%Y-%m-%d %H:%M}",
        f"{one_line(entry.model)} {entry.model_digest[:8]}",
        str(entry.frames),
        f"{entry.merge_ratio:g}",
    ]


def _print_table(entries: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for column in _COLUMNS:
        right = column in ("seconds", "frames", "merged")
        table.add_column(
            column,
            justify="right" if right else "left",
            no_wrap=column not in ("video", "model"),  # these may be long
            overflow="fold",
        )
    for entry in entries:
        table.add_row(*map(Text, _cells(entry)))
    Console().print(table)
