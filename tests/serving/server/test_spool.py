"""Files of the server's own: hashed, bounded, named by nobody else, and gone in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vipe.frames import fingerprint
from vipe.serving.server.refusals import Refusal
from vipe.serving.server.spool import LONGEST_NAME, Spool


@pytest.fixture
def spool() -> Iterator[Spool]:
    spool = Spool(10)
    yield spool
    spool.close()


def test_a_file_holds_what_was_written_and_then_goes(spool: Spool) -> None:
    with spool.file("a.mp4") as file:
        file.write(b"one")
        file.write(b"two")
        file.finish()
        assert file.path.read_bytes() == b"onetwo"
        assert file.digest == fingerprint(file.path)
        assert file.size == 6
        assert file.path.stat().st_mode & 0o077 == 0, "nobody else reads it"
    assert not file.path.exists()


def test_no_more_is_written_than_may_be(spool: Spool) -> None:
    with spool.file("a.mp4") as file:
        file.write(bytes(10))
        with pytest.raises(Refusal, match=r"a\.mp4 has more than the 10 bytes") as refused:
            file.write(b"x")
        assert refused.value.status_code == 413
        assert file.size == 10
    folder = file.path.parent
    spool.close()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("dog.mp4", "dog.mp4"), ("../../etc/passwd", "passwd"), ("C:\\films\\dog.mp4", "dog.mp4"),
        ("a\nb\x00c\x1b[31m.mp4", "a bc[31m.mp4"), ("", "video"), ("x/", "video"),
        ("\udcff.mp4", ".mp4"), ("x" * 500, "x" * LONGEST_NAME),
    ],
)  # fmt: skip
def test_what_users_call_it_is_one_short_line(spool: Spool, given: str, name: str) -> None:
    with spool.file(given) as file:
        assert file.name == name
        assert Path(file.path).name.startswith("video-")
