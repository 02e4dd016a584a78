"""Uploads in view: what is told, the merge map that comes of it, and the limits of any upload."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from running import Running, Start

import media
from vipe import ViPE
from vipe.merging import VisualTokens
from vipe.serving.server.limits import Limits
from vipe.serving.server.merge_map import Looking


def watched(server: Running, name: str, content: bytes) -> list[dict[str, Any]]:
    """Upload a video in view; returns what was told."""
    status, headers, body = server.send(name, content, path="/v1/videos?stream=true")
    assert status == 200, body
    assert headers["content-type"].startswith("text/event-stream")
    events = body.decode().split("\n\n")
    assert events.pop() == ""
    return [json.loads(event.removeprefix("data: ")) for event in events]


def map_of(server: Running, key: str) -> dict[str, Any]:
    status, _, content = server.call(f"/v1/videos/{key}/map")
    assert status == 200, content
    return json.loads(content)


@pytest.fixture(scope="module")
def told(server: Running, clips: list[Path]) -> list[dict[str, Any]]:
    # Bytes of its own after the end: other tests upload the clip, too.
    return watched(server, "seen.mp4", clips[3].read_bytes() + b"its own")


def test_all_is_told_in_order(told: list[dict[str, Any]], clips: list[Path]) -> None:
    assert told[0] == {"stage": "received", "bytes": clips[3].stat().st_size + 7}
    decoding = [event for event in told if event["stage"] == "decoding"]
    assert decoding == [{"stage": "decoding", "done": n, "of": 6} for n in range(7)]
    encoding = [event for event in told if event["stage"] == "encoding"]
    assert encoding == [{"stage": "encoding", "done": n, "of": 6} for n in (4, 6)]
    assert told[-2] == {"stage": "merged", "patches": 24, "tokens": 12}
    assert told[-1]["stage"] == "seen"
    assert told[-1]["video"]["filename"] == "seen.mp4"
    assert told[-1]["video"]["frames"] == 6


def test_the_map_is_the_merge_s(
    server: Running, told: list[dict[str, Any]], saved_vipe: ViPE, clips: list[Path]
) -> None:
    kept: list[VisualTokens] = []

    class Witness:
        def encoded(self, frames: int) -> None: ...
        def merged(self, tokens: VisualTokens) -> None:
            kept.append(tokens)

    saved_vipe.see(clips[3], witness=Witness())
    key = told[-1]["video"]["id"]
    made = map_of(server, key)
    (tokens,) = kept
    assert tokens.assignment is not None
    assert (made["video"], made["grid"], made["every"]) == (key, 2, 1)
    assert torch.tensor(made["assignment"]).flatten().equal(tokens.assignment[0])
    assert made["size"] == tokens.size[0].tolist()
    assert torch.tensor(made["centre"]).allclose(tokens.centre[0], atol=1e-3)
    assert made["seconds"] == sorted(made["seconds"])
    assert len(made["seconds"]) == len(made["assignment"]) == 6
    for number in range(6):
        status, headers, content = server.call(f"/v1/videos/{key}/frames/{number}")
        assert (status, headers["content-type"]) == (200, "image/jpeg")
        assert Image.open(io.BytesIO(content)).size == (64, 64), "what the model saw"
    for number in (-1, 6):
        assert server.call(f"/v1/videos/{key}/frames/{number}")[0] == 404


def test_a_picture_has_one_frame(server: Running) -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 30), "green").save(content, "PNG")
    events = watched(server, "green.png", content.getvalue())
    assert [event["of"] for event in events if event["stage"] == "encoding"] == [1]
    assert [event["done"] for event in events if event["stage"] == "decoding"][-1] == 1
    assert map_of(server, events[-1]["video"]["id"])["seconds"] == [0.0]


def test_what_was_seen_without_a_map_gets_one(server: Running, tmp_path: Path) -> None:
    content = media.video(tmp_path / "short.mp4", frames=3, rate=10).read_bytes()
    status, video = server.upload("short.mp4", content)
    assert status == 201
    status, _, body = server.call(f"/v1/videos/{video['id']}/map")
    assert (status, json.loads(body)["error"]["code"]) == (404, "map_not_found")
    before = server.service.library.get(video["id"]).seen
    events = watched(server, "short.mp4", content)
    assert events[-1]["video"]["id"] == video["id"]
    of = [event["of"] for event in events if event["stage"] == "decoding"]
    assert (of[0], of[-1]) == (6, 3), "a short video has fewer"
    assert len(map_of(server, video["id"])["seconds"]) == 3
    assert server.service.library.get(video["id"]).seen == before, "nothing was written anew"
    again = watched(server, "short.mp4", content)
    assert [event["stage"] for event in again] == ["received", "seen"], "it is known, with its map"
    assert server.call(f"/v1/videos/{video['id']}", method="DELETE")[0] == 200
    assert server.call(f"/v1/videos/{video['id']}/map")[0] == 404
    assert server.call(f"/v1/videos/{video['id']}/frames/0")[0] == 404


def test_a_broken_file_is_told_in_one_line(server: Running, clips: list[Path]) -> None:
    for content in (b"not a video", clips[0].read_bytes()[:2000], b""):
        events = watched(server, "broken.mp4", content)
        error = events[-1]["error"]
        assert error["code"] == "invalid_video"
        assert error["message"].startswith("broken.mp4 ")
        assert "\n" not in error["message"]
        assert "/" not in error["message"], "no path of the server's"
    assert server.service.seeing.taken == 0, "its place is free again"


def test_what_does_not_come_as_it_should_has_its_status(server: Running) -> None:
    status, _, body = server.send("large.mp4", b"x" * 2_000_001, path="/v1/videos?stream=true")
    assert (status, json.loads(body)["error"]["code"]) == (413, "too_large")
    status, _, body = server.call("/v1/videos?stream=true", b"{}", Content_Type="application/json")
    assert (status, json.loads(body)["error"]["param"]) == (400, "file")
    assert server.service.seeing.taken == 0


def test_without_the_key_there_is_nothing(server: Running, told: list[dict[str, Any]]) -> None:
    key = told[-1]["video"]["id"]
    for path in (f"/v1/videos/{key}/map", f"/v1/videos/{key}/frames/0"):
        assert server.call(path, key="wrong")[0] == 401
    assert server.call("/v1/videos?stream=true", b"x", key=None)[0] == 401


def test_there_is_no_more_room_than_for_others(start_server: Start, clips: list[Path]) -> None:
    server = start_server(Limits(videos=1))
    library, go_on = server.service.library, threading.Event()
    see = library.see

    def wait(*given: Any) -> Any:
        go_on.wait(120)
        return see(*given)

    library.see = wait  # type: ignore[method-assign]
    results: list[Any] = []
    first = threading.Thread(
        target=lambda: results.append(watched(server, "one.mp4", clips[0].read_bytes()))
    )
    first.start()
    try:
        while not server.service.seeing.taken:
            first.join(0.01)
        status, headers, _ = server.send("two.mp4", b"x", path="/v1/videos?stream=true")
        assert status == 429
        assert int(headers["retry-after"]) >= 1
    finally:
        go_on.set()
        first.join(120)
    assert results[0][-1]["stage"] == "seen"


def test_who_goes_away_while_it_is_looked_at_leaves_it_seen(
    start_server: Start, clips: list[Path]
) -> None:
    server = start_server(Limits())
    looked, go_on = threading.Event(), threading.Event()
    encoded = Looking.encoded

    def wait(self: Looking, frames: int) -> None:
        looked.set()
        go_on.wait(120)
        encoded(self, frames)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Looking, "encoded", wait)
        line = server.begin("gone.mp4", clips[1].read_bytes(), path="/v1/videos?stream=true")
        assert looked.wait(120)
        line.close()
        go_on.set()
        while server.service.seeing.taken:
            threading.Event().wait(0.01)
    (entry,) = server.service.library.entries()
    assert entry.video == "gone.mp4"
    assert entry.key in server.service.maps
