"""The page at `/`: files of the package, and what they have to know of this server.

The files are read once and found by their names alone. They need no key, for they hold nothing of
anybody's; all that the page does goes through `/v1`, as of any other client.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from vipe import __version__
from vipe.serving.server.refusals import Refusal
from vipe.serving.server.together import MOST_VIDEOS

if TYPE_CHECKING:
    from vipe.serving.server.app import Service

# Nothing but this server's own files, and no text that could become a script.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src blob:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # ask again, by the tag: a newer version has other files
}
_TYPES = {".js": "text/javascript", ".webp": "image/webp", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class _File:
    content: bytes
    kind: str
    tag: str


def router(*, needs_key: bool) -> APIRouter:
    """Return the routes of the page.

    Args:
        needs_key: Whether `/v1` wants a key.
    """
    files = dict(_files(resources.files(__package__) / "page", ""))
    samples = json.loads(files.pop("samples/samples.json").content)
    made = APIRouter(include_in_schema=False)

    @made.get("/")
    async def index(request: Request) -> Response:
        return _answer(files["index.html"], request)

    @made.get("/page/settings")
    async def settings(request: Request) -> JSONResponse:
        service: Service = request.app.state.service
        return JSONResponse(_settings(service, samples, needs_key=needs_key), headers=_HEADERS)

    @made.get("/page/{name:path}")
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise Refusal(404, f"there is no file {name[:80]!r}")
        return _answer(files[name], request)

    return made


def _settings(service: Service, samples: list[Any], *, needs_key: bool) -> dict[str, Any]:
    """Say what the page tells before anything is sent."""
    limits = service.limits
    return {
        "version": __version__,
        "needs_key": needs_key,
        "frames": service.library.sampled,
        "most_videos": MOST_VIDEOS,
        "limits": {
            "bytes": limits.bytes,
            "pixels": limits.pixels,
            "frames": limits.frames,
            "seconds": limits.seconds,
        },
        "samples": samples,
    }


def _files(folder: Traversable, before: str) -> list[tuple[str, _File]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _files(entry, f"{before}{entry.name}/")
            continue
        content, ending = entry.read_bytes(), entry.name[entry.name.rfind(".") :]
        kind = _TYPES.get(ending) or mimetypes.guess_type(entry.name)[0] or "text/plain"
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        found.append((before + entry.name, _File(content, kind, tag)))
    return found


def _answer(file: _File, request: Request) -> Response:
    headers = {**_HEADERS, "ETag": file.tag}
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.kind, headers=headers)
