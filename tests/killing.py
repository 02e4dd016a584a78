"""Fills a store in processes that are killed at one change of the disk after another.

    python tests/killing.py MODEL_FOLDER ADAPTER CLIP STORES

Forks, from a process with no threads of its own, one child for each step; what the model would see
is in ADAPTER. Prints how many children were killed before one came to its end.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vipe import PerceptualWeights, ViPE
from vipe.store import Store

KILLED_AT = [(Path, "mkdir"), (Path, "rename"), (Path, "write_bytes"), (os, "fsync")]
KILLED_AT += [(shutil, "rmtree")]


def killed(step: int, work: Callable[[], object]) -> bool:
    """Do work in a process that is killed at its step-th change of the disk; False if it ends."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    left = [step]

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return call

    try:
        for owner, name in KILLED_AT:
            setattr(owner, name, deadly(getattr(owner, name)))
        work()
    finally:
        os._exit(0)


def main() -> None:
    folder, adapter, clip, stores = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    model: Any = ViPE.from_pretrained(folder)
    seen = PerceptualWeights.load(adapter)
    model.see = lambda *_, **__: seen
    step = 1
    while killed(step, partial(Store(stores / f"store-{step}").see, model, clip)):
        step += 1
    print(step - 1)


if __name__ == "__main__":
    main()
