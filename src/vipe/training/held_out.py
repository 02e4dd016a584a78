"""Training, step 5: what the run knows of held-out clips, as it goes."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from vipe.training.batches import Batch
from vipe.training.packing import IGNORE

if TYPE_CHECKING:
    from vipe.training.run import Run


@torch.no_grad()
def evaluate(run: Run, step: int) -> dict[str, float]:
    """Look at held-out clips: the losses, and by kind the share of answers given word for word.

    What the steps so far have not trained is not looked at. An answer counts when each of its
    tokens is the likeliest after those before it, which is when greedy decoding gives it; of
    several right answers one is drawn, the same every time.
    """
    run.module.eval()
    # Compiled layers would be compiled once more, for batches without gradients.
    with torch.compiler.set_stance("force_eager"):
        return _scores(run, step)


def _scores(run: Run, step: int) -> dict[str, float]:
    ratio = run.recipe.config.merging.merge_ratio
    scores: dict[str, float] = {}
    for name, batches in run.held_out.items():
        source, size = batches.sources[0], sum(run.train.phases[-1].clips)
        totals: dict[str, list[float]] = defaultdict(list)
        for start in range(0, run.recipe.held_out.clips, size):
            # No place beyond the last: the features of those before it are all there is.
            places = range(start, min(start + size, run.recipe.held_out.clips))
            clips = [source.clip(i % len(source)) for i in places]
            kinds = [run.recipe.held_out.rows] * len(clips)
            batch = batches.collate(clips, random.Random(start), ratio, kinds)
            for kind, value in _look(run, batch, step):
                totals[kind].append(value)
        scores |= {f"{name}/{kind}": sum(values) / len(values) for kind, values in totals.items()}
    return scores


def _look(run: Run, batch: Batch, step: int) -> Iterator[tuple[str, float]]:
    """The losses of one batch, then every answer's kind and whether it is right."""
    losses, right = run.method.look(batch, step)
    yield from losses.items()
    if right is not None:
        yield from sorted(_exact(batch, right))


def _exact(batch: Batch, right: torch.Tensor) -> list[tuple[str, float]]:
    """Whether every token of each turn is right."""
    row, column = (batch.rows.labels != IGNORE).nonzero(as_tuple=True)
    turn = batch.rows.turn[row, column]
    return [
        (asked.kind, float(right[(row == i) & (turn == number)].all()))
        for i, turns in enumerate(batch.rows.turns)
        for number, asked in enumerate(turns, start=1)
    ]
