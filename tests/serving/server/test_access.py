"""Who may ask, and how much may come in, before anything behind it is troubled."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from vipe.serving.server.access import Access
from vipe.serving.server.limits import Limits
from vipe.serving.server.metrics import Metrics

LIMITS = Limits(body_bytes=10, body_seconds=0.2, bytes=100, waiting=1, batch=1, videos=1)


async def behind(scope: Any, receive: Any, send: Any) -> None:
    """Say how many bytes came."""
    body = await Request(scope, receive).body()
    await Response(str(len(body)))(scope, receive, send)


def call(
    access: Access,
    pieces: list[bytes],
    *,
    path: str = "/v1/chat/completions",
    headers: dict[str, str] | None = None,
    pause: float = 0.0,
) -> tuple[int, bytes]:
    """Make a request whose body comes in pieces; returns status and body."""
    sent: list[Any] = []
    coming = iter(pieces)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        piece = next(coming, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
    }
    asyncio.run(access(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.fixture
def access() -> Access:
    return Access(behind, api_key=None, limits=LIMITS, metrics=Metrics())


def test_bodies_are_counted_as_they_come(access: Access) -> None:
    assert call(access, [b"12345", b"67890"]) == (200, b"10")
    status, answer = call(access, [b"12345", b"678901"])
    assert status == 413
    assert "10 bytes" in json.loads(answer)["error"]["message"]
    assert call(access, [b"x" * 90], path="/v1/videos") == (200, b"90")
    assert call(access, [b"x" * 2**17], path="/v1/videos")[0] == 413
    assert call(access, [], headers={"content-length": "11"})[0] == 413
    assert call(access, [], headers={"content-length": "9" * 5000})[0] == 413


def test_a_body_has_to_come_in_time(access: Access) -> None:
    status, answer = call(access, [b"1"] * 9, pause=0.1)
    assert status == 408
    assert "0.2 s" in json.loads(answer)["error"]["message"]


def test_no_more_requests_at_once_than_can_wait(access: Access) -> None:
    access._open = 3
    status, answer = call(access, [b"1"])
    assert (status, json.loads(answer)["error"]["code"]) == (429, "busy")
    assert call(access, [], path="/health")[0] == 200
    access._open = 2
    assert call(access, [b"1"])[0] == 200
    assert access._open == 2


@pytest.mark.parametrize(
    ("given", "status"),
    [("Bearer key", 200), ("Bearer kez", 401), ("Bearer keyy", 401), ("key", 401), ("", 401)],
)
def test_the_key_is_asked_for_under_v1(given: str, status: int) -> None:
    access = Access(behind, api_key="key", limits=LIMITS, metrics=Metrics())
    assert call(access, [], headers={"authorization": given})[0] == status
    assert call(access, [], path="/health", headers={"authorization": given})[0] == 200
    text = access._metrics.text().decode()
    line = f'vipe_requests_total{{path="/v1/chat/completions",status="{status}"}} 1.0'
    assert line in text


@pytest.mark.parametrize(
    ("site", "status"),
    [(None, 200), ("none", 200), ("same-origin", 200), ("same-site", 403), ("cross-site", 403)],
)
def test_pages_of_other_sites_need_a_key(site: str | None, status: int) -> None:
    headers = {} if site is None else {"sec-fetch-site": site}
    without = Access(behind, api_key=None, limits=LIMITS, metrics=Metrics())
    for path in ("/v1/chat/completions", "/v1/videos"):
        assert call(without, [], path=path, headers=headers)[0] == status
    assert call(without, [], path="/", headers=headers)[0] == 200, "a link to the page is none"
    within = Access(behind, api_key="key", limits=LIMITS, metrics=Metrics())
    assert call(within, [], headers=headers | {"authorization": "Bearer key"})[0] == 200
