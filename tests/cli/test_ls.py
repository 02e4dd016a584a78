"""`vipe ls`: a line an entry, a table on a terminal, or JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vipe import ViPE
from vipe.entry import Entry
from vipe.store import Store

Command = Callable[..., Any]


@pytest.fixture
def entries(tiny_vipe: ViPE, clip: Path, tmp_path: Path) -> list[Entry]:
    """Those of the store `tmp_path / "store"`: one clip, looked at in two ways."""
    store = Store(tmp_path / "store")
    return [store.see(tiny_vipe, clip), store.see(tiny_vipe, clip, frames=2, merge_ratio=0.75)]


def test_a_line_an_entry(command: Command, entries: list[Entry], tmp_path: Path) -> None:
    done = command("ls", tmp_path / "store")
    assert (done.status, done.err) == (0, "")
    first, second = (line.split("\t") for line in done.out.splitlines())
    when, model = f"{entries[0].seen:%Y-%m-%d %H:%M}", f"in memory {entries[0].model_digest[:8]}"
    assert first == [entries[0].key, "clip.mp4", "2.0", when, model, "6", "0.5"]
    assert second[0] == entries[1].key
    assert second[5:] == ["2", "0.75"]


def test_json_has_all(command: Command, entries: list[Entry], tmp_path: Path) -> None:
    found = json.loads(command("ls", tmp_path / "store", "--json").out)
    assert [one["key"] for one in found] == [entry.key for entry in entries]
    for one, entry in zip(found, entries, strict=True):
        for name in ("video", "seconds", "model", "frames", "sampled", "merge_ratio"):
            assert one[name] == getattr(entry, name)
        assert (one["path"], one["seen"]) == (str(entry.path), entry.seen.isoformat())
        assert len(one["model_digest"]) == len(one["video_digest"]) == 64


def test_a_terminal_gets_a_table(
    command: Command, entries: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    out = command("ls", tmp_path / "store").out
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert lines[0].split()[:3] == ["key", "video", "seconds"]
    assert [line.split()[0] for line in lines[1:]] == [entry.key for entry in entries]


@pytest.mark.usefixtures("entries")
def test_it_needs_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, vipe.cli\nvipe.cli.run(sys.argv[1:])\nprint('MODULES', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "ls", str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=True,
    )
    listed, _, modules = done.stdout.partition("MODULES")
    assert len(listed.splitlines()) == 2
    assert not {"torch", "transformers", "peft", "av"} & set(modules.split())


def test_what_is_no_store(command: Command, clip: Path, tmp_path: Path) -> None:
    for path, fault in (
        (tmp_path / "gone", "not a store (No such file or directory)"),
        (clip, "not a store (Not a directory)"),
        (tmp_path, "not a store, nothing seen is in it"),
    ):
        done = command("ls", path)
        assert (done.status, done.error) == (2, f"{path}: {fault}")
