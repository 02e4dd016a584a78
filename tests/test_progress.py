"""Progress: plain lines that are few, a bar that keeps out of stdout, and how training is told."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from time import monotonic, sleep

import pytest

from vipe import progress as module
from vipe.progress import TrainingProgress, first_process, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    end = monotonic() + 30
    while not condition():
        assert monotonic() < end
        sleep(0.005)


def test_short_work_is_silent() -> None:
    with redirect_stderr(io.StringIO()) as stderr, progress() as bar:
        for done in range(50):
            bar.show("working", done, 50)
    assert stderr.getvalue() == ""


def test_of_several_processes_the_first_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert first_process()
    monkeypatch.setenv("RANK", "0")
    assert first_process()
    monkeypatch.setenv("RANK", "1")
    assert not first_process()
    with progress(shown=first_process()) as bar:
        bar.show("working", 1, 2)
        bar.note("a line")
        bar.result("a result")
    assert capsys.readouterr() == ("", "")


def test_long_work_is_told_in_lines_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_LINE", 0.01)
    monkeypatch.setattr(module, "BETWEEN_LINES", 0.01)
    with redirect_stderr(io.StringIO()) as stderr, progress() as bar:
        bar.show("loading")
        wait_for(lambda: "loading" in stderr.getvalue())
        sleep(0.05)  # nothing new, so nothing is written
        bar.show("seeing", 0, 4)
        sleep(0.01)
        bar.show("seeing", 1, 4, values="fast")
        wait_for(lambda: "1/4" in stderr.getvalue())
    lines = stderr.getvalue().splitlines()
    assert lines[0] == "vipe: loading"
    assert len(lines) == len(set(lines))
    assert all(line.startswith("vipe: ") for line in lines)
    assert lines[-1] == "vipe: seeing: 1/4, fast, 0:00:00 left"


def test_notes_are_written_at_once() -> None:
    with redirect_stderr(io.StringIO()) as stderr, progress() as bar:
        bar.note("step 3: loss 2.100")
        assert stderr.getvalue() == "vipe: step 3: loss 2.100\n"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_stdout_holds_results_and_nothing_else(
    stream: type[io.StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    with redirect_stderr(stream()), progress() as bar:
        bar.show("seeing", 1, 2)
        bar.result("out/one")
        print("printed")
        bar.show("seeing [bold]two[/]", 2, 2, values="[x]")
    assert capsys.readouterr().out == "out/one\nprinted\n"


def test_a_terminal_sees_what_is_going_on_and_notes() -> None:
    with redirect_stderr(Terminal()) as stderr, progress() as bar:
        bar.show("seeing [b]", 1, 2, values="2 a second")
        bar.note("step [1]")
        bar.show("asking")
    shown = stderr.getvalue()
    assert "seeing [b]" in shown
    assert "1/2, 2 a second" in shown
    assert "step [1]" in shown


def test_time_left_is_from_this_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    pace = module._Pace()

    def after(seconds: float, what: str, done: int, total: int | None) -> float | None:
        now[0] += seconds
        return pace.left(what, done, total)

    assert after(0, "encoding", 1, 5) is None
    assert after(2, "encoding", 2, 5) == 6
    assert after(50, "training", 801, 1000) is None  # a run that was resumed at step 800
    assert after(10, "training", 802, 1000) == 1980
    assert after(30, "training", 805, 1000) == 1950
    assert after(1, "training", 3, 1000) is None  # begun anew
    assert after(1, "training", 4, None) is None


def test_training_tells_loss_rates_and_scores() -> None:
    class Noting:
        def __init__(self) -> None:
            self.shown: list[tuple[str, int, int | None, str]] = []
            self.notes: list[str] = []

        def show(
            self, what: str, done: int = 0, total: int | None = None, *, values: str = ""
        ) -> None:
            self.shown.append((what, done, total, values))

        def note(self, text: str) -> None:
            self.notes.append(text)

        def result(self, text: str) -> None:
            raise AssertionError

    bar = Noting()
    observer = TrainingProgress(bar)
    observer.encoding(3, 9)
    values = {"loss": 2.5, "tokens_per_second": 1234.5, "examples_per_second": 7.25}
    observer.step(2, 100, {"gist_loss": 7.0})
    observer.step(3, 100, {"slot_loss": 6.0, "question_loss": 5.0})
    observer.step(4, 100, values)
    observer.evaluated(4, {"scenes/loss": 1.25, "scenes/name": 0.5})
    assert bar.shown == [
        ("encoding", 3, 9, ""),
        ("training", 2, 100, "gist loss 7.000"),
        ("training", 3, 100, "slot loss 6.000"),
        ("training", 4, 100, "loss 2.500, 1,234 tokens/s, 7.2 examples/s"),
    ]
    assert bar.notes == ["step 4: scenes/loss 1.250, scenes/name 0.500"]
