"""`vipe report`: kept answers become a page and its figures, or one line that names the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., Any]


def keep(path: Path, answers: list[str], video: str = "dog") -> Path:
    records = [
        {
            "video": f"{video}{i}.mp4",
            "question": "?",
            "kind": "k",
            "accept": ["yes"],
            "answer": answer,
        }
        for i, answer in enumerate(answers)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_page_and_its_figures(command: Command, tmp_path: Path) -> None:
    first = keep(tmp_path / "first.jsonl", ["no", "<script>alert(1)</script>", "yes", "no"])
    second = keep(tmp_path / "second.jsonl", ["yes", "no", "yes", "no"])
    page = tmp_path / "page.html"
    done = command("report", second, first, "-o", page)
    assert (done.status, done.out, done.err) == (0, f"{page}\n", "")
    assert "<script" not in page.read_text()
    figures = json.loads((tmp_path / "page.json").read_text())
    assert [one["file"] for one in figures["files"]] == [str(second), str(first)]
    assert [one["accuracy"]["mean"] for one in figures["files"]] == [0.5, 0.25]
    compared = command("compare", second, first)
    assert figures["difference"] == json.loads(compared.out)


def test_one_file_is_enough_and_other_rows_are_not_compared(
    command: Command, tmp_path: Path
) -> None:
    first, page = keep(tmp_path / "first.jsonl", ["no"]), tmp_path / "page.html"
    other = keep(tmp_path / "other.jsonl", ["no"], video="cat")
    for files in ([first], [first, other], [first, first, other]):
        assert command("report", *files, "-o", page).status == 0
        figures = json.loads((tmp_path / "page.json").read_text())
        assert figures["difference"] is None
        assert (figures["not_compared"] is not None) == (len(files) == 2)


def test_bad_input_is_one_line_and_leaves_nothing(command: Command, tmp_path: Path) -> None:
    good, bad = keep(tmp_path / "good.jsonl", ["no"]), tmp_path / "bad.jsonl"
    bad.write_text(good.read_text() + '{"video": "a", "question": "b", "kind": "c"}\n')
    page, none = tmp_path / "page.html", tmp_path / "none.jsonl"
    for arguments, fault in (
        ((good, bad, "-o", page), f"{bad}, line 2: 'answer' must be a text"),
        ((none, good, "-o", page), f"{none}: cannot be read (No such file or directory)"),
        ((good, "-o", tmp_path / "page"), f"{tmp_path / 'page'}: the page's name must end in"),
        ((good,), "--output"),
        (("-o", page), "ANSWERS.jsonl"),
    ):
        done = command("report", *arguments)
        assert done.status == 2
        assert fault in done.error
    assert {path.name for path in tmp_path.iterdir()} == {"good.jsonl", "bad.jsonl"}
