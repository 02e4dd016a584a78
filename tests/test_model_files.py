"""Model folders: there and back, whole or not at all, and one line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from vipe import model_files
from vipe.config import ViPEConfig
from vipe.errors import ModelError
from vipe.merging import MergeConfig
from vipe.model_digest import digest_of, digest_of_folder
from vipe.model_files import (
    load_weights,
    read_config,
    resolve_folder,
    save_model,
)

CONFIG = ViPEConfig(merging=MergeConfig(budget=99), frames=3)


def module(width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), nn.LayerNorm(width))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "model"
    save_model(folder, CONFIG, module().state_dict())
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_there_and_back_rounded_to_bfloat16(tmp_path: Path) -> None:
    saved, loaded, folder = module(), module(), tmp_path / "new" / "model"
    save_model(folder, CONFIG, saved.state_dict())
    assert names(folder) == ["config.json", "model.safetensors"]
    assert names(folder.parent) == ["model"]
    assert read_config(folder) == CONFIG
    load_weights(folder, CONFIG, loaded)
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, saved.state_dict()[name].bfloat16().float())
    # What was loaded is saved without a further loss.
    save_model(folder, CONFIG, loaded.state_dict())
    load_weights(str(folder), CONFIG, saved)
    assert all(torch.equal(v, loaded.state_dict()[k]) for k, v in saved.state_dict().items())
    assert names(folder.parent) == ["model"]


def test_parts_alone_are_loaded_as_far_as_the_model_has_them(folder: Path) -> None:
    loaded = nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(7))
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    renamed = nn.ModuleDict({"there": nn.Linear(4, 5)})
    load_weights(folder, CONFIG, renamed, only={"0": "there"})
    load_weights(folder, CONFIG, loaded, only={"0": "0", "2": "2"})
    after = loaded.state_dict()
    assert not torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["0.weight"], renamed.state_dict()["there.weight"])
    assert torch.equal(after["1.weight"], before["1.weight"])
    linear = nn.Linear(4, 5)
    load_weights(folder, CONFIG, linear, only={"0.bias": "bias"})  # a part need be no module
    assert torch.equal(linear.bias, after["0.bias"])
    assert not torch.equal(linear.weight, after["0.weight"])
    with pytest.raises(ModelError, match=r"model\.safetensors: has no 3 or 10 that the model"):
        load_weights(folder, CONFIG, loaded, only={"3": "3", "10": "10"})
    with pytest.raises(ModelError, match="does not fit its model's config"):
        load_weights(folder, CONFIG, loaded, only={"1": "1"})


def test_a_failed_save_leaves_the_folder_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(model_files, "save", full)
    with pytest.raises(OSError, match="no space"):
        save_model(folder, CONFIG, module().state_dict())
    monkeypatch.undo()
    rename = Path.rename
    monkeypatch.setattr(
        Path, "rename", lambda p, to: full() if p.suffix == ".tmp" else rename(p, to)
    )
    with pytest.raises(OSError, match="no space"):
        save_model(folder, CONFIG, module().state_dict())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert names(folder.parent) == ["model"]


def test_what_else_is_in_the_folder_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "README.md").write_text("A card.")
    (folder / "notes").mkdir()
    (folder / "notes" / "one.txt").write_text("One.")
    save_model(folder, CONFIG, module().state_dict())
    monkeypatch.chdir(folder)
    save_model(Path(), CONFIG, module().state_dict())
    assert names(folder) == ["README.md", "config.json", "model.safetensors", "notes"]
    assert (folder / "notes" / "one.txt").read_text() == "One."
    assert names(folder.parent) == ["model"]


def test_what_it_says_for_transformers_is_no_part_of_its_hash(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    assert values.pop("model_type") == "vipe"
    digest = digest_of_folder(folder)
    assert digest == digest_of(CONFIG, load_file(folder / "model.safetensors"))
    for about in ({}, {"transformers_version": "5.23.0", "architectures": ["ViPEModel"]}):
        (folder / "config.json").write_text(json.dumps(values | about, indent=2) + "\n")
        assert read_config(folder) == CONFIG
        assert digest_of_folder(folder) == digest
    (folder / "config.json").write_text(json.dumps(values | {"frames": 4}, indent=2) + "\n")
    assert digest_of_folder(folder) != digest


def test_where_a_model_is_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_folder(folder) == resolve_folder(str(folder)) == folder
    monkeypatch.setattr(model_files, "default_folder", lambda: folder)
    assert resolve_folder(None) == resolve_folder("default") == folder


@pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", "nobody/nothing"])
def test_a_model_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=name) as error:
        resolve_folder(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(ModelError, match=f"{folder}: not a model folder: it has no {file}"):
        resolve_folder(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a model config"),
        (b"{", "not a model config"),
        (b"\xff\xfe", "not a model config"),
        (b"[]", "no JSON object"),
        (b'{"layers": 3}', "unknown key 'layers'"),
        (b'{"merging": {"budget": 0}}', "merging: .*at least 1"),
        (b'{"merging": [1]}', "merging must be a mapping"),
    ],
)
def test_a_damaged_config_is_named(folder: Path, content: bytes, said: str) -> None:
    path = folder / "config.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"{path}: .*{said}") as error:
        read_config(folder)
    assert "\n" not in str(error.value)


def test_damaged_weights_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for content in (b"", whole[:-7], b"text" * 99):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=f"{path}: damaged") as error:
            load_weights(folder, CONFIG, module())
        assert "\n" not in str(error.value)


def test_weights_of_another_shape_are_named(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.safetensors: does not fit") as error:
        load_weights(folder, CONFIG, module(width=6))
    assert "\n" not in str(error.value)
    with pytest.raises(ModelError, match=r"model\.safetensors: does not fit"):
        load_weights(folder, CONFIG, nn.Linear(4, 5))


def test_the_config_is_readable(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    assert text.startswith('{\n  "model_type": "vipe",\n  "language_model"')
    assert text.endswith("}\n")
    assert json.loads(text)["merging"]["budget"] == 99
