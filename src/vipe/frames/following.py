"""Beside stage 1: a file that somebody is still writing, read as it grows."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

from vipe.errors import VideoError
from vipe.frames.reading import open_file
from vipe.frames.values import one_line

PATIENCE = 10.0
"""Seconds without growth after which a file is taken to be whole."""

_PAUSE = 0.1  # seconds from one look at the file to the next


class Following(io.RawIOBase):
    """A growing file as a live stream: it cannot be sought in, and ends when it grows no more.

    Args:
        path: The file; it may be empty yet.
        patience: Seconds without growth after which it has ended.

    Raises:
        VideoError: It is not there, is no file, or may not be read.
    """

    def __init__(self, path: str | os.PathLike[str], patience: int | float = PATIENCE) -> None:
        name = one_line(os.fspath(path))
        file = open_file(Path(path), name)
        if file is None:
            raise VideoError(f"{name} is a folder, and cannot be followed")
        self.name = name
        self._file = file.detach()  # no buffer between: what is written is seen at once
        self._patience = patience

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        """Read what there is, as soon as there is something; 0 at the end."""
        last = time.monotonic() + self._patience
        while True:
            count = self._file.readinto(buffer) or 0
            if count or time.monotonic() >= last:
                return count
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Let go of the file."""
        if not self.closed:
            self._file.close()
        super().close()
