"""Training, where recollection comes in: what late layers read where answers are said.

Dimensions: t tokens of answers, i a target's inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vipe.training.packing import IGNORE

if TYPE_CHECKING:
    from vipe.training.batches import Batch
    from vipe.training.methods import WritesWeights
    from vipe.training.run import Run


class Said(NamedTuple):
    """A token of an answer.

    Attributes:
        question: What it answers.
        before: The answer's text so far.
        token: Its number.
    """

    question: str
    before: str
    token: int


class Answers(NamedTuple):
    """Answers of some batches, under their videos' weights.

    Attributes:
        read: Of each target `(t, i)`, what it reads where a token is due.
        said: The tokens.
    """

    read: dict[str, Float[Tensor, "t i"]]
    said: list[Said]


@torch.no_grad()
def answers(run: Run, method: WritesWeights, targets: Sequence[str], batches: int) -> Answers:
    """Collect the answers of a run's first batches."""
    tokenizer: Any = run.train.packer.tokenizer
    read: dict[str, list[Tensor]] = {target: [] for target in targets}
    said: list[Said] = []
    method.eval()
    for step in range(batches):
        batch = run.train[step]
        for target, inputs in zip(targets, method.reads(batch, targets), strict=True):
            read[target].append(inputs.half())
        said += _said(batch, tokenizer)
    return Answers({target: torch.cat(found) for target, found in read.items()}, said)


def _said(batch: Batch, tokenizer: Any) -> list[Said]:
    rows = batch.rows
    row, column = (rows.labels != IGNORE).nonzero(as_tuple=True)
    found: list[Said] = []
    last, so_far = (-1, -1), list[int]()
    for at, place in zip(row.tolist(), column.tolist(), strict=True):
        turn, token = int(rows.turn[at, place]), int(rows.labels[at, place])
        if (at, turn) != last:
            last, so_far = (at, turn), []
        question = rows.turns[at][turn - 1].question
        found.append(Said(question, tokenizer.decode(so_far), token))
        so_far.append(token)
    return found


class Ridge:
    """Finds rows of A that give what is wanted, by ridge regressions on what a target reads.

    Args:
        x: What it reads.
        slack: How small rows are kept.
    """

    def __init__(self, x: Float[Tensor, "t i"], *, slack: float) -> None:
        unit = x.double()
        self._spread = unit.square().mean(dim=0).sqrt().clamp_min(1e-6)
        self._unit = unit / self._spread
        self._every = self._unit.T @ self._unit
        self._every.diagonal().add_(slack)

    def rows(
        self,
        wanted: Float[Tensor, "t q"],
        own: Bool[Tensor, " t"],
        others: Bool[Tensor, " t"],
        *,
        weights: tuple[float, float],
    ) -> Float[Tensor, "q i"]:
        """Return rows that give what is wanted where they are asked, and 0 elsewhere.

        Args:
            wanted: What they are to give.
            own: Where they are asked.
            others: Where they are not, and are most easily thought to be.
            weights: What all tokens of each count together, beside 1 for every token.
        """
        moments, (mine, theirs) = self._every, weights
        for part, weight in ((own, mine), (others, theirs)):
            unit = self._unit[part]
            moments = moments + weight / max(1, len(unit)) * unit.T @ unit
        unit = self._unit[own]
        given = mine / max(1, len(unit)) * unit.T @ wanted[own].double()
        return (torch.linalg.solve(moments, given).T / self._spread).float()
