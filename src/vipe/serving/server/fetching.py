"""URLs → files: http and https from public addresses, `data:`, and `file:` below one folder."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import stat
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, unquote_to_bytes, urljoin, urlsplit

import httpcore2

from vipe import __version__
from vipe.errors import VideoError
from vipe.serving.server.addresses import PublicOnly
from vipe.serving.server.limits import Limits
from vipe.serving.server.spool import SpoolFile

_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE = 2**20
# Everything that may stand in a URL, so that only what may not is escaped.
_SAFE = "!#$%&'()*+,/:;=?@[]~"


class Fetcher:
    """Brings what a URL names into a file.

    Args:
        limits: Of time and redirects; bytes are limited by the file.
        allowed_folder: Below which `file:` URLs may read; None for nowhere.
        private_addresses: Whether addresses that are not public may be fetched from.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        allowed_folder: Path | None = None,
        private_addresses: bool = False,
    ) -> None:
        self.limits = limits
        self._folder = None if allowed_folder is None else allowed_folder.resolve()
        self._network = PublicOnly(anywhere=private_addresses)

    async def fetch(self, url: str, file: SpoolFile) -> None:
        """Write what a URL names.

        Raises:
            VideoError: It cannot be had, or must not.
            Refusal: It has too many bytes.
        """
        scheme = url.partition(":")[0].lower()
        if scheme in ("http", "https"):
            try:
                async with asyncio.timeout(self.limits.fetch_seconds):
                    await self._download(url, file)
            except TimeoutError as error:
                seconds = self.limits.fetch_seconds
                raise VideoError(f"{_shown(url)} takes longer than {seconds:g} s") from error
        elif scheme == "data":
            await asyncio.to_thread(_unpack, url, file)
        elif scheme == "file":
            await asyncio.to_thread(self._copy, url, file)
        else:
            raise VideoError(f"{_shown(url)} is no http, https, data or file URL")
        file.finish()

    async def _download(self, url: str, file: SpoolFile) -> None:
        async with httpcore2.AsyncConnectionPool(network_backend=self._network) as pool:
            for _ in range(self.limits.redirects + 1):
                target = _ascii(url)
                headers = [
                    ("Host", target.netloc),
                    ("User-Agent", f"vipe/{__version__}"),
                    ("Accept-Encoding", "identity"),
                ]
                try:
                    async with pool.stream("GET", target.geturl(), headers=headers) as response:
                        if response.status not in _REDIRECTS:
                            await _save(url, response, file)
                            return
                        where = _header(response, b"location").decode("ascii", "replace")
                except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
                    raise VideoError(f"{_shown(url)} cannot be fetched: {error}") from error
                except httpcore2.TimeoutException as error:
                    raise VideoError(f"{_shown(url)} cannot be fetched: no answer") from error
                url = urljoin(url, where)
        raise VideoError(f"{_shown(url)}: more than {self.limits.redirects} redirects")

    def _copy(self, url: str, file: SpoolFile) -> None:
        if self._folder is None:
            raise VideoError("file URLs are not allowed here (--allowed-folder)")
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost"):
            raise VideoError(f"{_shown(url)} names another machine")
        path = Path(unquote(parts.path))
        with os.fdopen(open_beneath(self._folder, path), "rb") as source:
            file.check_room(os.fstat(source.fileno()).st_size)
            while piece := source.read(_PIECE):
                file.write(piece)


def open_beneath(folder: Path, path: Path) -> int:
    """Open a file below a folder for reading, following no symbolic link on the way.

    Folder by folder, each opened relative to the one before: a link that is put in place of one
    meanwhile is not followed either.

    Args:
        folder: Absolute, and resolved.
        path: Absolute.

    Raises:
        VideoError: It is not below the folder, has a link on its way, or is no file.
    """
    refused = VideoError(f"{path.name or path}: no file that may be read is there")
    try:
        parts = path.relative_to(folder).parts
    except ValueError:
        raise refused from None
    if not parts or ".." in parts or os.open not in os.supports_dir_fd:
        raise refused
    here = -1
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        for last, part in enumerate(parts, start=1 - len(parts)):
            kind = os.O_NONBLOCK if last == 0 else os.O_DIRECTORY  # a pipe must not be waited for
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | kind, dir_fd=here)
            os.close(here)
            here = inner
        if not stat.S_ISREG(os.fstat(here).st_mode):
            raise refused
        found, here = here, -1
        return found
    except (OSError, ValueError):  # ValueError: a NUL in the name
        raise refused from None
    finally:
        if here >= 0:
            os.close(here)


def name_of(url: str) -> str:
    """Return what to call the video of a URL."""
    if url[:5].lower() == "data:":
        return url[5:].partition(",")[0].partition(";")[0][:40].replace("/", ".") or "data"
    return unquote(url.partition("?")[0].partition("#")[0].rstrip("/").rpartition("/")[2])


async def _save(url: str, response: httpcore2.Response, file: SpoolFile) -> None:
    if response.status != 200:
        raise VideoError(f"{_shown(url)} cannot be fetched: status {response.status}")
    stated = _header(response, b"content-length")
    if stated.isdigit():
        file.check_room(int(stated[:20]))
    async for piece in response.aiter_stream():
        file.write(piece)


def _header(response: httpcore2.Response, name: bytes) -> bytes:
    return next((value for key, value in response.headers if key.lower() == name), b"")


def _unpack(url: str, file: SpoolFile) -> None:
    head, comma, content = url[5:].partition(",")
    if not comma:
        raise VideoError("the data URL has no comma before its content")
    if not head.lower().endswith(";base64"):
        file.write(unquote_to_bytes(content))
        return
    file.check_room(len(content) * 3 // 4 - 2)
    try:
        file.write(base64.b64decode(unquote(content), validate=True))
    except (binascii.Error, ValueError) as error:
        raise VideoError("the data URL's content is not base64") from error


def _ascii(url: str) -> SplitResult:
    """Check an http URL, and write it as it goes over the wire."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode() if parts.hostname else ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:  # UnicodeError, too
        raise VideoError(f"{_shown(url)} is no URL") from error
    if parts.scheme not in ("http", "https") or not host:
        raise VideoError(f"{_shown(url)} is no http or https URL")
    if parts.username is not None or parts.password is not None:
        raise VideoError("a URL with a user's name or password is not fetched")
    shown = f"[{host}]" if ":" in host else host
    return parts._replace(
        netloc=shown + port,
        path=quote(parts.path or "/", safe=_SAFE),
        query=quote(parts.query, safe=_SAFE),
        fragment="",
    )


def _shown(url: str) -> str:
    """Write a URL so that a message stays short, and does not repeat what its query holds."""
    plain = "".join(letter for letter in url.partition("?")[0] if letter.isprintable())
    return plain if len(plain) <= 120 else plain[:117] + "…"
