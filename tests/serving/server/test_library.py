"""Seen videos: each once, as the model itself sees it; what is in memory is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vipe import ViPE
from vipe.errors import StoreError, VideoError
from vipe.seer import Seer
from vipe.serving.server.decoding import Decoder
from vipe.serving.server.library import Library
from vipe.serving.server.spool import Spool
from vipe.store import Store


@pytest.fixture
def seer(model_folder: Path) -> Seer:
    return Seer.named(model_folder)


def see(library: Library, clip: Path, name: str) -> str:
    spool = Spool(10**7)
    with spool.file(name) as file:
        file.write(clip.read_bytes())
        file.finish()
        assert library.known(file.digest) is None
        entry = library.see(file)
        assert library.known(file.digest) == entry
    spool.close()
    return entry.key


def test_what_is_seen_apart_is_what_the_model_sees_itself(
    seer: Seer, decoder: Decoder, saved_vipe: ViPE, clips: list[Path], tmp_path: Path
) -> None:
    library = Library(Store(tmp_path), seer, decoder, room=10**9)
    key = see(library, clips[0], "holiday.mp4")
    want, got = saved_vipe.see(clips[0]), library.weights(key)
    for target in want.targets:
        assert torch.equal(got.A[target], want.A[target])
        assert torch.equal(got.B[target], want.B[target])
    assert got.metadata["video"] == library.get(key).video == "holiday.mp4"
    assert got.metadata["seconds"] == want.metadata["seconds"]
    assert got.metadata["frames"] == want.metadata["frames"]
    # `vipe see --store` finds it, and so does a server that is told another number of frames not.
    assert Store(tmp_path).see(seer, clips[0]).key == key
    other = Library(Store(tmp_path), seer, decoder, frames=3, room=10**9)
    assert see(other, clips[0], "again.mp4") != key


def test_the_least_lately_asked_go_first(
    seer: Seer, decoder: Decoder, clips: list[Path], tmp_path: Path
) -> None:
    library = Library(Store(tmp_path), seer, decoder, room=10**9)
    keys = [see(library, clip, clip.name) for clip in clips[:3]]
    assert [entry.key for entry in library.entries()] == keys
    weights = [library.weights(key) for key in keys]
    assert library.kept == 3
    assert all(w.A is weights[0].A for w in weights), "A is in memory once"
    assert all(w.tokens for w in weights), "two of them can be put one after the other"
    own = sum(B.nbytes for B in weights[0].B.values()) + weights[0].tokens[0].features.nbytes
    shared = sum(A.nbytes for A in weights[0].A.values())
    assert library.kept_bytes == 3 * own + shared

    small = Library(Store(tmp_path), seer, decoder, room=2 * own + shared)
    for key in (*keys[:2], keys[0], keys[2]):
        small.weights(key)
    assert [small.at_hand(key) is not None for key in keys] == [True, False, True]
    assert small.weights(keys[0]) is small.at_hand(keys[0])


def test_what_is_forgotten_is_gone(
    seer: Seer, decoder: Decoder, clips: list[Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    library = Library(Store(store), seer, decoder, room=10**9)
    assert library.entries() == []
    key = see(library, clips[0], "a.mp4")
    library.weights(key)
    library.forget(key)
    assert library.at_hand(key) is None
    assert library.entries() == []
    for call in (library.weights, library.get, library.forget):
        with pytest.raises(StoreError, match="no such entry"):
            call(key)


def test_another_model_s_are_not_answered_from(
    seer: Seer, decoder: Decoder, tiny_vipe: ViPE, clips: list[Path], tmp_path: Path
) -> None:
    other = Store(tmp_path).see(tiny_vipe, clips[0])  # saving rounds: another hash
    library = Library(Store(tmp_path), seer, decoder, room=10**9)
    assert library.entries() == []
    with pytest.raises(StoreError, match="another model"):
        library.weights(other.key)


def test_a_file_that_cannot_be_seen_leaves_nothing(
    seer: Seer, decoder: Decoder, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    text.write_text("Not a film.\n" * 40)
    library = Library(Store(tmp_path / "store"), seer, decoder, room=10**9)
    with pytest.raises(VideoError, match=r"^a\.mp4 is not a video"):
        see(library, text, "a.mp4")
    assert not (tmp_path / "store").exists()
