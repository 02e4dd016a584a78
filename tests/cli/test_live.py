"""`vipe see` and `vipe ask` on what is live, and on what breaks off."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import media
from vipe import Frames, PerceptualWeights, ViPE
from vipe.frames import Rate, read_frames

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds that play from their beginning; do not write to its folder."""
    return media.video(tmp_path_factory.mktemp("film") / "film.mkv", frames=60, rate=10)


def deltas(weights: PerceptualWeights) -> list[Any]:
    return [weights.delta(target).tolist() for target in sorted(weights.targets)]


def live(film: Path, rate: int) -> Frames:
    """The frames of a film, of which nobody knows how long it is."""
    frames = read_frames(film, Rate(rate), size=64)
    return Frames(pixels=frames.pixels, seconds=frames.seconds)


def test_stdin(
    command: Command,
    model_folder: Path,
    saved_vipe: ViPE,
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stdin:
        def __init__(self, read: int) -> None:
            self.buffer = os.fdopen(read, "rb")

        def isatty(self) -> bool:
            return False

    def piped(*words: object) -> Any:
        read, write = os.pipe()
        with os.fdopen(write, "wb") as out:
            sender = threading.Thread(target=lambda: (out.write(film.read_bytes()), out.close()))
            sender.start()
            stdin = Stdin(read)
            monkeypatch.setattr("sys.stdin", stdin)
            done = command(*words, "--model", model_folder)
            stdin.buffer.close()
            sender.join()
        return done

    done = piped("see", "-", "-o", tmp_path, "--rate", 1)
    assert (done.status, done.out, done.err) == (0, f"{tmp_path / 'stdin'}\n", "")
    kept = PerceptualWeights.load(tmp_path / "stdin")
    assert (kept.metadata["video"], kept.metadata["frames"]) == ("stdin", "6")
    assert deltas(kept) == deltas(saved_vipe.see(live(film, 1)))

    done = piped("ask", "-", "Why?", "--until", 2, "--json", "--max-new-tokens", 2)
    result = json.loads(done.out)
    assert done.status == 0
    assert (result["frames"], result["until"], result["visual_tokens_in_prompt"]) == (4, 1.5, 0)
    assert min(result["seconds"].values()) > 0


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_an_address(
    share: float, command: Command, model_folder: Path, film: Path, tmp_path: Path
) -> None:
    with media.served(film.read_bytes(), share) as place:
        address = f"http://me:secret@{place}/live/film.mkv"
        done = command("see", address, "-o", tmp_path, "--every", 2, "--model", model_folder)
    assert done.status == 0
    kept = PerceptualWeights.load(tmp_path / "film")
    assert "secret" not in done.out + done.err + str(kept.metadata)
    lines = done.out.splitlines()
    assert set(lines) == {str(tmp_path / "film")}
    if share == 1:
        assert (len(lines), kept.metadata["until"], done.err) == (3, "5.500", "")
    else:
        until = float(kept.metadata["until"])
        assert 2 <= until < 5
        assert f"what was seen until {until:.2f} s is kept" in done.err


def test_a_file_that_is_being_written_is_asked_meanwhile(
    command: Command, model_folder: Path, saved_vipe: ViPE, film: Path, tmp_path: Path
) -> None:
    growing, out, content = tmp_path / "growing.mkv", tmp_path / "out", film.read_bytes()
    growing.write_bytes(content[:100])
    meanwhile: list[PerceptualWeights] = []

    def write() -> None:
        with growing.open("ab", buffering=0) as file:
            file.write(content[100 : len(content) * 2 // 3])
            for _ in range(600):
                if (out / "growing").is_dir():
                    meanwhile.append(PerceptualWeights.load(out / "growing"))
                    break
                time.sleep(0.05)
            file.write(content[len(content) * 2 // 3 :])

    writer = threading.Thread(target=write)
    writer.start()
    done = command("see", growing, "-o", out, "--every", 2, "--follow", 2, "--model", model_folder)
    writer.join()
    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [str(out / "growing")] * 3
    assert [path.name for path in out.iterdir()] == ["growing"]
    (early,) = meanwhile
    assert (early.metadata["until"], early.metadata["frames"]) == ("2.000", "4")
    early.check_fits(saved_vipe.language_model)
    whole = PerceptualWeights.load(out / "growing")
    # The length of a live video is the second of its last frame.
    assert (whole.metadata["until"], whole.metadata["frames"]) == ("5.500", "12")
    assert deltas(early) != deltas(whole) == deltas(saved_vipe.see(live(film, 2)))


def test_a_file_that_is_cut_off(
    command: Command, model_folder: Path, film: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(film.read_bytes())
    media.cut(cut, 0.6)
    alone = command("see", cut, "-o", tmp_path / "out", "--model", model_folder)
    assert (alone.status, "is truncated" in alone.error) == (2, True)
    for words in (("see", cut, "-o", tmp_path / "out", "--every", 2), ("ask", cut, "Why?")):
        more = ("--json", "--rate", 2, "--max-new-tokens", 2) if words[0] == "ask" else ()
        done = command(*words, *more, "--model", model_folder)
        assert done.status == 0
        assert "cut.mkv is truncated: its frames end at" in done.err
        assert "s is kept" in done.err
        if words[0] == "ask":
            result = json.loads(done.out)
            assert "is truncated" in result["cut_off"]
            assert 2 <= result["until"] < 5
    kept = PerceptualWeights.load(tmp_path / "out" / "cut")
    assert "is truncated" in kept.metadata["cut_off"]


def test_wrong_use_is_one_line(
    command: Command, model_folder: Path, film: Path, tmp_path: Path
) -> None:
    store, out = ("--store", tmp_path / "store"), ("-o", tmp_path / "out")
    address = "rtsp://me:secret@127.0.0.1:9/camera"
    for words, fault in (
        (("see", address, *store), "rtsp://127.0.0.1:9/camera: a store keeps whole files"),
        (("see", film, "--every", 2, *store), "a store keeps whole files"),
        (("see", film, "--every", 0, *out), "it must be above 0"),
        (("see", film, "--frames", 2, "--rate", 2, *out), "give either --frames or --rate"),
        (("see", address, "--frames", 2, *out), "give --rate, not --frames"),
        (("see", film, "--follow", 1, "--frames", 2, *out), "give --rate, not --frames"),
        (("see", address, *out), "rtsp://127.0.0.1:9/camera cannot be opened"),
        (("see", tmp_path / "gone", "--every", 2, *out), "gone: no such file or folder"),
        (("ask", tmp_path / "gone", "Why?", "--rate", 2), "gone: no such file or folder"),
        (("chat", "-"), "the video cannot"),
    ):
        done = command(*words, "--model", model_folder)
        assert done.status == 2
        assert fault in done.error
        assert "secret" not in done.err
    assert list(tmp_path.iterdir()) == []
