"""Beside the flow: a lock between processes, which the system lets go of when one is killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(file: Path, *, alone: bool = False) -> Iterator[bool]:
    """Hold a lock, together with others or alone.

    Args:
        file: What is locked; it is made if it is missing, and so is its folder.
        alone: Whether to hold it alone, if nobody else holds it; else it is waited for until nobody
            holds it alone.

    Yields:
        Whether it is held: never where the system or the file system has no such locks.

    Raises:
        OSError: The file cannot be opened.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:  # closing it lets the lock go
        yield _lock(opened.fileno(), alone=alone)


def _lock(descriptor: int, *, alone: bool) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
    except OSError:  # held by another, or a file system without locks
        return False
    return True
