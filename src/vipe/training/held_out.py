"""Training, step 5: what the run knows of held-out clips, as it goes."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from vipe.training.batches import Batch
from vipe.training.packing import IGNORE

if TYPE_CHECKING:
    from vipe.training.loop import Run


@torch.no_grad()
def evaluate(run: Run, *, answers: bool = True) -> dict[str, float]:
    """Look at held-out clips: the losses, and by kind the share of answers given word for word.

    An answer counts when each of its tokens is the likeliest after those before it, which is when
    greedy decoding gives it; of several right answers one is drawn, the same every time.
    """
    run.module.eval()
    ratio, alignment = run.recipe.config.merging.merge_ratio, run.recipe.alignment
    scores: dict[str, float] = {}
    for name, batches in run.held_out.items():
        (source, _), size = batches.sources[0], sum(count for _, count in run.train.sources)
        totals: dict[str, list[float]] = defaultdict(list)
        exact: dict[str, list[float]] = defaultdict(list)
        for start in range(0, run.recipe.held_out.clips, size):
            # No place beyond the last: the features of those before it are all there is.
            places = range(start, min(start + size, run.recipe.held_out.clips))
            clips = [source.clip(i % len(source)) for i in places]
            batch = batches.collate(clips, random.Random(start), ratio)
            queries = run.module.injection(batch.tokens)
            slots = run.module.perception.read(queries)
            if alignment.gist_steps:
                totals["gist_loss"].append(run.readers.gist_loss(queries.gist, batch.bags).item())
            if alignment.of_slots:
                totals["slot_loss"].append(run.readers.slot_loss(slots, batch.bags).item())
                totals["question_loss"].append(run.readers.question_loss(slots, batch.asked).item())
            if not answers:
                continue
            with run.language.attached(run.module.perception.decide(slots)):
                logits, labels = run.language(batch.rows)
            totals["loss"].append(F.cross_entropy(logits, labels).item())
            for kind, right in _exact(batch, logits.argmax(-1) == labels):
                exact[kind].append(right)
        for kind, values in [*totals.items(), *sorted(exact.items())]:
            scores[f"{name}/{kind}"] = sum(values) / len(values)
    return scores


def _exact(batch: Batch, right: torch.Tensor) -> list[tuple[str, float]]:
    """Whether every token of each turn is right."""
    row, column = (batch.rows.labels != IGNORE).nonzero(as_tuple=True)
    turn = batch.rows.turn[row, column]
    return [
        (asked.kind, float(right[(row == i) & (turn == number)].all()))
        for i, turns in enumerate(batch.rows.turns)
        for number, asked in enumerate(turns, start=1)
    ]
