"""`vipe language-model` and `vipe gguf`: paths on stdout, errors in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from vipe import ViPE


@pytest.fixture
def adapter(tiny_vipe: ViPE, tmp_path: Path) -> Path:
    tiny_vipe.see(tiny.frames(4, size=64)).save(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_language_model(command: Callable[..., Any], model_folder: Path, tmp_path: Path) -> None:
    done = command("language-model", "--model", model_folder, "-o", tmp_path / "lm")
    assert (done.status, done.out, done.err) == (0, f"{tmp_path / 'lm'}\n", "")
    assert (tmp_path / "lm" / "chat_template.jinja").is_file()
    again = command("language-model", "--model", model_folder, "-o", tmp_path / "lm")
    assert again.status == 2
    assert again.error == f"{tmp_path / 'lm'}: exists; give a new folder for the language model"


def test_gguf(command: Callable[..., Any], adapter: Path, tmp_path: Path) -> None:
    done = command("gguf", adapter, "-o", tmp_path / "dog.gguf")
    assert (done.status, done.out) == (0, f"{tmp_path / 'dog.gguf'}\n")
    assert (tmp_path / "dog.gguf").read_bytes()[:4] == b"GGUF"
    gone = command("gguf", tmp_path / "gone", "-o", tmp_path / "gone.gguf")
    assert (gone.status, gone.error) == (2, f"{tmp_path / 'gone'}: no such adapter folder")
