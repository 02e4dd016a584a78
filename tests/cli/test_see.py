"""`vipe see --store`: each video once, a path a line, and `vipe ask` of what is there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import media
from vipe import Decoding, ViPE
from vipe.store import Store

Command = Callable[..., Any]


@pytest.fixture
def clips(tmp_path: Path, clip: Path) -> Path:
    """A folder of two clips."""
    (tmp_path / "clips").mkdir()
    shutil.copy(clip, tmp_path / "clips" / "one.mp4")
    media.video(tmp_path / "clips" / "two.mp4", frames=5, rate=5)
    return tmp_path / "clips"


def test_a_folder_is_seen_once_and_asked(
    command: Command,
    model_folder: Path,
    saved_vipe: ViPE,
    clips: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = tmp_path / "store"
    arguments = ("--store", store, "--model", model_folder)
    done = command("see", clips, *arguments)
    assert (done.status, done.err) == (0, "")
    entries = list(Store(store))
    assert done.out.splitlines() == [str(entry.path) for entry in entries]
    assert [entry.video for entry in entries] == ["one.mp4", "two.mp4"]
    assert {entry.model for entry in entries} == {str(model_folder)}

    question, tokens = "What is in the video?", ("--max-new-tokens", 8)
    answer = command("ask", entries[1].path, question, "--model", model_folder, *tokens)
    seen = saved_vipe.see(clips / "two.mp4")
    expected = saved_vipe.ask(seen, question, decoding=Decoding(max_new_tokens=8))
    assert (answer.status, answer.out) == (0, expected + "\n")

    def refuse(_: object) -> None:
        raise AssertionError("nothing is to be seen, so no model is needed")

    monkeypatch.setattr("vipe.cli.see.load_model", refuse)
    (tmp_path / "list.txt").write_text("clips/two.mp4\n")
    again = command("see", clips / "*.mp4", tmp_path / "list.txt", *arguments)
    assert (again.status, again.out) == (0, done.out)


def test_how_it_is_looked_at_is_part_of_the_key(
    command: Command, model_folder: Path, clip: Path, tmp_path: Path
) -> None:
    arguments = ("see", clip, "--store", tmp_path, "--model", model_folder)
    done = [command(*arguments, "--frames", frames) for frames in (2, 3, 2)]
    done.append(command(*arguments, "--frames", 2, "--merge-ratio", 0.75))
    assert [one.status for one in done] == [0] * 4
    assert done[0].out == done[2].out
    assert len({one.out for one in done}) == len(list(Store(tmp_path))) == 3


def test_a_video_that_cannot_be_seen_is_named_and_the_others_are_seen(
    command: Command, model_folder: Path, clips: Path, tmp_path: Path
) -> None:
    bad = clips / "bad.mp4"
    bad.write_text("no film")
    done = command("see", clips, "--store", tmp_path / "store", "--model", model_folder)
    assert done.status == 2
    assert len(done.out.splitlines()) == len(list(Store(tmp_path / "store"))) == 2
    first, last = done.err.splitlines()
    assert first.startswith(f"vipe: {bad} ")
    assert last == "vipe: error: 1 of 3 videos cannot be seen"
    alone = command("see", bad, "--store", tmp_path / "other", "--model", model_folder)
    assert (alone.status, str(bad) in alone.error) == (2, True)
    assert not (tmp_path / "other").exists()


def test_bad_input_is_one_line_and_leaves_nothing(
    command: Command, model_folder: Path, clip: Path, tmp_path: Path
) -> None:
    file, store = tmp_path / "file", tmp_path / "store"
    file.touch()
    for arguments, fault in (
        ((clip,), "give either --output DIR or --store FOLDER"),
        ((clip, "--store", store, "-o", tmp_path / "out"), "give either --output DIR or --store"),
        ((tmp_path / "gone.mp4", "--store", store), "gone.mp4: no such file or folder"),
        ((clip, "--store", file, "--model", model_folder), "file: exists and is not a folder"),
        ((clip, "--store", store, "--model", tmp_path / "gone"), "gone: not a model folder"),
    ):
        done = command("see", *arguments)
        assert done.status == 2
        assert fault in done.error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
