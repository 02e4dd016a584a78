"""A tiny model behind a real server on loopback, and a second copy of it to compare with."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import openai
import pytest
import uvicorn

import media
from vipe import ViPE
from vipe.seer import Seer
from vipe.serving.app import Service, create_app
from vipe.serving.decoding import Decoder
from vipe.serving.limits import Limits
from vipe.store import Store

KEY = "a key of the tests"


@pytest.fixture(scope="session")
def served_folder(tiny_vipe: ViPE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_vipe` as a model folder; do not write to it."""
    folder = tmp_path_factory.mktemp("served-model") / "tiny"
    tiny_vipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def reference(served_folder: Path) -> ViPE:
    """The same model as is served, but not the server's own; do not change it."""
    return ViPE.from_pretrained(served_folder)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four clips of different colours and lengths; the first is 64 x 96 and 2 s."""
    folder = tmp_path_factory.mktemp("clips")
    return [
        media.video(folder / f"clip-{i}.mp4", frames=20 + 7 * i, rate=10, size=(64, 96 - 16 * i))
        for i in range(4)
    ]


@pytest.fixture(scope="session")
def _decoder() -> Iterator[Decoder]:
    decoder = Decoder(Limits(), 64)
    yield decoder
    decoder.close()


@pytest.fixture
def decoder(_decoder: Decoder) -> Iterator[Decoder]:
    """A decoding process for frames of 64 pixels; a test may set its limits."""
    _decoder.limits = Limits()
    yield _decoder
    _decoder.limits = Limits()


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


@pytest.fixture(scope="session")
def _start(served_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    servers: list[tuple[uvicorn.Server, Thread]] = []

    def start(limits: Limits, *, private_addresses: bool = False) -> Running:
        folder = tmp_path_factory.mktemp("server")
        (folder / "allowed").mkdir()
        service = Service(
            Seer.named(served_folder),
            Store(folder / "store"),
            limits=limits,
            allowed_folder=folder / "allowed",
            private_addresses=private_addresses,
        )
        app = create_app(service, api_key=KEY)
        server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=2)
        )
        thread = Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        servers.append((server, thread))
        return Running(service, f"http://127.0.0.1:{port}", folder / "allowed")

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="session")
def server(_start: Start) -> Running:
    """A server with usual limits, but of 2 MB a video."""
    return _start(Limits(bytes=2_000_000, decode_seconds=30))
