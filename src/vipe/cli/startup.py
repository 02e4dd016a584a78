"""Quick starts: libraries' imports that a command which only answers has no use for."""

from __future__ import annotations


def lean_imports() -> None:
    """Do nothing yet."""
