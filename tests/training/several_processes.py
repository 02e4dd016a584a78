"""What each of the processes that `test_processes.py` starts does: runs, one after another.

The argument is a JSON file: a list of the values of each run's recipe and where it stops.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

if __name__ == "__main__":  # before what it checks is imported
    import jaxtyping

    jaxtyping.install_import_hook("vipe", "beartype.beartype")

import torch

import tiny
from vipe.training import loop, sources
from vipe.training.recipe import Recipe


def go(values: dict[str, Any], stop_before: int | None = None) -> None:
    """Do a run on plain colours; before a step, from 0, all processes may stop as if killed."""
    taken, threads = loop.train_step, torch.get_num_threads()

    def train_step(run: loop.Run, batch: Any, step: int, *rest: Any, **last: Any) -> Any:
        if step == stop_before:
            raise KeyboardInterrupt
        return taken(run, batch, step, *rest, **last)

    with (
        mock.patch.object(loop, "train_step", train_step),
        mock.patch.object(loop.RunLog, "plot"),  # half of a tiny run's time
        mock.patch.object(sources.Scenes, "build", return_value=tiny.ColourClips()),
    ):
        try:
            torch.set_num_threads(1)  # as torchrun does
            loop.train(Recipe.model_validate(values), tiny.Quiet())
        except KeyboardInterrupt:
            assert stop_before is not None
        else:
            assert stop_before is None
        finally:
            torch.set_num_threads(threads)


if __name__ == "__main__":
    for values, stop_before in json.loads(Path(sys.argv[1]).read_text()):
        go(values, stop_before)
        assert torch.distributed.get_backend() == "gloo"  # two processes, on CPUs alone
