"""Bad input: one clear line, exit status 2, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import media
from vipe import ViPE
from vipe.cli import source

Command = Callable[..., Any]


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("Not a film.\n" * 40)


def _truncated(path: Path) -> None:
    media.cut(media.video(path, frames=60, container={"movflags": "faststart"}), 0.5)


def _without_index(path: Path) -> None:
    media.cut(media.video(path, frames=60), 0.5)


def _sound(path: Path) -> None:
    media.sound(path)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("no picture")


BAD_VIDEOS = {
    "no such file": (lambda path: None, "no such file"),
    "empty": (_empty, "is empty"),
    "text": (_text, "not a video"),
    "truncated": (_truncated, "truncated"),
    "without index": (_without_index, "truncated"),
    "sound only": (_sound, "no video stream"),
    "folder without pictures": (_folder, "without pictures"),
}


def tree(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("bad", BAD_VIDEOS)
@pytest.mark.parametrize("verb", ["ask", "see", "chat", "eval"])
def test_a_bad_video_is_one_line_that_names_it(
    command: Command, model_folder: Path, tmp_path: Path, bad: str, verb: str
) -> None:
    make, reason = BAD_VIDEOS[bad]
    video, rows = tmp_path / "dog.mp4", tmp_path / "rows.jsonl"
    make(video)
    row = {"video": "dog.mp4", "question": "What?", "accept": ["dog"], "kind": "object"}
    rows.write_text(json.dumps(row))
    before = tree(tmp_path)
    arguments: tuple[object, ...] = {
        "ask": ("ask", video, "What?", "--json"),
        "see": ("see", video, "-o", tmp_path / "out"),
        "chat": ("chat", video),
        "eval": ("eval", rows, "--answers", tmp_path / "answers.jsonl"),
    }[verb]
    done = command(*arguments, "--model", model_folder)
    assert done.status == 2
    assert reason in done.error
    assert "dog.mp4" in done.error
    assert tree(tmp_path) == before


def test_of_several_videos_the_good_ones_before_stay_whole(
    command: Command, model_folder: Path, clip: Path, tmp_path: Path
) -> None:
    bad, out = tmp_path / "bad.mp4", tmp_path / "out"
    _text(bad)
    done = command("see", clip, bad, clip, "-o", out, "--model", model_folder)
    assert done.status == 2
    assert done.out == f"{out / 'clip'}\n"
    assert "bad.mp4" in done.err
    assert {path.name for path in tree(out)} == {
        "clip", "adapter_config.json", "adapter_model.safetensors", "vipe_state.safetensors",
    }  # fmt: skip
    missing = command("see", clip, tmp_path / "gone.mp4", "-o", tmp_path / "o2")
    assert "gone.mp4: no such file" in missing.error
    assert not (tmp_path / "o2").exists()


# Adapters ---------------------------------------------------------------------------------------


@pytest.fixture
def adapter(tiny_vipe: ViPE, clip: Path, tmp_path: Path) -> Path:
    tiny_vipe.see(clip).save(tmp_path / "adapter")
    return tmp_path / "adapter"


def _edit(config: Path, **changes: object) -> None:
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))


BAD_ADAPTERS = {
    "weights of zero bytes": (
        lambda folder: _empty(folder / "adapter_model.safetensors"),
        "adapter_model.safetensors",
    ),
    "settings of zero bytes": (
        lambda folder: _empty(folder / "adapter_config.json"),
        "adapter_config.json",
    ),
    "no weights": (
        lambda folder: (folder / "adapter_model.safetensors").unlink(),
        "adapter_model.safetensors is missing",
    ),
    "no settings": (
        lambda folder: (folder / "adapter_config.json").unlink(),
        "adapter_config.json is missing",
    ),
    "for another model of the same shape": (
        lambda folder: _edit(
            folder / "adapter_config.json", base_model_name_or_path="someone/else-135M"
        ),
        "someone/else-135M",
    ),
}


@pytest.mark.parametrize("bad", BAD_ADAPTERS)
@pytest.mark.parametrize("verb", ["ask", "chat"])
def test_a_bad_adapter_is_one_line_that_names_it(
    command: Command, model_folder: Path, adapter: Path, bad: str, verb: str
) -> None:
    spoil, reason = BAD_ADAPTERS[bad]
    spoil(adapter)
    question = ("What?",) if verb == "ask" else ()
    done = command(verb, adapter, *question, "--model", model_folder)
    assert done.status == 2
    assert reason in done.error
    assert str(adapter) in done.error


def test_an_adapter_of_a_model_of_another_shape(
    command: Command, model_folder: Path, adapter: Path
) -> None:
    from safetensors.torch import load_file, save_file

    file = adapter / "adapter_model.safetensors"
    save_file({key: value[:, :20].contiguous() for key, value in load_file(file).items()}, file)
    done = command("ask", adapter, "What?", "--model", model_folder)
    assert done.status == 2
    assert "does not fit" in done.error
    assert str(adapter) in done.error


def test_an_adapter_for_the_same_model_under_another_name_is_taken(
    command: Command, model_folder: Path, adapter: Path, tiny_language_model_folder: Path
) -> None:
    name = tiny_language_model_folder.name.upper()
    _edit(adapter / "adapter_config.json", base_model_name_or_path=f"someone/{name}")
    assert command("ask", adapter, "What?", "--model", model_folder).status == 0


# All else ---------------------------------------------------------------------------------------


def test_bad_models(command: Command, model_folder: Path, clip: Path, tmp_path: Path) -> None:
    done = command("ask", clip, "What?", "--model", tmp_path / "none")
    assert (done.status, "not a model folder" in done.error) == (2, True)
    copy = tmp_path / "copy"
    shutil.copytree(model_folder, copy)
    _empty(copy / "model.safetensors")
    done = command("ask", clip, "What?", "--model", copy)
    assert (done.status, "damaged" in done.error) == (2, True)


def test_bad_rows_and_places_to_write(
    command: Command, model_folder: Path, clip: Path, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    assert "rows.jsonl: cannot be read" in command("eval", rows).error
    rows.write_text("{}\n")
    assert "rows.jsonl, line 1" in command("eval", rows).error
    row = {"video": str(clip), "question": "What?", "accept": ["dog"], "kind": "object"}
    rows.write_text(json.dumps(row))
    done = command("eval", rows, "--answers", tmp_path / "none" / "answers.jsonl")
    assert "answers.jsonl: cannot be written" in done.error
    done = command("compare", rows, rows)
    assert done.status == 2
    assert "rows.jsonl, line 1: 'answer' must be a text" in done.error
    (tmp_path / "file").write_text("in the way")
    done = command("see", clip, "-o", tmp_path / "file", "--model", model_folder)
    assert (done.status, "cannot write the adapter" in done.error) == (2, True)


def test_bad_recipes(command: Command, tmp_path: Path) -> None:
    assert "none.yaml: no such recipe" in command("train", tmp_path / "none.yaml").error
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nunknown: 1\n")
    done = command("train", recipe)
    assert done.status == 2
    assert "recipe.yaml" in done.error


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("ask",), "VIDEO_OR_ADAPTER"),
        (("ask", "x.mp4", "What?", "--merge-ratio", "1"), "below 1"),
        (("ask", "x.mp4", "What?", "--frames", "0"), "--frames"),
        (("ask", "x.mp4", "What?", "--temperature", "-1"), "--temperature"),
        (("see", "x.mp4"), "--output"),
        (("scenes", "-o", "out"), "--count"),
        (("dance",), "dance"),
        (("ask", "--loudly"), "--loudly"),
    ],
)
def test_wrong_usage_is_one_line_too(
    command: Command, arguments: tuple[str, ...], reason: str
) -> None:
    done = command(*arguments)
    assert done.status == 2
    assert reason in done.error
    assert "--help" in done.error


def test_an_unexpected_error_is_one_line_unless_asked_for(
    command: Command, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str | None) -> ViPE:
        raise RuntimeError("out of\n  everything")

    monkeypatch.setattr(source, "load_any_model", fail)
    done = command("ask", clip, "What?")
    assert done.status == 1
    assert done.error == "unexpected RuntimeError: out of everything; --debug shows the traceback"
    for arguments in (("--debug", "ask", clip, "What?"), ("ask", clip, "--debug", "What?")):
        done = command(*arguments)
        assert done.status == 1
        assert "Traceback" in done.err
    monkeypatch.setenv("VIPE_DEBUG", "1")
    assert "Traceback" in command("ask", clip, "What?").err


def test_a_question_may_look_like_an_option(
    command: Command, clip: Path, model_folder: Path
) -> None:
    arguments = ("ask", "--model", model_folder, "--max-new-tokens", 1, "--", clip, "--debug")
    assert command(*arguments).status == 0


def test_interrupted_is_130_and_silent(
    command: Command, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(name: str | None) -> ViPE:
        raise KeyboardInterrupt

    monkeypatch.setattr(source, "load_any_model", interrupt)
    done = command("ask", clip, "What?")
    assert (done.status, done.out, done.err) == (130, "", "")
