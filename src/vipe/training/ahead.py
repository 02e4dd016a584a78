"""Training, beside steps 1 and 2: what is needed next is made while the last is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

What = TypeVar("What")
Made = TypeVar("Made")


@dataclass(frozen=True)
class _Of(Dataset[Made], Generic[What, Made]):
    """What a function makes of each of some things, as PyTorch's loader asks for it."""

    make: Callable[[What], Made]
    of: list[What]

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, index: int) -> Made:
        return self.make(self.of[index])


def made_ahead(
    make: Callable[[What], Made], of: Iterable[What], workers: int = 0, *, ahead: int = 1
) -> Iterator[Made]:
    """Yield what a function makes of each of some things, in order.

    Args:
        make: Called once for each; in other processes it works on copies of what it knows, and
            must not use a GPU.
        of: The things; without workers it may have no end.
        workers: Processes that share the work, each two things ahead; 0 for one thread, which is
            all that Python has use for.
        ahead: How many things the thread is ahead.
    """
    if workers:
        things = list(of)
        loader = DataLoader(
            _Of(make, things),
            batch_size=None,
            num_workers=min(workers, max(1, len(things))),
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # the usual one draws the model's weights
            multiprocessing_context="fork",  # they share the features that are in memory
        )
        yield from loader
        return
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for thing in of:
                waiting.append(pool.submit(make, thing))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # an error, or nobody wants more: what was not begun is not made
            for future in waiting:
                future.cancel()


def _as_it_is(made: Made) -> Made:
    return made
