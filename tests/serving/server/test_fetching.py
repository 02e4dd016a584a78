"""URLs to files: what may be had is had as it is, and what may not is not asked for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.server
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from vipe.errors import VideoError
from vipe.serving.server import addresses
from vipe.serving.server.fetching import Fetcher, name_of, open_beneath
from vipe.serving.server.limits import Limits
from vipe.serving.server.refusals import Refusal
from vipe.serving.server.spool import Spool

CONTENT = bytes(range(256)) * 40


class Pages(http.server.BaseHTTPRequestHandler):
    """A small web: /video has the content, /to/URL leads elsewhere."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path.startswith("/slow"):
            self.send_response(200)
            self.end_headers()
            for _ in range(200):
                try:
                    self.wfile.write(b".")
                    self.wfile.flush()
                except OSError:
                    return
                self.server.stop.wait(0.1)  # type: ignore[attr-defined]
        elif self.path.startswith("/video"):
            self.send_response(200)
            if "unsized" not in self.path:
                self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)
        else:
            self.send_error(404)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[http.server.ThreadingHTTPServer]:
    from threading import Event

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    server.stop = Event()  # type: ignore[attr-defined]
    Pages.asked = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.stop.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.fixture
def address(web: http.server.ThreadingHTTPServer) -> str:
    Pages.asked.clear()
    return f"http://127.0.0.1:{web.server_port}"


Fetch = Callable[..., bytes]


@pytest.fixture
def fetch() -> Iterator[Fetch]:
    spools = []

    def get(url: str, *, limits: Limits = Limits(bytes=100_000), **settings: Any) -> bytes:  # noqa: B008
        spool = Spool(limits.bytes)
        spools.append(spool)

        async def run() -> bytes:
            with spool.file("v") as file:
                await Fetcher(limits, **settings).fetch(url, file)
                content = file.path.read_bytes()
                assert file.digest == hashlib.sha256(content).hexdigest()
                assert file.size == len(content)
                return content

        return asyncio.run(run())

    yield get
    for spool in spools:
        assert not list(Path(spool._folder.name).iterdir()), "nothing stays"
        spool.close()


def public(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let these addresses count as public."""
    monkeypatch.setattr(addresses, "is_public", lambda text: text in names)


def test_a_page_of_a_public_address_is_fetched(
    fetch: Fetch, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    public(monkeypatch, "127.0.0.1")
    assert fetch(f"{address}/video.mp4?x=a b#part") == CONTENT
    assert Pages.asked == [("/video.mp4?x=a%20b", address.removeprefix("http://"))]
    assert fetch(f"{address}/to/{address}/to//video-unsized") == CONTENT


def test_addresses_that_are_not_public_are_not_connected_to(
    fetch: Fetch, address: str, web: http.server.ThreadingHTTPServer
) -> None:
    port = web.server_port
    for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]"):
        with pytest.raises(VideoError, match=r"not at a public address|cannot be resolved"):
            fetch(f"http://{host}:{port}/video")
    assert Pages.asked == []
    assert fetch(f"{address}/video", private_addresses=True) == CONTENT


def test_each_redirect_is_checked_again(
    fetch: Fetch, address: str, monkeypatch: pytest.MonkeyPatch, web: http.server.HTTPServer
) -> None:
    public(monkeypatch, "127.0.0.1")
    for target in (f"http://127.0.0.2:{web.server_port}/video", f"http://[::1]:{web.server_port}/"):
        with pytest.raises(VideoError, match="not at a public address"):
            fetch(f"{address}/to/{target}")
    assert [path.startswith("/to/") for path, _ in Pages.asked] == [True, True]
    for target in ("file:///etc/passwd", "ftp://127.0.0.1/", "data:,x"):
        with pytest.raises(VideoError, match="no http or https URL"):
            fetch(f"{address}/to/{target}")
    loop = f"{address}/to/" * 8
    with pytest.raises(VideoError, match="more than 5 redirects"):
        fetch(loop + f"{address}/video")


def test_the_address_that_was_checked_is_the_one_connected_to(
    fetch: Fetch, address: str, monkeypatch: pytest.MonkeyPatch, web: http.server.HTTPServer
) -> None:
    """A name that resolves to another address a moment later does not help."""
    answers = [["127.0.0.1"], ["127.0.0.2"]]
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def turning(host: str, *rest: Any, **named: Any) -> Any:
        if host != "turning.example":
            return resolve(host, *rest, **named)
        asked.append(host)
        return resolve(answers[min(len(asked), 2) - 1][0], *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", turning)
    public(monkeypatch, "127.0.0.1")
    url = f"http://turning.example:{web.server_port}/video"
    assert fetch(url) == CONTENT
    assert asked == ["turning.example"]
    assert Pages.asked == [("/video", f"turning.example:{web.server_port}")]
    with pytest.raises(VideoError, match="not at a public address"):
        fetch(url)


def test_a_name_with_one_address_that_is_not_public_is_refused(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    resolve = socket.getaddrinfo

    def both(host: str, *rest: Any, **named: Any) -> Any:
        return [*resolve("127.0.0.1", *rest, **named), *resolve("127.0.0.2", *rest, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    public(monkeypatch, "127.0.0.1")
    with pytest.raises(VideoError, match="not at a public address"):
        fetch("http://both.example/video")


def test_what_is_too_large_or_too_slow_is_given_up(
    fetch: Fetch, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    public(monkeypatch, "127.0.0.1")
    for path in ("video", "video-unsized"):
        with pytest.raises(Refusal, match="more than the 100 bytes"):
            fetch(f"{address}/{path}", limits=Limits(bytes=100))
    with pytest.raises(VideoError, match="longer than 1 s"):
        fetch(f"{address}/slow", limits=Limits(fetch_seconds=1))
    with pytest.raises(VideoError, match="status 404"):
        fetch(f"{address}/nothing")


@pytest.mark.parametrize(
    "url",
    ["ftp://example.com/x", "http:///x", "http://", "gopher:x", "x.mp4", "", "http://[1:2/x",
     "http://user:secret@example.com/x", "http://a b/x", "http://example.com:99999/",
     "http://\ud800/x", "file:", "data:nothing"],
)  # fmt: skip
def test_what_is_no_url_is_refused_in_one_line(fetch: Fetch, url: str) -> None:
    with pytest.raises(VideoError) as error:
        fetch(url)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_data_urls(fetch: Fetch) -> None:
    encoded = base64.b64encode(CONTENT).decode()
    assert fetch(f"data:video/mp4;base64,{encoded}") == CONTENT
    assert fetch("data:text/plain,a%20b") == b"a b"
    with pytest.raises(VideoError, match="not base64"):
        fetch("data:video/mp4;base64,####")
    with pytest.raises(Refusal, match="more than the 100 bytes"):
        fetch(f"data:video/mp4;base64,{encoded}", limits=Limits(bytes=100))


# Files ------------------------------------------------------------------------------------------


@pytest.fixture
def allowed(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    (folder / "inner").mkdir(parents=True)
    (folder / "a b.mp4").write_bytes(CONTENT)
    (folder / "inner" / "c.mp4").write_bytes(CONTENT)
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"secret")
    (tmp_path / "allowed-too").mkdir()
    (tmp_path / "allowed-too" / "x.mp4").write_bytes(b"secret")
    (folder / "link.mp4").symlink_to(secret)
    (folder / "inside.mp4").symlink_to(folder / "a b.mp4")
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.mp4")
    return folder


def test_files_below_the_folder_are_read(fetch: Fetch, allowed: Path) -> None:
    for name in ("a%20b.mp4", "a b.mp4", "inner/c.mp4", "./inner//c.mp4"):
        assert fetch(f"file://{allowed}/{name}", allowed_folder=allowed) == CONTENT
    assert fetch(f"file://localhost{allowed}/inner/c.mp4", allowed_folder=allowed) == CONTENT
    with pytest.raises(VideoError, match="not allowed here"):
        fetch(f"file://{allowed}/inner/c.mp4")


@pytest.mark.parametrize(
    "name",
    ["../secret.mp4", "inner/../../secret.mp4", "%2e%2e/secret.mp4", "../allowed-too/x.mp4",
     "link.mp4", "inside.mp4", "up/secret.mp4", "pipe.mp4", "inner", "", "none.mp4", "a%00.mp4"],
)  # fmt: skip
def test_files_elsewhere_links_and_others_are_not(fetch: Fetch, allowed: Path, name: str) -> None:
    with pytest.raises(VideoError, match="no file that may be read"):
        fetch(f"file://{allowed}/{name}", allowed_folder=allowed)


def test_no_other_folder_or_machine(fetch: Fetch, allowed: Path) -> None:
    for url in ("file:///etc/passwd", "file:relative.mp4", f"file://{allowed}-too/x.mp4"):
        with pytest.raises(VideoError, match="no file that may be read"):
            fetch(url, allowed_folder=allowed)
    with pytest.raises(VideoError, match="names another machine"):
        fetch(f"file://elsewhere{allowed}/inner/c.mp4", allowed_folder=allowed)


def test_a_link_that_is_put_in_place_meanwhile_is_not_followed(
    allowed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def swap(path: Any, *rest: Any, **named: Any) -> int:
        if path == "inner":
            (allowed / "inner").rename(allowed / "was")
            (allowed / "inner").symlink_to(allowed.parent / "allowed-too")
        return opened(path, *rest, **named)

    monkeypatch.setattr(os, "open", swap)
    monkeypatch.setattr(os, "supports_dir_fd", {swap})
    with pytest.raises(VideoError, match="no file that may be read"):
        os.close(open_beneath(allowed, allowed / "inner" / "x.mp4"))


def test_what_a_video_is_called() -> None:
    assert name_of("https://example.com/a/dog%20run.mp4?key=secret#x") == "dog run.mp4"
    assert name_of("data:video/mp4;base64,AAAA") == "video.mp4"
    assert name_of("file:///x/y.mp4") == "y.mp4"
