"""Evaluation, cost: the highest memory of a block."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


@contextmanager
def peak_memory(device: torch.device) -> Iterator[list[int | None]]:
    """Yield a list whose one entry becomes the highest memory of the block, in bytes.

    Args:
        device: On a GPU it is what PyTorch holds there; else the process's, None where the system
            does not tell.
    """
    peak: list[int | None] = [None]
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak[0] = torch.cuda.max_memory_allocated(device)
        return
    told = sys.platform.startswith("linux") and _forget_peak()
    yield peak
    if told:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        peak[0] = int(line.split()[1]) * 1024


def free_memory(device: torch.device) -> None:
    """Give back what nobody holds any longer."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _forget_peak() -> bool:
    """Give freed memory back and let the kernel count the peak anew; whether it does."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return False
    return True
