"""A tiny model behind a real server on loopback, and a second copy of it to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from running import KEY, Running, Start

import media
from vipe.seer import Seer
from vipe.serving.server.app import Service, create_app
from vipe.serving.server.decoding import Decoder
from vipe.serving.server.limits import Limits
from vipe.store import Store


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


@pytest.fixture(scope="session")
def start_server(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    servers: list[tuple[uvicorn.Server, Thread]] = []

    def start(
        limits: Limits,
        *,
        private_addresses: bool = False,
        api_key: str | None = KEY,
        seer: Seer | None = None,
    ) -> Running:
        folder = tmp_path_factory.mktemp("server")
        (folder / "allowed").mkdir()
        service = Service(
            seer or Seer.named(model_folder),
            Store(folder / "store"),
            limits=limits,
            allowed_folder=folder / "allowed",
            private_addresses=private_addresses,
        )
        app = create_app(service, api_key=api_key)
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
def server(start_server: Start) -> Running:
    """A server with usual limits, but of 2 MB a video."""
    return start_server(Limits(bytes=2_000_000, decode_seconds=120))
