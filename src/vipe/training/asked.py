"""Training, where recollection comes in: what late layers read where answers are said.

Dimensions: t tokens of answers, i a target's inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vipe.training.packing import IGNORE, Packer, Turn

if TYPE_CHECKING:
    from vipe.training.batches import Batch
    from vipe.training.run import Run
    from vipe.training.writes_weights import WritesWeights


_BESIDE, _TURNS = 3, 16
"""Rows of what is asked besides are so many times as long, and hold at most so many turns."""


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
def answers(
    run: Run,
    method: WritesWeights,
    targets: Sequence[str],
    batches: int,
    beside: Iterator[Turn] | None = None,
) -> Answers:
    """Collect the answers of a run's first batches.

    Args:
        run: Whose.
        method: Its method.
        targets: That read.
        batches: How many.
        beside: What the videos are asked besides, whatever they show, to the answers given.
    """
    tokenizer: Any = run.train.packer.tokenizer
    packer = Packer(tokenizer, _BESIDE * run.recipe.row_tokens)
    read: dict[str, list[Tensor]] = {target: [] for target in targets}
    said: list[Said] = []
    method.eval()
    for step in range(batches):
        batch = run.train[step]
        asked = [batch]
        if beside is not None:
            turns = [list(islice(beside, _TURNS)) for _ in batch.rows.turns]
            asked.append(replace(batch, rows=packer.pack(turns)))
        for one in asked:
            for target, inputs in zip(targets, method.reads(one, targets), strict=True):
                read[target].append(inputs.half().cpu())
            said += _said(one, tokenizer)
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
        of: What is asked for at each token, by number; -1 where nothing is.
        weights: What all tokens at which a row is asked count together, and those of all other
            rows, beside 1 for every token.
        slack: How small rows are kept.
    """

    def __init__(
        self,
        x: Float[Tensor, "t i"],
        of: Int[Tensor, " t"],
        *,
        weights: tuple[float, float],
        slack: float,
    ) -> None:
        self._spread = x.float().square().mean(dim=0).sqrt().clamp_min(1e-6)
        self._x, self._of, self._weights = x, of, weights
        self._own = {number: self._moments(of == number) for number in of.unique().tolist()}
        self._every = sum(self._own.values(), start=torch.zeros(()))
        self._every.diagonal().add_(slack)
        self._asked = self._every - self._own.get(-1, torch.zeros(()))
        self._asked.diagonal().sub_(slack)

    def rows(self, number: int, wanted: Float[Tensor, "own q"]) -> Float[Tensor, "q i"]:
        """Return rows that give what is wanted where one thing is asked for, and 0 elsewhere.

        Args:
            number: Of what is asked for.
            wanted: What they are to give there, token by token.
        """
        own = self._of == number
        count, others = int(own.sum()), int(((self._of >= 0) & ~own).sum())
        mine, theirs = (w / max(1, n) for w, n in zip(self._weights, (count, others), strict=True))
        moments = self._every + mine * self._own[number]
        moments = moments + theirs * (self._asked - self._own[number])
        given = mine * self._unit(own).T @ wanted.float()
        return (torch.linalg.solve(moments.double(), given.double()).T / self._spread).float()

    def _unit(self, some: Bool[Tensor, " t"]) -> Float[Tensor, "some i"]:
        return self._x[some].float() / self._spread

    def _moments(self, some: Bool[Tensor, " t"]) -> Float[Tensor, "i i"]:
        found = torch.zeros(self._x.shape[1], self._x.shape[1])
        for part in self._unit(some).split(8192):
            found += part.T @ part
        return found
