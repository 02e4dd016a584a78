"""A server that runs on loopback, and ways to ask it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai

from vipe.serving.server.app import Service

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
        edge = "an-edge-that-no-file-has"
        head = (
            f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
        kind = f"multipart/form-data; boundary={edge}"
        status, _, answer = self.call("/v1/videos", body, Content_Type=kind)
        return status, json.loads(answer)


Start = Callable[..., Running]
