"""Data in text files: JSON and JSONL, by people and by programs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vipe.errors import DataError


def read_text(path: Path) -> str:
    """Read a text file.

    Raises:
        DataError: It is missing, cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def numbered_lines(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """Yield each line of a file's text that is not blank, with the place that messages name."""
    # Not str.splitlines(): it also breaks at U+2028 and its like, which JSON strings may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", line
