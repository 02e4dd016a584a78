"""Training, before a look at held-out clips or a save: the norms' statistics made exact.

`VideoNorm` keeps running statistics of what it normalises. What all videos share has no gradient
there, so it drifts as fast as the learning rate lets it, and an average over past steps lags
behind: after 500 steps the slots of a held-out batch had a standard deviation of 2.4 in place of
1, and the loss was 5.0 in place of 3.0. So the statistics are computed anew from the latest
batches and the present weights (Wu and Johnson, "Rethinking 'Batch' in BatchNorm", 2021, sect. 3:
precise BatchNorm).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from vipe.training.run import Run

_BATCHES = 8


@torch.no_grad()
def calibrate(run: Run, steps: int) -> None:
    """Compute the statistics of the norms over the last batches of so many steps."""
    norms = [norm for norm in norms_of(run.module) if learns(norm)]
    if not norms:
        return
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches that follow
    set_to_train(run.module)
    last = steps * run.processes.batches
    for place in range(max(0, last - _BATCHES), last):
        rewards = run.rewarded if steps > run.recipe.alignment.before else None
        also = None if rewards is None else rewards[place]
        run.method.normalise(run.train[place].tokens_with(also), steps)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum


def norms_of(module: nn.Module) -> list[nn.BatchNorm1d]:
    """Return the norms that keep statistics over videos."""
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm1d)]


def learns(norm: nn.BatchNorm1d) -> bool:
    """Whether a norm is of a part that is trained."""
    return bool(norm.weight.requires_grad)


def set_to_train(module: nn.Module) -> None:
    """Set a module to training, but the norms of parts that stay as they are."""
    module.train()
    for norm in norms_of(module):
        norm.train(learns(norm))
