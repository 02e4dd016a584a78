"""A server that runs on loopback, and ways to ask it."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import openai

from vipe.serving.server.app import Service
from vipe.serving.server.engine import Engine

KEY = "a key of the tests"


@dataclass
class Running:
    """A server that runs.

    Attributes:
        service: Its parts.
        url: Where it is, without `/v1`.
        allowed: The folder that `file:` URLs may read.
    """

    service: Service
    url: str
    allowed: Path

    @property
    def client(self) -> openai.OpenAI:
        """OpenAI's own client of it, which tries nothing twice."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=KEY, max_retries=0)

    def call(
        self,
        path: str,
        body: bytes | None = None,
        *,
        method: str | None = None,
        key: str | None = KEY,
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """Make a request of one's own; returns status, headers and body."""
        request = urllib.request.Request(self.url + path, data=body, method=method)
        if key is not None:
            request.add_header("Authorization", f"Bearer {key}")
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def upload(self, name: str, content: bytes) -> tuple[int, dict[str, Any]]:
        """Upload a video; returns the status, and the object that came back."""
        status, _, answer = self.send(name, content)
        return status, json.loads(answer)

    def send(
        self, name: str, content: bytes, *, path: str = "/v1/videos"
    ) -> tuple[int, dict[str, str], bytes]:
        """Upload a file; returns status, headers and body."""
        body, kind = _form(name, content)
        return self.call(path, body, Content_Type=kind)

    def begin(self, name: str, content: bytes, *, path: str) -> socket.socket:
        """Upload a file over a connection of one's own, and wait for nothing."""
        body, kind = _form(name, content)
        host, port = self.url.removeprefix("http://").split(":")
        line = socket.create_connection((host, int(port)))
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        line.sendall(head.encode() + body)
        return line


def _form(name: str, content: bytes) -> tuple[bytes, str]:
    """A form with one file, and its type."""
    edge = "an-edge-that-no-file-has"
    head = (
        f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
    return body, f"multipart/form-data; boundary={edge}"


Start = Callable[..., Running]


@contextmanager
def held(server: Running, *, after: int = 0) -> Iterator[Engine]:
    """Hold the engine before a step, the next one or a later, until its `go_on` is set."""
    engine, steps = server.service.engine, 0
    engine.go_on = Event()  # type: ignore[attr-defined]
    step = engine._batch.step

    def wait() -> list[int]:
        nonlocal steps
        if steps >= after:
            engine.go_on.wait(120)  # type: ignore[attr-defined]
        steps += 1
        return step()

    engine._batch.step = wait  # type: ignore[method-assign]
    try:
        yield engine
    finally:
        engine.go_on.set()  # type: ignore[attr-defined]
        del engine._batch.step
