"""Beside the flow: a folder that is there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(folder: Path, *, own: Sequence[str]) -> Iterator[Path]:
    """Yield a folder to write to, which takes the place of `folder` at the end of the block.

    What was there before stays until then, and where the block fails.

    Args:
        folder: Which.
        own: Names that are written, or no longer are; what else is in the folder stays in it.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    older = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        temporary.mkdir(exist_ok=True)
        yield temporary
        if folder.exists():
            folder.rename(older)
        temporary.rename(folder)
        if older.exists():
            for other in older.iterdir():  # a card, a processor's or tokenizer's files
                if other.name not in own:
                    other.rename(folder / other.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not folder.exists() and older.exists():
            older.rename(folder)
        for name in own:  # and nothing else that may still be there
            _remove(older / name)
        with suppress(OSError):
            older.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder; where both are on one disk its files are in both, and take no more room."""
    shutil.copytree(source, target, copy_function=_link)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
