"""The server, as OpenAI's own client sees it, over loopback."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import io
import json
import socket
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from running import KEY, Running, Start, held

import media
from vipe import Decoding, PerceptualWeights, ViPE
from vipe.chat import Message, prompt_ids
from vipe.serving.server.limits import Limits

QUESTION = "What is in the video?"


def url_of(path: Path, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def line_to(server: Running) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)))


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that comes soon, if it comes."""
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


def about(url: str, text: str = QUESTION, part: str = "video_url") -> list[Any]:
    return [
        {
            "role": "user",
            "content": [{"type": "text", "text": text}, {"type": part, part: {"url": url}}],
        }
    ]


def expected(saved_vipe: ViPE, clip: Path, question: Any = QUESTION, count: int = 12) -> str:
    return saved_vipe.ask(saved_vipe.see(clip), question, decoding=Decoding(max_new_tokens=count))


def ask(server: Running, messages: list[Any], **settings: Any) -> Any:
    name = server.service.name
    given = {"max_tokens": 12, "temperature": 0} | settings
    return server.client.chat.completions.create(model=name, messages=messages, **given)


@pytest.fixture(scope="session")
def keys(server: Running, clips: list[Path]) -> list[str]:
    """The ids of the clips, uploaded."""
    return [server.upload(clip.name, clip.read_bytes())[1]["id"] for clip in clips]


def test_an_answer_is_the_model_s_own(server: Running, saved_vipe: ViPE, clips: list[Path]) -> None:
    answer = ask(server, about(url_of(clips[0])))
    choice = answer.choices[0]
    assert choice.message.content == expected(saved_vipe, clips[0])
    assert choice.message.role == "assistant"
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens == len(prompt_ids(saved_vipe.tokenizer, QUESTION))
    assert 1 <= usage.completion_tokens <= 12
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens_details.visual_tokens == 0
    # Six frames of four patches; what the numbers are of is test_answer_cost's.
    assert usage.cost["twin"]["visual_tokens"] == 24
    assert usage.cost["twin"]["prompt_tokens"] == usage.prompt_tokens + 24
    assert usage.cost["twin"]["operations"] > usage.cost["operations"] > 0
    assert usage.cost["first_token_seconds"] > 0


def test_a_stream_has_the_same_words(server: Running, saved_vipe: ViPE, clips: list[Path]) -> None:
    options = {"include_usage": True}
    chunks = list(ask(server, about(url_of(clips[1])), stream=True, stream_options=options))
    *pieces, last = chunks
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces)
    assert text == expected(saved_vipe, clips[1])
    assert len(pieces) > 3
    assert [chunk.choices[0].finish_reason for chunk in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].choices[0].finish_reason in ("stop", "length")
    assert last.choices == []
    assert last.usage.completion_tokens >= 1
    assert len({chunk.id for chunk in chunks}) == 1


def test_several_turns_and_a_seen_video_by_its_id(
    server: Running, saved_vipe: ViPE, clips: list[Path], keys: list[str]
) -> None:
    turns: list[Message] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": "A box."},
        {"role": "user", "content": "What colour?"},
    ]
    want = expected(saved_vipe, clips[2], turns)
    assert want != expected(saved_vipe, clips[2], turns[3]["content"]), "the turns matter"
    by_field = ask(server, turns, extra_body={"video": keys[2]})
    assert by_field.choices[0].message.content == want
    assert by_field.video == keys[2]
    parts: list[Any] = [dict(turn) for turn in turns]
    parts[1]["content"] = [
        {"type": "video", "video": keys[2]},
        {"type": "text", "text": QUESTION},
    ]
    assert ask(server, parts).choices[0].message.content == want
    parts[1]["content"][0] = {"type": "video_url", "video_url": {"url": url_of(clips[2])}}
    assert ask(server, parts).choices[0].message.content == want


def test_pictures_and_files_of_the_allowed_folder(
    server: Running, saved_vipe: ViPE, tmp_path: Path, clips: list[Path]
) -> None:
    from PIL import Image

    picture = tmp_path / "picture.png"
    Image.fromarray(media.picture(200)).save(picture)
    answer = ask(server, about(url_of(picture, "image/png"), part="image_url"))
    assert answer.choices[0].message.content == expected(saved_vipe, picture)
    copy = server.allowed / "copy.mp4"
    copy.write_bytes(clips[3].read_bytes())
    answer = ask(server, about(f"file://{copy}"))
    assert answer.choices[0].message.content == expected(saved_vipe, clips[3])
    (server.allowed / "link.mp4").symlink_to(clips[3])
    for path in (clips[3], server.allowed / "link.mp4", server.allowed / ".." / "copy.mp4"):
        with pytest.raises(openai.BadRequestError, match="no file that may be read"):
            ask(server, about(f"file://{path}"))


def test_settings_are_heeded(server: Running, saved_vipe: ViPE, keys: list[str]) -> None:
    turns = [{"role": "user", "content": QUESTION}]
    whole = ask(server, turns, max_tokens=16, extra_body={"video": keys[0]})
    text = whole.choices[0].message.content

    short = ask(server, turns, max_tokens=3, extra_body={"video": keys[0]})
    assert short.usage.completion_tokens == 3
    assert short.choices[0].finish_reason == "length"
    newer = ask(
        server, turns, max_tokens=None, extra_body={"video": keys[0], "max_completion_tokens": 3}
    )
    assert newer.choices[0].message.content == short.choices[0].message.content

    stop = text[3:5]
    stopped = ask(server, turns, max_tokens=16, stop=[stop, "never"], extra_body={"video": keys[0]})
    assert stopped.choices[0].message.content == text[: text.find(stop)].strip()
    assert stopped.choices[0].finish_reason == "stop"

    def sampled(seed: int, **settings: Any) -> str:
        answer = ask(
            server, turns, seed=seed, extra_body={"video": keys[0]}, **{"temperature": 1} | settings
        )
        return answer.choices[0].message.content

    assert sampled(1) == sampled(1) != sampled(2)
    assert sampled(1, top_p=1e-6) == expected_of(saved_vipe, server, keys[0])


def expected_of(saved_vipe: ViPE, server: Running, key: str) -> str:
    weights = server.service.library.get(key).load()
    return saved_vipe.ask(weights, QUESTION, decoding=Decoding(max_new_tokens=12))


def test_questions_about_different_videos_are_answered_together(
    server: Running, saved_vipe: ViPE, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    want = {key: expected_of(saved_vipe, server, key) for key in keys}
    assert len(set(want.values())) > 1, "the videos make a difference"
    rows: list[int] = []
    monkeypatch.setattr(server.service.metrics.batch_rows, "observe", rows.append)
    turns = [{"role": "user", "content": QUESTION}]

    def one(key: str) -> str:
        return ask(server, turns, extra_body={"video": key}).choices[0].message.content

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(one, keys * 3))
    assert answers == [want[key] for key in keys * 3]
    assert max(rows) > 1


def test_what_is_seen_is_listed_forgotten_and_taken_along(
    server: Running, saved_vipe: ViPE, tmp_path: Path
) -> None:
    clip = media.video(tmp_path / "own.mp4", frames=12, rate=6)
    status, video = server.upload("../../my dog.mp4", clip.read_bytes())
    assert status == 201
    assert video["filename"] == "my dog.mp4"
    assert (video["seconds"], video["frames"]) == (2.0, 6)
    assert video["sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    key = video["id"]
    assert server.upload("again.mp4", clip.read_bytes())[1] == video, "it is seen once"
    listed = json.loads(server.call("/v1/videos")[2])["data"]
    assert video in listed
    assert json.loads(server.call(f"/v1/videos/{key}")[2]) == video

    want = saved_vipe.see(clip)
    for kind in ("zip", "tar"):
        status, headers, content = server.call(f"/v1/videos/{key}/adapter?format={kind}")
        assert status == 200
        assert headers["content-disposition"].endswith(f'"{key}.{kind}"')
        folder = tmp_path / kind
        if kind == "zip":
            zipfile.ZipFile(io.BytesIO(content)).extractall(folder)
        else:
            with tarfile.open(fileobj=io.BytesIO(content)) as packed:
                packed.extractall(folder, filter="data")
        taken = PerceptualWeights.load(folder / key)
        for target in want.targets:
            assert taken.B[target].equal(want.B[target])
    assert server.call(f"/v1/videos/{key}/adapter?format=rar")[0] == 400

    status, _, content = server.call(f"/v1/videos/{key}", method="DELETE")
    assert (status, json.loads(content)["deleted"]) == (200, True)
    assert server.call(f"/v1/videos/{key}", method="DELETE")[0] == 404
    assert server.call(f"/v1/videos/{key}/adapter")[0] == 404
    with pytest.raises(openai.NotFoundError, match="no video"):
        ask(server, [{"role": "user", "content": "?"}], extra_body={"video": key})
    for strange in ("..%2F..%2Fetc", "%00", "x" * 300, ".vipe"):
        assert server.call(f"/v1/videos/{strange}")[0] == 404


def test_models_health_and_figures(server: Running, keys: list[str]) -> None:
    (model,) = server.client.models.list().data
    assert model.id == server.service.name
    assert server.call("/health", key=None)[0] == 200
    ask(server, [{"role": "user", "content": "?"}], extra_body={"video": keys[0]})
    status, headers, content = server.call("/metrics", key=None)
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    figures = dict(
        line.rsplit(" ", 1) for line in content.decode().splitlines() if not line.startswith("#")
    )
    name = 'vipe_requests_total{path="/v1/chat/completions",status="200"}'
    assert float(figures[name]) >= 1
    assert float(figures["vipe_generated_tokens_total"]) >= 1
    assert float(figures['vipe_videos_total{result="seen"}']) >= 4
    assert float(figures["vipe_kept_adapters"]) >= 1
    assert float(figures["vipe_kept_adapter_bytes"]) > 0


def test_two_videos_together(
    server: Running, saved_vipe: ViPE, clips: list[Path], keys: list[str]
) -> None:
    seen = [server.service.library.weights(key) for key in keys[:2]]
    both = saved_vipe.compose(seen, at=[0.0, 2.0])  # the first has 20 frames, ten a second
    want = saved_vipe.ask(both, QUESTION, decoding=Decoding(max_new_tokens=12))
    assert want not in [expected(saved_vipe, clip) for clip in clips[:2]]
    turns: list[Any] = [{"role": "user", "content": QUESTION}]
    answer = ask(server, turns, extra_body={"video": keys[:2]})
    assert answer.choices[0].message.content == want
    assert answer.video == keys[:2]
    assert answer.usage.cost["twin"]["visual_tokens"] == 48
    assert answer.usage.prompt_tokens_details.visual_tokens == 0
    one: dict[str, Any] = {"type": "video", "video": keys[0]}
    two = {"type": "video_url", "video_url": {"url": url_of(clips[1])}}
    for parts in ([one, two], [one, two, one]):  # a video that is named twice is one
        turns = [{"role": "user", "content": [*parts, {"type": "text", "text": QUESTION}]}]
        answer = ask(server, turns)
        assert answer.choices[0].message.content == want
        assert answer.video == keys[:2]
    turns = [{"role": "user", "content": [one, {"type": "text", "text": QUESTION}]}]
    assert ask(server, turns, extra_body={"video": [keys[0]]}).video == keys[0]


def test_nothing_without_the_key(server: Running) -> None:
    for path in ("/v1/models", "/v1/videos", "/v1/chat/completions", "/v1/none"):
        for key in (None, "", "another", "a key of the test", "a key of the testsx"):
            status, headers, content = server.call(path, key=key)
            assert status == 401
            assert json.loads(content)["error"]["code"] == "invalid_api_key"
            assert headers["www-authenticate"] == "Bearer"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong").models.list()


BAD = {
    "no video": ({"messages": [{"role": "user", "content": "?"}]}, 400, "no video"),
    "three videos": (
        {"messages": about("data:,a") + about("data:,b"), "video": "c"}, 400, "here are 3",
    ),
    "three ids": (
        {"messages": [{"role": "user", "content": "?"}], "video": list("abc")}, 400, "video",
    ),
    "no text": ({"messages": about("data:,a", "")}, 400, "nothing is asked"),
    "no messages": ({"messages": []}, 400, "messages"),
    "a role": ({"messages": [{"role": "tool", "content": "?"}]}, 400, "role"),
    "a part": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "input_audio",
    ),
    "temperature": ({"messages": about("data:,a"), "temperature": 3}, 400, "temperature"),
    "top_p": ({"messages": about("data:,a"), "top_p": 0}, 400, "top_p"),
    "max_tokens": ({"messages": about("data:,a"), "max_tokens": 0}, 400, "max_tokens"),
    "stop": ({"messages": about("data:,a"), "stop": list("abcde")}, 400, "stop"),
    "n": ({"messages": about("data:,a"), "n": 2}, 400, "n"),
    "tools": ({"messages": about("data:,a"), "tools": [{}]}, 400, "tools is not supported"),
    "a long answer": (
        {"messages": about("data:,a"), "max_tokens": 512}, 400, "more than the 512",
    ),
    "a long prompt": ({"messages": about("data:,a", "x" * 600)}, 400, "more than the 512"),
    "a book": ({"messages": about("data:,a", "x" * 60_000)}, 400, "too long"),
    "another model": ({"messages": about("data:,a"), "model": "gpt-4o"}, 404, "not served here"),
    "no video in it": ({"messages": about("data:,a")}, 400, "not a video or picture"),
    "an empty one": ({"messages": about("data:,")}, 400, "empty|not a video"),
    "a private address": (
        {"messages": about("http://127.0.0.1:1/x.mp4")}, 400, "not at a public address",
    ),
    "no id": ({"messages": [{"role": "user", "content": "?"}], "video": "x"}, 404, "no video 'x'"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_bad_requests_are_told_in_one_line(server: Running, bad: str) -> None:
    import re

    given, wanted, reason = BAD[bad]
    status, _, content = server.call(
        "/v1/chat/completions", json.dumps(given).encode(), Content_Type="application/json"
    )
    error = json.loads(content)["error"]
    assert status == wanted, error
    assert re.search(reason, error["message"]), error
    assert "\n" not in error["message"]
    assert error["type"] == ("not_found_error" if wanted == 404 else "invalid_request_error")


def test_what_is_no_request_is_refused(server: Running) -> None:
    chat, kind = "/v1/chat/completions", "application/json"
    for body in (b"", b"{", b"[" * 100_000, b"\xff", b"null", b"1", b'{"messages": 1}'):
        assert server.call(chat, body, Content_Type=kind)[0] == 400
    assert server.call("/v1/videos", b"x", Content_Type="text/plain")[0] == 400
    assert server.call("/v1/videos", b"x", Content_Type="multipart/form-data")[0] == 400
    assert server.call("/v1/none")[0] == 404
    assert server.call("/v1/models", method="DELETE")[0] == 405
    assert server.call("/health", key=None)[0] == 200


def test_an_upload_that_is_too_large_is_refused(server: Running) -> None:
    status, answer = server.upload("large.mp4", bytes(2_000_001))
    assert status == 413
    assert "2000000 bytes" in answer["error"]["message"]
    # Announced, it is refused before a byte of it is read.
    with line_to(server) as line:
        line.sendall(
            b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000000\r\n"
            b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n"
        )
        line.settimeout(60)
        assert line.recv(12) == b"HTTP/1.1 413"


def test_who_finds_no_place_gets_429_and_when_to_come_back(
    start_server: Start, clips: list[Path]
) -> None:
    crowded = start_server(Limits(batch=1, waiting=1, videos=1))
    key = crowded.upload("a.mp4", clips[0].read_bytes())[1]["id"]
    turns = [{"role": "user", "content": "?"}]
    # The place of videos: one that comes in slowly holds it.
    with line_to(crowded) as slow:
        slow.sendall(
            b"POST /v1/videos HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n"
            b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n--x\r\n"
        )
        until(lambda: crowded.service.seeing.taken == 1)
        assert crowded.upload("b.mp4", clips[1].read_bytes())[0] == 429
        # Answers go on meanwhile.
        assert ask(crowded, turns, extra_body={"video": key}).choices[0].message.content
    until(lambda: crowded.service.seeing.taken == 0)

    with held(crowded) as engine, concurrent.futures.ThreadPoolExecutor(2) as pool:

        def one() -> str:
            return ask(crowded, turns, extra_body={"video": key}).choices[0].message.content

        answers = [pool.submit(one)]
        until(lambda: engine.running == 1)
        answers.append(pool.submit(one))
        until(lambda: engine.waiting == 1)
        with pytest.raises(openai.RateLimitError) as refused:
            one()
        assert int(refused.value.response.headers["retry-after"]) >= 1
        engine.go_on.set()  # type: ignore[attr-defined]
        assert answers[0].result() == answers[1].result()


@pytest.mark.parametrize("settings", [{"stream": True}, {}])
def test_a_client_that_goes_away_is_not_answered(
    server: Running, keys: list[str], settings: dict[str, Any]
) -> None:
    turns = [{"role": "user", "content": QUESTION}]
    given = {"messages": turns, "video": keys[1], "max_tokens": 400} | settings
    body = json.dumps(given).encode()
    with held(server) as engine:
        with line_to(server) as line:
            line.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
                b"Content-Type: application/json\r\n"
                b"Authorization: Bearer " + KEY.encode() + b"\r\n"
                b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
            )
            until(lambda: engine.running == 1)
            (question,) = engine._batch.rows
            assert not question.cancelled
        until(lambda: question.cancelled)
        engine.go_on.set()  # type: ignore[attr-defined]
        until(lambda: not engine.running)
        assert question.tokens < 400
