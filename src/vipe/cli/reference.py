"""docs/cli.md, the help of every command as one page: `python -m vipe.cli.reference`."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from vipe.cli import app

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"
_NOTE = "<!-- Made by `python -m vipe.cli.reference` from the commands' help; do not edit. -->\n\n"


def reference() -> str:
    """Return the page."""
    command = get_command(app)
    context = typer.Context(command, info_name="vipe")
    return _NOTE + get_docs_for_click(obj=command, ctx=context, name="vipe").strip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
