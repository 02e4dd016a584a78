"""The README's commands and code, as written there; of all pages, see `test_docs.py`."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import pages
from vipe import ViPE

ROOT = pages.ROOT


def commands() -> list[list[str]]:
    """The words of each line of the `sh` blocks that is a command, from `uv run` on."""
    lines = [line for code, _ in pages.blocks("README.md", "sh") for line in code.splitlines()]
    return [shlex.split(line) for line in lines if line and not line.startswith("#")]


def test_the_two_commands_set_all_up_and_run_the_main_job_and_the_tests() -> None:
    both = commands()[:2]
    set_up = ["pip", "install", "uv", "&&", "uv", "run", "--python", "3.11"]
    assert [words[:8] for words in both] == [set_up, set_up]
    assert both[0][8:10] == ["vipe", "ask"]
    assert both[1][8:] == ["pytest", "-n", "2", "--dist", "worksteal"]


@pytest.mark.usefixtures("default_model")
def test_the_main_job_answers() -> None:
    words = commands()[0][8:]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_clip_of_the_command_is_small_and_the_projects_own() -> None:
    clip = ROOT / commands()[0][10]
    assert clip.is_relative_to(ROOT / "media")
    assert clip.stat().st_size < 2_000_000


def test_the_code_runs(
    default_model: ViPE,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "media").symlink_to(ROOT / "media")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ViPE, "from_pretrained", lambda: default_model)
    pages.run("README.md")
    assert capsys.readouterr().out.strip(), "an answer"
    assert (tmp_path / "scene-adapter" / "adapter_model.safetensors").is_file()


def test_the_scripts_that_are_named_exist() -> None:
    scripts = re.findall(r"((?:benchmarks|scripts)/\w+(?:\.\w+)?)", pages.text_of("README.md"))
    assert scripts
    for path in scripts:
        assert (ROOT / path).exists(), path
