"""Beside the flow: a local folder of entries, which appear by one rename, when they are whole.

FOLDER/KEY/           an adapter
FOLDER/.vipe/lock     held by those who write, so that nobody takes their work for a leftover
FOLDER/.vipe/work/    what is being written
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vipe.entry import Entry
from vipe.errors import StoreError
from vipe.locking import locked

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights


PRIVATE = ".vipe"
"""What lies beside the entries."""


class Shelf(Protocol):
    """Where a store keeps its entries. Several processes may use one at once."""

    def names(self) -> list[str]:
        """List all that lies there, entries or not.

        Raises:
            StoreError: It cannot be listed.
        """
        ...

    def exists(self, key: str) -> bool:
        """Tell whether anything lies where an entry would, whole or damaged."""
        ...

    def read(self, key: str) -> Entry | None:
        """Read what is known of an entry; None where it is absent or damaged."""
        ...

    def write(self, key: str, seen: PerceptualWeights) -> None:
        """Add an entry, whole or not at all; where another process was first, its one stays.

        Raises:
            StoreError: It cannot be written.
        """
        ...

    def remove(self, key: str) -> None:
        """Remove an entry, whole or damaged.

        Raises:
            StoreError: It cannot be removed.
        """
        ...

    def tidy(self) -> None:
        """Remove what killed processes left; once."""
        ...

    def check_writable(self) -> None:
        """Find out before a video is looked at in vain.

        Raises:
            StoreError: Entries cannot be added.
        """
        ...


class LocalShelf:
    """A folder.

    Args:
        folder: Where; it is made with the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._private = folder / PRIVATE
        self._tidied = False

    def names(self) -> list[str]:
        """List all that lies there, entries or not.

        Raises:
            StoreError: It is no folder, or may not be read.
        """
        try:
            return [path.name for path in self.folder.iterdir()]
        except OSError as error:
            raise StoreError(f"{self.folder}: not a store ({error.strerror})") from error

    def exists(self, key: str) -> bool:
        """Tell whether anything lies where an entry would, whole or damaged."""
        return (self.folder / key).exists()

    def read(self, key: str) -> Entry | None:
        """Read what is known of an entry; None where it is absent or damaged."""
        return Entry.read(self.folder / key)

    def write(self, key: str, seen: PerceptualWeights) -> None:
        """Write an entry aside, then rename it; where another process was first, its one stays.

        Raises:
            StoreError: It cannot be written.
        """
        with self.writing() as place:
            seen.save(place / key)
            _sync(*(place / key).iterdir(), place / key)
            final = self.folder / key
            if self.read(key) is not None:
                return
            if final.exists():  # damaged: goes away with the place
                final.rename(place / "damaged")
            try:
                (place / key).rename(final)
            except OSError:
                if self.read(key) is None:
                    raise
            _sync(self.folder)

    def remove(self, key: str) -> None:
        """Remove an entry, whole or damaged, by one rename.

        Raises:
            StoreError: It cannot be removed.
        """
        with self.writing() as place:  # what is renamed to there goes with it
            (self.folder / key).rename(place / key)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Give a folder of one's own inside of the store, on whose file system a rename is one."""
        place = self._private / "work" / uuid.uuid4().hex
        try:
            with locked(self._private / "lock"):
                try:
                    place.mkdir(parents=True)
                    yield place
                finally:
                    shutil.rmtree(place, ignore_errors=True)
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(f"{self.folder}: the store cannot be written ({reason})") from error

    def tidy(self) -> None:
        """Remove what killed processes left in the store; once.

        Where there is no store yet none is made: the video may be one that cannot be seen.
        """
        work = self._private / "work"
        if self._tidied or not work.is_dir():
            return
        with suppress(OSError), locked(self._private / "lock", alone=True) as alone:
            for leftover in work.iterdir() if alone else ():
                shutil.rmtree(leftover, ignore_errors=True)
        self._tidied = True

    def check_writable(self) -> None:
        """Find out before a video is looked at in vain.

        Raises:
            StoreError: The store is no folder, or may not be written.
        """
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"{folder}: exists and is not a folder")
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise StoreError(f"{folder}: the store may not be written")


def _sync(*paths: Path) -> None:
    """Bring files and folders to the disk, so that a power cut leaves no empty entry either."""
    for path in paths:
        if path.is_dir() and os.name == "nt":
            continue  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
