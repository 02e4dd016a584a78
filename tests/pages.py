"""The pages of the documentation, and the code that they show."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]

PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "recipes/*.md", "src/vipe/models/*/*.md")
    for path in ROOT.glob(pattern)
)
"""By their paths in the project."""


class Block(NamedTuple):
    """A code block, and what the page says that it prints: the block below without a language."""

    code: str
    prints: str | None


def text_of(page: str) -> str:
    """Return a page's text."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str = "python") -> list[Block]:
    """Return the code blocks of a language on a page; "" for those without one."""
    parts = re.split(r"^```(.*)\n", text_of(page), flags=re.MULTILINE)  # text, language, code, …
    found = list(zip(parts[0::4], parts[1::4], parts[2::4], strict=False))
    following = [*found[1:], ("", "", "")]
    return [
        Block(code, printed if (between, kind) == ("\n", "") else None)
        for (_, own, code), (between, kind, printed) in zip(found, following, strict=False)
        if own == language
    ]


def run(
    page: str, *, only: str = "", replacing: Mapping[str, str] | None = None, **names: Any
) -> dict[str, Any]:
    """Run the Python blocks of a page one after another, as somebody does who reads it.

    Args:
        page: By its path in the project.
        only: Those that have this text; all of them by default.
        replacing: What stands in the code for something else: an address, say.
        names: What is there already.

    Returns:
        The names that the code leaves.
    """
    scope: dict[str, Any] = {"__name__": "__main__", **names}
    for code, prints in blocks(page):
        if only not in code:
            continue
        for stands, meant in (replacing or {}).items():
            code = code.replace(stands, meant)
        out = io.StringIO()
        with redirect_stdout(out):
            exec(compile(code, page, "exec", dont_inherit=True), scope)
        if prints is not None:
            assert out.getvalue() == prints
        print(out.getvalue(), end="")
    return scope
