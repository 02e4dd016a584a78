"""Text files: UTF-8 with or without a mark, lines by newlines alone, faults that name the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from vipe.data.text import numbered_lines, read_text
from vipe.errors import DataError


def test_lines_are_numbered_and_blank_ones_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "one\u2028still\n\n  \ntwo\n".encode())
    found = list(numbered_lines(path, read_text(path)))
    assert found == [(f"{path}, line 1", "one\u2028still"), (f"{path}, line 4", "two")]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=f"^{tmp_path}/a: not a text file in UTF-8$"):
        read_text(tmp_path / "a")
    with pytest.raises(DataError, match=rf"^{tmp_path}/b: cannot be read \(No such file"):
        read_text(tmp_path / "b")
