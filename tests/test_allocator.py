"""The allocator's setting: harmless, however often and wherever."""

from __future__ import annotations

import ctypes
import sys

import pytest
import torch

from vipe.allocator import keep_freed_memory


def test_tensors_come_and_go_afterwards() -> None:
    keep_freed_memory()
    keep_freed_memory()
    for _ in range(3):
        block = torch.ones(1 << 20)
        assert block.sum() == 1 << 20


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail(f"{name} was opened"))
    keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", absent)
    keep_freed_memory()
