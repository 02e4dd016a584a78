"""Mutated files against the upload route: none takes the server down, or keeps it.

`VIPE_FUZZ=1000 pytest tests/serving/server/test_fuzz.py` tries so many files in place of a few.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from running import Running

import media

COUNT = int(os.environ.get("VIPE_FUZZ", "60"))
SEED = int(os.environ.get("VIPE_FUZZ_SEED", "0"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One good file of each format, by its name."""
    folder = tmp_path_factory.mktemp("fuzz")
    frames = [Image.fromarray(media.picture(i)) for i in range(5)]

    def picture(kind: str, **settings: object) -> bytes:
        content = io.BytesIO()
        frames[0].save(content, kind, **settings)
        return content.getvalue()

    animated = {"save_all": True, "append_images": frames[1:], "duration": 100}
    matroska = media.video(folder / "a.mkv", frames=20, codec="mpeg4")
    return {
        "a.mp4": media.video(folder / "a.mp4", frames=20).read_bytes(),
        "a.mkv": matroska.read_bytes(),
        "a.avi": media.video(folder / "a.avi", frames=20, codec="mpeg4").read_bytes(),
        "a.gif": picture("GIF", **animated),
        "a.webp": picture("WEBP", **animated),
        "a.png": picture("PNG"),
        "a.jpg": picture("JPEG"),
        "text.mp4": b"Not a film, whatever its name says.\n" * 30,
        "playlist.mp4": f"#EXTM3U\n#EXTINF:1,\n{matroska}\n#EXT-X-ENDLIST\n".encode(),
    }


def _flip(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 4, 64])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _head(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice([1, 3])):
        content[draw.randrange(min(64, len(content)))] = draw.randrange(256)


def _number(content: bytearray, draw: random.Random) -> None:
    at = draw.randrange(max(1, len(content) - 4))
    content[at : at + 4] = draw.choice(
        [b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f"]
    )


def _cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def _hole(content: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(content))
    del content[at : at + draw.choice([1, 16, 500])]


def _repeat(content: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(content))
    content[at:at] = content[at : at + draw.choice([1, 40, 2000])] * draw.choice([1, 30])


def _noise(content: bytearray, draw: random.Random) -> None:
    at = draw.randrange(len(content))
    content[at : at + 200] = draw.randbytes(200)


MUTATIONS: list[Callable[[bytearray, random.Random], None]] = [
    _flip, _head, _number, _cut, _hole, _repeat, _noise,
]  # fmt: skip


def mutated(content: bytes, draw: random.Random) -> bytes:
    result = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5])):
        draw.choice(MUTATIONS)(result, draw)
        if not result:
            break
    return bytes(result)


def test_whole_files_are_seen_and_text_is_not(server: Running, whole: dict[str, bytes]) -> None:
    outcomes = {name: server.upload(name, content)[0] for name, content in whole.items()}
    assert outcomes == {
        name: 400 if name in ("text.mp4", "playlist.mp4") else 201 for name in whole
    }


def test_mutated_files_do_no_harm(server: Running, whole: dict[str, bytes]) -> None:
    draw = random.Random(SEED)
    names = list(whole)
    outcomes: dict[int, int] = {}
    for i in range(COUNT):
        name = names[i % len(names)]
        content = mutated(whole[name], draw)
        status, answer = server.upload(name, content)  # hangs no longer than the client waits
        outcomes[status] = outcomes.get(status, 0) + 1
        assert status in (201, 400), (i, name, answer)
        if status == 400:
            message = answer["error"]["message"]
            assert "\n" not in message
            assert str(server.service.seeing.spool._folder.name) not in message
    assert outcomes[400] > COUNT / 10, "some of them are broken indeed"
    assert server.call("/health")[0] == 200
    assert server.upload("a.mp4", whole["a.mp4"])[0] == 201
    assert not list(Path(server.service.seeing.spool._folder.name).iterdir()), "nothing stays"
    print(f"{COUNT} files: {outcomes}")


def test_what_ends_the_decoder_does_not_end_the_server(
    server: Running, clips: list[Path], whole: dict[str, bytes]
) -> None:
    process = server.service.decoder.process
    os.kill(process, 9)
    status, _ = server.upload("b.png", mutated(whole["a.png"], random.Random(1)) + b"x")
    assert status in (201, 400)
    assert server.upload("a.mp4", whole["a.mp4"] + b"\0" * 9)[0] == 201
    assert server.service.decoder.process != process
