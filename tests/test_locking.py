"""The lock: shared by many, or held alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from vipe import locking
from vipe.locking import locked


@pytest.mark.skipif(locking.fcntl is None, reason="the system has no such locks")
def test_together_or_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "lock"
    with locked(file) as first, locked(file) as second:
        assert (first, second) == (True, True)
        with locked(file, alone=True) as alone:
            assert not alone
    with locked(file, alone=True) as alone:
        assert alone


def test_without_locks_it_is_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locking, "fcntl", None)
    with locked(tmp_path / "lock", alone=True) as alone:
        assert not alone
