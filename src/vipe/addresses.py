"""Before the flow: names that are no file's, of what is live: addresses, devices and pipes."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

# A scheme of one letter would be a drive of Windows.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_address(name: str | os.PathLike[str]) -> bool:
    """Tell an address, such as `rtsp://host/camera`, from a path; a `Path` is never one."""
    return isinstance(name, str) and _ADDRESS.match(name) is not None


def is_device(name: str | os.PathLike[str]) -> bool:
    """Tell whether a path is that of a device that is there, such as `/dev/video0`."""
    return stat.S_ISCHR(_mode(name))


def is_pipe(name: str | os.PathLike[str]) -> bool:
    """Tell whether a path is that of a named pipe that is there."""
    return stat.S_ISFIFO(_mode(name))


def is_live(name: str | os.PathLike[str]) -> bool:
    """Tell what comes once and ends nobody knows when from a file or folder."""
    return is_address(name) or is_device(name) or is_pipe(name)


def without_secrets(name: str | os.PathLike[str]) -> str:
    """Return a name as it may be shown and kept: an address without user, password and query."""
    if not is_address(name):
        return os.fspath(name)
    parts = urlsplit(str(name))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def last_part(name: str | os.PathLike[str]) -> str:
    """Return the last part of a name: a file's name, of an address without a path the host's."""
    if not is_address(name):
        return Path(name).name
    host, *path = (part for part in without_secrets(name).split("://", 1)[1].split("/") if part)
    return path[-1] if path else host.partition(":")[0]


def _mode(name: str | os.PathLike[str]) -> int:
    if is_address(name):
        return 0
    try:
        return Path(name).stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return 0
