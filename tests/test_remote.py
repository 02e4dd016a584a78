"""A store at an address: what takes the place of renames and locks keeps the same promises."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

import media
from vipe import PerceptualWeights, ViPE
from vipe.errors import AdapterError, StoreError
from vipe.remote import CONFIG, STATE, WEIGHTS, RemoteShelf, is_remote, load_remote
from vipe.seer import Seer
from vipe.store import Store


@pytest.fixture
def address() -> Iterator[str]:
    """A place in memory of the test's own."""
    place = f"memory://{uuid.uuid4().hex}/store"
    yield place
    system = fsspec.filesystem("memory")
    if system.exists(place):
        system.rm(place, recursive=True)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=10, rate=5)


def deltas(weights: PerceptualWeights) -> list[Any]:
    return [weights.delta(target).tolist() for target in sorted(weights.targets)]


class Looked(Seer):
    """Counts how often it looks."""

    times = 0

    def see(self, *what: Any, **how: Any) -> PerceptualWeights:
        self.times += 1
        return super().see(*what, **how)


def looked(model: ViPE) -> Looked:
    seer = Seer.of(model)
    return Looked(seer.name, seer.config, seer.digest, lambda: model)


def test_a_video_is_seen_once_and_kept_whole(tiny_vipe: ViPE, clip: Path, address: str) -> None:
    seer, store = looked(tiny_vipe), Store(address + "/")
    with pytest.raises(StoreError, match="not a store"):
        list(store)
    entry = store.see(seer, clip)
    assert entry.path == f"{address}/{entry.key}"
    assert (entry.video, entry.frames, entry.sampled) == ("clip.mp4", 6, 6)
    assert Store(address).see(seer, clip) == entry
    assert seer.times == 1
    other = store.see(seer, clip, frames=2)
    assert list(Store(address)) == [entry, other]
    assert store.get(entry.key) == entry
    assert deltas(entry.load()) == deltas(tiny_vipe.see(clip))
    assert entry.load().metadata["video_digest"] == entry.video_digest
    assert len(entry.load().tokens) == 1, "to be composed with others"
    with pytest.raises(StoreError, match="no such entry"):
        store.get("0" * 20)
    store.forget(entry.key)
    assert list(Store(address)) == [other]
    with pytest.raises(StoreError, match="no such entry"):
        store.forget(entry.key)
    assert store.see(seer, clip) == store.get(entry.key)
    assert seer.times == 3


def test_what_is_put_in_part_is_no_entry_and_seen_again(
    tiny_vipe: ViPE, clip: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    system, seer, store = fsspec.filesystem("memory"), looked(tiny_vipe), Store(address)
    entry = store.see(seer, clip)
    weights = f"{address}/{entry.key}/{WEIGHTS}"
    whole = system.cat_file(weights)
    for part in (whole[:-1], whole[: len(whole) // 2], whole[:40], whole[:3], b"", None):
        if part is None:  # killed before the weights
            system.rm_file(weights)
        else:
            system.pipe_file(weights, part)
        assert list(store) == []
        with pytest.raises(StoreError, match="damaged entry"):
            store.get(entry.key)
        again = store.see(seer, clip)
        assert again.key == entry.key
        assert list(store) == [again]
    system.rm_file(f"{address}/{entry.key}/{CONFIG}")
    assert list(store) == []
    assert store.see(seer, clip).key == entry.key
    assert seer.times == 8
    assert "is damaged, and left out" in caplog.text
    system.pipe_file(weights, whole[:-1])
    with pytest.raises(AdapterError, match="damaged"):
        load_remote(f"{address}/{entry.key}")


def test_the_weights_are_put_last(
    tiny_vipe: ViPE, clip: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = fsspec.filesystem("memory")
    put: list[str] = []
    usual = type(system).pipe_file

    def pipe_file(self: Any, path: str, *arguments: Any, **named: Any) -> None:
        put.append(path.rpartition("/")[2])
        usual(self, path, *arguments, **named)

    monkeypatch.setattr(type(system), "pipe_file", pipe_file)
    Store(address).see(tiny_vipe, clip)
    assert put == [CONFIG, STATE, WEIGHTS]


def test_of_two_who_see_the_same_the_first_is_kept(
    tiny_vipe: ViPE, clip: Path, address: str
) -> None:
    entry = Store(address).see(tiny_vipe, clip)
    RemoteShelf(address).write(entry.key, tiny_vipe.see(clip))
    assert list(Store(address)) == [entry]


def test_a_store_that_does_not_answer(
    tiny_vipe: ViPE, clip: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("no\nentry")

    seer = looked(tiny_vipe)
    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", refuse)
        with pytest.raises(StoreError, match=r"cannot be read \(no entry\)"):
            Store(address).see(seer, clip)
    assert seer.times == 0
    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.memory.MemoryFileSystem.pipe_file", refuse)
        with pytest.raises(StoreError, match=r"cannot be written \(no entry\)"):
            Store(address).see(seer, clip)
    assert list(Store(address)) == []


def test_an_address_without_a_driver(tiny_vipe: ViPE, clip: Path) -> None:
    seer = looked(tiny_vipe)
    with pytest.raises(StoreError, match="nosuch"):
        Store("nosuch://place").see(seer, clip)
    assert seer.times == 0


def test_a_file_address_is_a_local_folder(tiny_vipe: ViPE, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a store"
    entry = Store(folder.as_uri()).see(tiny_vipe, clip)
    assert entry.path == folder / entry.key
    assert list(Store(folder)) == [entry]
    assert (folder / ".vipe" / "lock").is_file()


@pytest.mark.parametrize(
    ("name", "remote"),
    [
        ("s3://bucket/a", True),
        ("memory://a", True),
        ("http://host/a", False),
        ("rtsp://host/a", False),
        ("file:///a", False),
        ("a/b", False),
        (Path("s3://a"), False),
    ],
)
def test_what_is_an_address_of_adapters(name: Any, remote: bool) -> None:
    assert is_remote(name) is remote


def test_the_command_line(
    tiny_vipe: ViPE,
    clip: Path,
    address: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from vipe.cli import run

    tiny_vipe.save_pretrained(tmp_path / "model")
    model = ["--model", str(tmp_path / "model")]
    said: Callable[[], str] = lambda: capsys.readouterr().out  # noqa: E731
    assert run(["see", str(clip), "--store", address, *model]) == 0
    path = said().strip()
    assert path.startswith(f"{address}/")
    assert run(["ls", address]) == 0
    assert said().split("\t")[:2] == [path.rpartition("/")[2], "clip.mp4"]
    assert run(["ask", path, "What is it?", "--max-new-tokens", "4", *model]) == 0
    expected = said()
    assert run(["ask", str(clip), "What is it?", "--max-new-tokens", "4", *model]) == 0
    assert said() == expected
    assert run(["ask", f"{address}/none", "What is it?", *model]) == 2
    assert run(["ls", f"{address}-none"]) == 2
