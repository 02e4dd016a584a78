"""Checkpoints: everything comes back, a half-written one never takes the place of a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from vipe.errors import ModelError
from vipe.training import checkpoint
from vipe.training.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint


def make(seed: int = 0, width: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))
    return module, torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)


def step(module: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    module(x).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def save(folder: Path, at: int, made: tuple[nn.Module, torch.optim.Optimizer]) -> None:
    save_checkpoint(folder, step=at, module=made[0], optimizer=made[1])


def load(folder: Path, made: tuple[nn.Module, torch.optim.Optimizer]) -> int | None:
    return load_checkpoint(folder, module=made[0], optimizer=made[1])


def test_a_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    one = make()
    for seed in range(3):
        step(*one, seed)
    save(tmp_path / "run", 3, one)
    other = make(seed=9)
    assert load(tmp_path / "run", other) == 3
    for made in (one, other):
        for seed in range(3, 6):
            step(*made, seed)
    for name, value in one[0].state_dict().items():
        assert torch.equal(value, other[0].state_dict()[name]), name


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    made = make()
    assert load(tmp_path, made) is None
    save(tmp_path, 1, made)
    (tmp_path / ".checkpoint.pt.123.tmp").touch()
    remove_checkpoint(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert load(tmp_path, made) is None


def test_a_failed_save_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make()
    save(tmp_path, 1, made)

    def full(state: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        save(tmp_path, 2, made)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert load(tmp_path, made) == 1


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "another file"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    made = make()
    step(*made, 0)
    save(tmp_path, 1, made)
    path = tmp_path / "checkpoint.pt"
    whole = path.read_bytes()
    if damage == "another file":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no\n"}[damage])
    with pytest.raises(ModelError, match=f"^{path}: cannot resume") as error:
        load(tmp_path, made)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_model_is_named(tmp_path: Path) -> None:
    save(tmp_path, 1, make())
    with pytest.raises(ModelError, match=r"cannot resume from this checkpoint: .*size mismatch"):
        load(tmp_path, make(width=5))


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "done",))  # type: ignore[return-value]

    torch.save({"step": 1, "module": Harmful(), "optimizer": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(ModelError, match="cannot resume"):
        load(tmp_path, make())
    assert not (tmp_path / "done").exists()
