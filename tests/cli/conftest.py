"""A command line to call in this process, and a saved tiny model for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import media
from vipe.cli import run


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The text of the error, which must be the one line that was written, and nothing else."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("vipe: error: ")
        assert self.out == ""
        return lines[0].removeprefix("vipe: error: ")


Command = Callable[..., Outcome]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `vipe` with these arguments; no line of progress is written, however slow the machine."""
    monkeypatch.setattr("vipe.progress.FIRST_LINE", 1e6)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of two seconds; do not write to its folder."""
    return media.video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=20, rate=10)
