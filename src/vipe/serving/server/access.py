"""Who may ask, and how much may come in: around all routes, before a body is read."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from time import monotonic
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vipe.serving.server.limits import Limits
from vipe.serving.server.metrics import Metrics
from vipe.serving.server.refusals import Refusal, response

UPLOADS = "/v1/videos"
_PATHS = ("/v1/chat/completions", UPLOADS, "/v1/models", "/health", "/metrics", "/page")
_FORM = 2**16  # what a form adds to its file


class Access:
    """Checks the key, and limits bodies in bytes and time. What is not of `/v1` is open.

    Without a key, what a browser sends from a page of another site is refused: whoever may reach
    the server could else be made to use it by any page that they open.

    Args:
        app: What is behind it.
        api_key: What has to be in the Authorization header; None for nothing.
        limits: Of bodies, and of requests at once.
        metrics: Counts requests.
    """

    def __init__(
        self, app: ASGIApp, *, api_key: str | None, limits: Limits, metrics: Metrics
    ) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._key = None if api_key is None else _digest(f"Bearer {api_key}")
        self._open = 0
        # More than can wait would hold their bodies in memory for nothing.
        self._most = limits.waiting + limits.batch + limits.videos

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a refusal."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = monotonic(), 500
        path = next((p for p in _PATHS if scope["path"].startswith(p)), "other")

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            body = self._admitted(scope)
            self._open += 1
            try:
                limited = _Body(receive, body, self._limits.body_seconds)
                await self._app(scope, limited, counted)
            finally:
                self._open -= 1
        except Refusal as refusal:
            await response(refusal)(scope, receive, counted)
        finally:
            self._metrics.requests.labels(path, str(status)).inc()
            self._metrics.request_seconds.labels(path).observe(monotonic() - start)

    def _admitted(self, scope: Scope) -> int:
        """Return how many bytes the body of a request may have.

        Raises:
            Refusal: The key is wrong, there are too many requests, or more bytes are announced.
        """
        headers, path = Headers(scope=scope), scope["path"]
        if path.startswith("/v1"):
            if self._key is not None:
                given = _digest(headers.get("authorization", ""))
                if not secrets.compare_digest(given, self._key):
                    raise Refusal(401, "the API key is missing or wrong", code="invalid_api_key")
            elif headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
                raise Refusal(403, "pages of other sites may not ask", code="other_site")
            if self._open >= self._most:
                raise Refusal(429, "too many requests at once", code="busy", seconds=1)
        limits = self._limits
        most = limits.bytes + _FORM if path.rstrip("/") == UPLOADS else limits.body_bytes
        stated = headers.get("content-length", "")
        if stated.isdigit() and int(stated[:20]) > most:
            raise _too_large(most)
        return most


class _Body:
    """A request's body as it comes, up to a number of bytes and seconds."""

    def __init__(self, receive: Receive, most: int, seconds: float | int) -> None:
        self._receive, self._most = receive, most
        self._seconds, self._until = seconds, monotonic() + seconds
        self._came, self._whole = 0, False

    async def __call__(self) -> Any:
        if self._whole:  # what comes after it is the sign that the client is gone
            return await self._receive()
        try:
            async with asyncio.timeout(self._until - monotonic()):
                message = await self._receive()
        except TimeoutError as error:
            raise Refusal(408, f"the request took longer than {self._seconds:g} s") from error
        self._came += len(message.get("body", b""))
        if self._came > self._most:
            raise _too_large(self._most)
        self._whole = not message.get("more_body", False)
        return message


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"the request has more than the {most} bytes allowed", code="too_large")


def _digest(text: str) -> bytes:
    """Hash, so that texts of any length take the same time to compare."""
    return hashlib.sha256(text.encode()).digest()
