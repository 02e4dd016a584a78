"""Evaluation, cost: operations and times of ViPE and its twins, at several lengths of video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vipe.evaluation.operations import METHODS, Counter, Method, Operations
from vipe.evaluation.timing import Stopwatch, Times


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one method costs at one length.

    Attributes:
        method: See `METHODS`.
        frames: Of the video.
        operations: What is computed.
        times: What it takes here; None where it was not timed.
    """

    method: Method
    frames: int
    operations: Operations
    times: Times | None = None


def measure(
    counter: Counter,
    stopwatch: Stopwatch | None,
    frames: Sequence[int],
    *,
    methods: Sequence[Method] = METHODS,
    patience: float = 120.0,
    progress: Callable[[int, int], None] | None = None,
    found: Callable[[list[Cost]], None] | None = None,
) -> list[Cost]:
    """Measure every method at every length, from the shortest on.

    Args:
        counter: Counts the operations.
        stopwatch: Takes the times; None for operations alone.
        frames: Lengths in frames.
        methods: What is measured.
        patience: Seconds; a method whose first token is foretold to take longer, from its
            operations and its speed at the length before, is not timed.
        progress: Called with (lengths done, all).
        found: Called with the costs at each length, as soon as they are known.
    """
    costs: list[Cost] = []
    last: dict[Method, tuple[int, float]] = {}
    for done, length in enumerate(sorted(set(frames))):
        if progress is not None:
            progress(done, len(set(frames)))
        counted = {method: counter.count(method, length) for method in methods}
        timed: dict[Method, Times] = {}
        if stopwatch is not None:
            within = [
                method
                for method in methods
                if _foretold(counted[method].prompt, last.get(method)) <= patience
            ]
            timed = stopwatch.time(within, length)
            last = {m: (counted[m].prompt, times.first_token) for m, times in timed.items()}
            # What was too slow once is too slow for all that is longer.
            last |= {m: (1, float("inf")) for m in methods if m not in timed}
        new = [
            Cost(
                method=method,
                frames=length,
                operations=counted[method],
                times=timed.get(method),
            )
            for method in methods
        ]
        if found is not None:
            found(new)
        costs += new
    return costs


def _foretold(operations: int, last: tuple[int, float] | None) -> float:
    return 0.0 if last is None else operations / last[0] * last[1]


def as_json(costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """Return plain values, one object a method and length; seconds are None where not timed."""
    names = ("see", "first_token", "token", "end_to_end", "peak_bytes")
    return [
        {"method": cost.method, "frames": cost.frames, **asdict(cost.operations)}
        | {
            (name if name == "peak_bytes" else f"{name}_seconds"): (
                None if cost.times is None else getattr(cost.times, name)
            )
            for name in names
        }
        for cost in costs
    ]
