"""A model's hash: the same in memory and on disk, another for any change; loaded when needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from vipe import ViPE
from vipe.errors import ModelError
from vipe.seer import IN_MEMORY, Seer


@pytest.fixture
def folder(tiny_vipe: ViPE, tmp_path: Path) -> Path:
    tiny_vipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_in_memory_is_its_folder_unless_saving_rounds(
    tiny_vipe: ViPE, folder: Path
) -> None:
    named, in_memory = Seer.of(folder), Seer.of(ViPE.from_pretrained(folder))
    assert named.digest == in_memory.digest != Seer.of(tiny_vipe).digest
    assert (named.name, in_memory.name) == (str(folder), IN_MEMORY)


def test_any_change_is_noticed_and_a_copy_is_none(folder: Path, tmp_path: Path) -> None:
    digests = [Seer.of(folder).digest]
    assert Seer.of(str(shutil.copytree(folder, tmp_path / "copy"))).digest == digests[0]
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"frames": 7}))
    digests.append(Seer.of(folder).digest)
    model = ViPE.from_pretrained(folder)
    with torch.no_grad():
        next(model.video_to_weights.parameters()).add_(1 / 3)
    digests.append(Seer.of(model).digest)
    model.save_pretrained(folder)  # rounds
    digests.append(Seer.of(folder).digest)
    assert len(set(digests)) == 4


def test_it_is_loaded_once_and_only_to_see(folder: Path) -> None:
    loaded: list[str] = []

    def load(name: str) -> ViPE:
        loaded.append(name)
        return ViPE.from_pretrained(name)

    seer = Seer.named(folder, load=load)
    assert (loaded, seer.config.frames) == ([], 6)
    assert seer.model is seer.model
    assert loaded == [str(folder)]


def test_a_model_that_changes_before_it_is_loaded_is_refused(folder: Path) -> None:
    seer = Seer.of(folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"frames": 7}))
    with pytest.raises(ModelError, match="has changed"):
        seer.model  # noqa: B018


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gone"):
        Seer.of(tmp_path / "gone")
