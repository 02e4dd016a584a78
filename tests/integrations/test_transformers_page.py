"""Every block of docs/huggingface.md, as written there, with a tiny model."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from transformers.pipelines import PIPELINE_REGISTRY

import media
import vipe.integrations.transformers
from vipe import ViPE
from vipe.seer import Seer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "huggingface.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
QUESTION = "What animal is in the video?"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> Path:
    """A folder with the clips that the page names, where the default model is the tiny one."""
    media.video(tmp_path / "dog.mp4", frames=30)
    media.video(tmp_path / "car.mp4", frames=7)
    monkeypatch.chdir(tmp_path)
    task = PIPELINE_REGISTRY.supported_tasks[vipe.integrations.transformers.pipeline.TASK]
    monkeypatch.setitem(task, "default", {"model": (str(model_folder), None)})
    return tmp_path


def test_there_are_blocks_of_python_alone() -> None:
    assert len(BLOCKS) == 5
    assert TEXT.count("```") == 2 * len(BLOCKS), "and each of them is run below"


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_runs(
    number: int,
    place: Path,
    model_folder: Path,
    saved_vipe: ViPE,
    capsys: pytest.CaptureFixture[str],
) -> None:
    block = BLOCKS[number]
    if "torchao" in block and importlib.util.find_spec("torchao") is None:
        pytest.skip("torchao is not installed: extra quantised")
    exec(compile(block, PAGE.name, "exec"), {"folder": str(model_folder)})
    said = capsys.readouterr().out
    if number == 0:
        answer = saved_vipe.ask(saved_vipe.see(place / "dog.mp4"), QUESTION)
        assert said.strip() == answer, "word for word"
    elif "print(" in block:
        assert said.strip()
    else:
        digest = Seer.named(model_folder).digest
        assert Seer.named(place / "my-vipe").digest == digest, "there and back"


def test_what_is_linked_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert links
    for link in links:
        assert (PAGE.parent / link).exists(), link
