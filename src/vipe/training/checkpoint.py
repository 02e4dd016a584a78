"""Training, checkpoints: everything a run needs to go on exactly, written atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vipe.errors import ModelError
from vipe.training.shards import module_parts, optimizer_parts, whole

_FILE = "checkpoint.pt"


def save_checkpoint(
    folder: Path,
    *,
    step: int,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    writes: bool = True,
) -> None:
    """Write a checkpoint; the one before stays until this one is whole.

    Batches, learning rate and merge ratio are functions of the step, so the step, the weights and
    the optimiser's state are all there is.

    Args:
        folder: The run's.
        step: Steps done.
        module: What is trained.
        optimizer: Trains it.
        writes: Whether this process does; of several, all gather what they hold parts of.
    """
    state = whole(
        {"step": step, "module": module.state_dict(), "optimizer": optimizer.state_dict()},
        keep=writes,
    )
    if not writes:
        return
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{_FILE}.{os.getpid()}.tmp"
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / _FILE)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, *, module: nn.Module, optimizer: torch.optim.Optimizer
) -> int | None:
    """Put a run back to its last checkpoint.

    Returns:
        The number of steps done, or None where there is no checkpoint.

    Raises:
        ModelError: The checkpoint is damaged or belongs to another model.
    """
    path = folder / _FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        module.load_state_dict(module_parts(state["module"], module.state_dict()))
        optimizer.load_state_dict(optimizer_parts(state["optimizer"], optimizer))
        return int(state["step"])
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: cannot resume from this checkpoint: {reason}") from error


def remove_checkpoint(folder: Path) -> None:
    """Delete a run's checkpoint, and what a killed run left of one."""
    for path in [folder / _FILE, *folder.glob(f".{_FILE}.*.tmp")]:
        path.unlink(missing_ok=True)
