"""A file that is being written, read as it grows."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from vipe.errors import VideoError
from vipe.frames.following import Following


def test_what_is_written_later_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.touch()
    more = threading.Event()

    def write() -> None:
        with path.open("ab", buffering=0) as out:
            for part in (b"one ", b"two ", b"three"):
                more.wait(20)
                more.clear()
                out.write(part)

    writer = threading.Thread(target=write)
    writer.start()
    found = []
    with Following(path, 0.5) as stream:
        assert not stream.seekable()
        for _ in range(3):
            more.set()
            found.append(stream.read(100))
        assert stream.read(100) == b""
    writer.join()
    assert found == [b"one ", b"two ", b"three"]


def test_what_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        Following(tmp_path / "gone")
    with pytest.raises(VideoError, match="is a folder"):
        Following(tmp_path)
