"""Beside stage 1, video → hash: which content it is, whatever it is called and wherever it lies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vipe.frames.pictures import files_of
from vipe.frames.reading import open_file
from vipe.frames.values import one_line


def fingerprint(path: str | os.PathLike[str]) -> str:
    """Hash the bytes of a video or picture, or of the pictures of a folder in their order.

    Nothing is decoded. A copy under another name has the same hash; so has a folder whose pictures
    are renamed and keep their order.

    Returns:
        SHA-256, 64 hexadecimal digits.

    Raises:
        VideoError: It cannot be read, or is a folder without pictures.
    """
    file = Path(path)
    whole = _bytes_of(file)
    if whole is not None:
        return whole
    pictures = hashlib.sha256(b"pictures")
    for picture in files_of(file):
        # A folder that is called like a picture counts as nothing here; seeing it is the error.
        pictures.update((_bytes_of(picture) or "folder").encode())
    return pictures.hexdigest()


def _bytes_of(file: Path) -> str | None:
    """Hash a file; None for a folder."""
    stream = open_file(file, one_line(file))
    if stream is None:
        return None
    with stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
