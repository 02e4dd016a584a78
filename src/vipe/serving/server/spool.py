"""Files of the server's own, in which a video lies while it is received and looked at."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from types import TracebackType

from vipe.frames.values import one_line
from vipe.serving.server.refusals import Refusal

LONGEST_NAME = 120


class Spool:
    """A private folder of such files; it goes when the server ends.

    Args:
        most: Bytes that one file may have.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._folder = tempfile.TemporaryDirectory(prefix="vipe-serve-")

    def file(self, name: str) -> SpoolFile:
        """Make a file, which is removed at the end of its `with` block.

        Args:
            name: What the user calls the video; on the disk it is called otherwise.
        """
        return SpoolFile(Path(self._folder.name), name, self.most)

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


class SpoolFile:
    """A file that grows up to a limit, and is hashed meanwhile.

    Attributes:
        path: Where it lies.
        name: What the user calls it, in one short line.
        size: Its bytes.
    """

    def __init__(self, folder: Path, name: str, most: int) -> None:
        last = one_line(name.replace("\\", "/")).rpartition("/")[2].strip()
        printable = "".join(letter for letter in last if letter.isprintable())
        self.name = printable[-LONGEST_NAME:] or "video"
        self.size, self._most = 0, most
        self._hash = hashlib.sha256()
        # Without an ending: it is for the content to say what this is.
        handle, path = tempfile.mkstemp(dir=folder, prefix="video-")
        self.path = Path(path)
        self._file = os.fdopen(handle, "wb")

    def write(self, piece: bytes) -> None:
        """Add bytes.

        Raises:
            Refusal: There are more than may be.
        """
        self.check_room(self.size + len(piece))
        self._file.write(piece)
        self._hash.update(piece)
        self.size += len(piece)

    def check_room(self, size: int) -> None:
        """Refuse a size that is stated beforehand.

        Raises:
            Refusal: It is more than may be.
        """
        if size > self._most:
            raise Refusal(
                413, f"{self.name} has more than the {self._most} bytes allowed", code="too_large"
            )

    @property
    def digest(self) -> str:
        """Its fingerprint, as `vipe.frames.fingerprint` gives it."""
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Nothing more is written: bring it to where others can read it."""
        self._file.flush()

    def __enter__(self) -> SpoolFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)
