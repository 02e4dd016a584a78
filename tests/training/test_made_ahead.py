from __future__ import annotations

import itertools
import os
import threading
import time

import pytest
import torch

from vipe.training.ahead import made_ahead


@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_whatever_takes_longer(workers: int) -> None:
    def make(number: int) -> torch.Tensor:
        time.sleep(0.02 * (number % 3))
        return torch.full((2,), number)

    made = list(made_ahead(make, range(7), workers))
    assert torch.equal(torch.stack(made)[:, 0], torch.arange(7))
    assert list(made_ahead(make, [], workers)) == []


def test_workers_are_other_processes() -> None:
    makers = set(made_ahead(lambda _: os.getpid(), range(6), 2))
    assert len(makers - {os.getpid()}) == 2


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_thread_is_so_far_ahead_and_no_further(ahead: int) -> None:
    begun: list[int] = []
    gate = threading.Semaphore(0)

    def make(number: int) -> int:
        begun.append(number)
        gate.release()
        return number

    things = itertools.count()
    made = made_ahead(make, things, ahead=ahead)
    assert next(made) == 0
    for _ in range(ahead + 1):
        assert gate.acquire(timeout=5)
    assert begun == list(range(ahead + 1))
    assert next(things) == ahead + 1


def test_what_nobody_wants_any_longer_is_not_made() -> None:
    begun: list[int] = []

    def make(number: int) -> int:
        begun.append(number)
        time.sleep(0.05)
        return number

    made = made_ahead(make, range(100), ahead=50)
    assert next(made) == 0
    made.close()  # type: ignore[attr-defined]
    assert len(begun) < 50


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_raised_where_it_was_made(workers: int) -> None:
    def make(number: int) -> int:
        return 1 // (2 - number)

    made = made_ahead(make, range(4), workers)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)
