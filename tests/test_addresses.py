"""Names of what is live, and what may be shown of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vipe.addresses import is_address, is_device, is_live, is_pipe, last_part, without_secrets


@pytest.mark.parametrize(
    ("name", "shown", "last"),
    [
        ("rtsp://me:p@ss@host:554/a/cam1?key=1", "rtsp://host:554/a/cam1", "cam1"),
        ("http://host/live.mkv#t", "http://host/live.mkv", "live.mkv"),
        ("udp://239.0.0.1:1234", "udp://239.0.0.1:1234", "239.0.0.1"),
        ("HTTPS://host/", "https://host/", "host"),
    ],
)
def test_addresses(name: str, shown: str, last: str) -> None:
    assert is_address(name)
    assert is_live(name)
    assert without_secrets(name) == shown
    assert last_part(name) == last


@pytest.mark.parametrize("name", ["clip.mp4", "C:/clip.mp4", "C://clip.mp4", "a b://c", "-", "\0"])
def test_paths_are_no_addresses(name: str) -> None:
    assert not is_live(name)
    assert without_secrets(name) == name
    assert not is_address(Path("http://host/clip.mp4"))


def test_the_kind_of_file_decides(tmp_path: Path) -> None:
    assert not is_live(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert is_pipe(tmp_path / "pipe")
        assert is_live(str(tmp_path / "pipe"))
    if Path("/dev/null").exists():
        assert is_device("/dev/null")
        assert not is_pipe("/dev/null")
