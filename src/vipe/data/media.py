"""Training data in files: videos and pictures on disk, or in tars where they lie."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from vipe.errors import DataError, VideoError
from vipe.frames import Frames, Uniform, read_frames


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """Where a file lies within a tar: `size` bytes from `offset` on."""

    name: str
    offset: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Medium:
    """A video or a picture: a file, or a member of a tar."""

    path: Path
    member: Member | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.member.name}" if self.member else str(self.path)

    @property
    def key(self) -> str:
        """Names the content: another file under the same name has another key.

        Raises:
            VideoError: There is no such file.
        """
        try:
            status = self.path.stat()
        except OSError as error:
            raise VideoError(f"{self.path}: {error.strerror}") from None
        named = f"{self.path.absolute()}|{status.st_size}|{status.st_mtime_ns}|{self.member}"
        return hashlib.sha256(named.encode()).hexdigest()[:24]

    def frames(self, count: int, size: int) -> Frames:
        """Decode `count` frames, evenly spread, to squares of `size` pixels a side.

        Raises:
            VideoError: It cannot be read.
        """
        if self.member is None:
            return read_frames(self.path, Uniform(count), size=size)
        stream = io.BytesIO(read_member(self.path, self.member))
        stream.name = str(self)
        return read_frames(stream, Uniform(count), size=size)


def index_tar(path: Path) -> list[Member]:
    """List the files in a tar that is not compressed.

    Raises:
        DataError: It is missing or damaged.
    """
    try:
        with tarfile.open(path, "r:") as opened:
            return [
                Member(name=member.name, offset=member.offset_data, size=member.size)
                for member in opened
                if member.isfile()
            ]
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path}: cannot be read as a tar: {one_line(error)}") from error


def read_member(path: Path, member: Member) -> bytes:
    """Read a file of a tar.

    Raises:
        DataError: The tar cannot be read, or ends within the file.
    """
    try:
        with path.open("rb") as file:
            file.seek(member.offset)
            found = file.read(member.size)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {one_line(error)}") from error
    if len(found) != member.size:
        raise DataError(f"{path}: ends within {member.name}")
    return found


def one_line(error: BaseException) -> str:
    """The text of an error, on one line."""
    return " ".join(str(error).split()) or type(error).__name__
