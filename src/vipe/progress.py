"""Beside the flow: how far something is, on stderr: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import Any, Protocol, runtime_checkable

FIRST_LINE, BETWEEN_LINES = 2.0, 10.0  # seconds
_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")  # of torchrun and mpirun


def first_process() -> bool:
    """Whether this is the only process, or the first of those that a launcher started."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


@runtime_checkable
class Bar(Protocol):
    """Something that shows how far the work is."""

    def show(self, what: str, done: int = 0, total: int | None = None, *, values: str = "") -> None:
        """Say what is going on, and how much of it is done where that is known."""
        ...

    def note(self, text: str) -> None:
        """Write a line that stays."""
        ...

    def result(self, text: str) -> None:
        """Write a line of output to stdout."""
        ...


class NoBar:
    """Shows nothing: what all but one of several processes have."""

    def show(self, what: str, done: int = 0, total: int | None = None, *, values: str = "") -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Write nothing."""

    def result(self, text: str) -> None:
        """Write nothing."""


@contextmanager
def progress(*, shown: bool = True) -> Iterator[Bar]:
    """Show on stderr how far the work inside a `with` block is.

    On a terminal a bar is drawn, and gone when the block ends. Elsewhere nothing is written in the
    first two seconds, and then a line every ten at most.

    Args:
        shown: Whether it is shown at all: of several processes, one does.
    """
    if not shown:
        yield NoBar()
        return
    with _on_terminal() if sys.stderr.isatty() else _in_lines() as bar:
        yield bar


class TrainingProgress:
    """Shows how a training run goes: an `Observer` of `vipe.training.run`.

    Args:
        bar: What to show it on.
    """

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def encoding(self, done: int, total: int) -> None:
        """So many of the entries have their features."""
        self._bar.show("encoding", done, total)

    def step(self, step: int, total: int, values: dict[str, float]) -> None:
        """A step is done."""
        losses = [name for name in ("loss", "slot_loss", "gist_loss") if name in values]
        parts = [f"{name.replace('_', ' ')} {values[name]:.3f}" for name in losses[:1]]
        for name, unit in (
            ("tokens_per_second", "tokens/s"),
            ("examples_per_second", "examples/s"),
        ):
            if name in values:
                parts.append(f"{values[name]:,.{0 if values[name] >= 10 else 1}f} {unit}")
        self._bar.show("training", step, total, values=", ".join(parts))

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        """The held-out clips were looked at."""
        scores = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        self._bar.note(f"step {step}: {scores}")


class _Pace:
    """Estimates the time left from how fast `done` has grown since this piece of work began."""

    def __init__(self) -> None:
        self._what: str | None = None
        self._start = self._last = (0.0, 0)

    def left(self, what: str, done: int, total: int | None) -> float | None:
        """Take note of how far it is; return the seconds left, None where they are not known."""
        now = (monotonic(), done)
        if what != self._what or done < self._last[1]:
            self._what, self._start = what, now
        self._last = now
        if total is None or done <= self._start[1]:
            return None
        return (total - done) * (now[0] - self._start[0]) / (done - self._start[1])


def _describe(done: int, total: int | None, values: str, left: float | None) -> str:
    parts = [f"{done}/{total}"] if total is not None else []
    parts += [values] if values else []
    if left is not None:
        minutes, seconds = divmod(round(left), 60)
        parts.append(f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d} left")
    return ", ".join(parts)


@contextmanager
def _on_terminal() -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns: tuple[Any, ...] = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[text]}", markup=False),
    )
    pace = _Pace()
    console = Console(stderr=True)
    # Not stdout: it would be sent to the bar's stream, and so away from a file or pipe.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bars:
        task = bars.add_task("", total=None, text="")

        class TerminalBar:
            def show(
                self, what: str, done: int = 0, total: int | None = None, *, values: str = ""
            ) -> None:
                text = _describe(done, total, values, pace.left(what, done, total))
                if bars.tasks[0].total != total:
                    bars.reset(task, total=total)
                bars.update(task, description=what, completed=done, text=text)

            def note(self, text: str) -> None:
                console.print(text, markup=False, highlight=False)

            def result(self, text: str) -> None:
                if sys.stdout.isatty():  # the same screen, above the bar
                    self.note(text)
                else:
                    print(text, flush=True)

        yield TerminalBar()


@contextmanager
def _in_lines() -> Iterator[Bar]:
    pace, ended = _Pace(), Event()
    latest = ""

    class Lines:
        def show(
            self, what: str, done: int = 0, total: int | None = None, *, values: str = ""
        ) -> None:
            nonlocal latest
            text = _describe(done, total, values, pace.left(what, done, total))
            latest = f"vipe: {what}: {text}" if text else f"vipe: {what}"

        def note(self, text: str) -> None:
            print(f"vipe: {text}", file=sys.stderr, flush=True)

        def result(self, text: str) -> None:
            print(text, flush=True)

    def write() -> None:
        written, wait = "", FIRST_LINE
        while not ended.wait(wait):
            if latest != written:
                print(latest, file=sys.stderr, flush=True)
                written, wait = latest, BETWEEN_LINES

    thread = Thread(target=write, daemon=True)
    thread.start()
    try:
        yield Lines()
    finally:
        ended.set()
        thread.join()
