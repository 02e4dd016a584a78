"""Rows of A by ridge regressions, and the answers that they are learned from."""

from __future__ import annotations

from typing import Any

import torch
from torch.testing import assert_close

from vipe.training.asked import Ridge, answers
from vipe.training.packing import IGNORE


def test_answers_are_the_trained_tokens_in_order(run: Any) -> None:
    targets = list(run.module.perception.targets)[:2]
    found = answers(run, run.method, targets, 2)
    labels = torch.cat(
        [b.rows.labels[b.rows.labels != IGNORE] for b in map(run.train.__getitem__, (0, 1))]
    )
    assert [said.token for said in found.said] == labels.tolist()
    for target in targets:
        assert len(found.read[target]) == len(labels)
    tokenizer = run.train.packer.tokenizer
    for one, after in zip(found.said, found.said[1:], strict=False):
        assert after.before in ("", one.before + tokenizer.decode([one.token]))
    asked = {
        turn.question
        for b in (run.train[0], run.train[1])
        for turns in b.rows.turns
        for turn in turns
    }
    assert {said.question for said in found.said} == asked


def test_rows_give_what_is_wanted_where_it_is_and_nothing_elsewhere() -> None:
    torch.manual_seed(0)
    wanted = torch.randn(400, 3)
    where = torch.zeros(400, dtype=torch.bool)
    where[:150] = True
    others = torch.zeros(400, dtype=torch.bool)
    others[150:300] = True
    # What is read says both, next to much else, on scales of its own.
    read = torch.cat([wanted * where[:, None], where[:, None].float(), torch.randn(400, 5)], dim=1)
    read = read @ torch.linalg.qr(torch.randn(9, 9)).Q * torch.logspace(-2, 2, 9)
    of = torch.where(where, 0, torch.where(others, 1, -1))
    rows = Ridge(read, of, weights=(1e5, 1e5), slack=1e-3).rows(0, wanted[where])
    given = read @ rows.T
    assert rows.shape == (3, 9)
    assert_close(given[where], wanted[where], rtol=0.05, atol=0.05)
    assert given[~where].abs().max() < 0.1
