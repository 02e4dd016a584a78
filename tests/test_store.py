"""The store: a video is seen once, whatever it is called, and a killed run leaves nothing half."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import killing
import media
from vipe import PerceptualWeights, ViPE
from vipe.entry import Entry
from vipe.errors import StoreError, VideoError
from vipe.frames import fingerprint
from vipe.seer import Seer
from vipe.shelf import LocalShelf
from vipe.store import Store


class Counted(ViPE):
    """A model that notes what it looks at, and can be given what it sees."""

    looked: list[str]
    seen: PerceptualWeights | None = None

    @classmethod
    def of(cls, model: ViPE) -> Counted:
        counted = cls(
            model.config,
            encoder=model.encoder,
            video_to_weights=model.video_to_weights,
            language_model=model.language_model,
            tokenizer=model.tokenizer,
        )
        counted.looked = []
        return counted

    def see(self, video: Any, **how: Any) -> PerceptualWeights:
        self.looked.append(Path(video).name)
        return super().see(video, **how) if self.seen is None else self.seen


@pytest.fixture
def counted(tiny_vipe: ViPE) -> Counted:
    return Counted.of(tiny_vipe)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=10, rate=5)


def contents(entries: Iterable[Entry]) -> dict[str, dict[str, str]]:
    """All that is kept of each entry, tensors and notes, but when it was seen."""
    kept = {}
    for entry in entries:
        weights = entry.load()
        notes = {name: note for name, note in weights.metadata.items() if name != "seen"}
        sums = {target: repr(weights.delta(target).tolist()) for target in weights.targets}
        kept[entry.key] = notes | sums
    return kept


# Once -----------------------------------------------------------------------------------------


def test_an_entry_is_what_was_seen_and_says_what_of(
    counted: Counted, clip: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "deep" / "store")
    entry = store.see(counted, clip)
    assert (entry.video, entry.frames, entry.sampled) == ("clip.mp4", 6, 6)
    assert entry.seconds == pytest.approx(2.0)
    assert entry.merge_ratio == counted.config.merging.merge_ratio
    assert entry.video_digest == fingerprint(clip)
    assert entry.path == store.folder / entry.key
    assert store.get(entry.key) == entry
    assert list(store) == [entry]
    seen, kept = counted.see(clip), entry.load()
    for target in seen.targets:
        assert torch.equal(seen.delta(target), kept.delta(target))


def test_what_was_seen_is_not_looked_at_again(counted: Counted, clip: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    entry = store.see(counted, clip)
    copy = Path(shutil.copy(clip, tmp_path / "another name.mp4"))
    config = counted.config
    for again in (
        store.see(counted, clip),
        Store(store.folder).see(Seer.of(counted), copy),
        store.see(counted, clip, frames=config.frames, merge_ratio=config.merging.merge_ratio),
    ):
        assert again == entry
    assert counted.looked == ["clip.mp4"]


def test_other_bytes_another_model_or_another_look_are_another_entry(
    counted: Counted, tiny_vipe: ViPE, clip: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    changed = Path(shutil.copy(clip, tmp_path / "clip.mp4"))
    store.see(counted, changed)
    media.video(changed, frames=12, rate=5)
    store.see(counted, changed)
    store.see(counted, clip, frames=2)
    store.see(counted, clip, merge_ratio=0.75)
    store.see(counted, clip, merge_ratio=0.0)
    other = Counted.of(tiny_vipe)
    other.config = replace(other.config, frames=5)
    store.see(other, clip, frames=6)
    assert len({entry.key for entry in store}) == len(list(store)) == 6
    assert len({entry.model_digest for entry in store}) == 2
    assert len(counted.looked) == 5
    seen = [entry.seen for entry in store]
    assert seen == sorted(seen)


def test_pictures_and_folders_of_them_are_videos(counted: Counted, tmp_path: Path) -> None:
    folder, store = tmp_path / "pictures", Store(tmp_path / "store")
    folder.mkdir()
    for number in range(3):
        Image.fromarray(media.picture(number)).save(folder / f"{number}.png")
    whole, one = store.see(counted, folder), store.see(counted, folder / "1.png")
    assert (whole.video, whole.frames, one.frames, one.seconds) == ("pictures", 3, 1, 0.0)
    (folder / "notes.txt").write_text("no part of the video")
    assert store.see(counted, folder) == whole
    (folder / "2.png").rename(folder / "10.png")  # the order stays
    assert store.see(counted, folder) == whole
    (folder / "10.png").rename(folder / "00.png")
    assert store.see(counted, folder) != whole


# Killed -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes to kill")
def test_killed_at_any_step_the_store_ends_as_if_undisturbed(
    tiny_vipe: ViPE, clip: Path, tmp_path: Path
) -> None:
    tiny_vipe.save_pretrained(tmp_path / "model")
    counted = Counted.of(ViPE.from_pretrained(tmp_path / "model"))
    second = media.video(tmp_path / "second.mp4", frames=4, rate=5)
    undisturbed = Store(tmp_path / "undisturbed")
    expected = [undisturbed.see(counted, video) for video in (clip, second)]
    counted.see(clip).save(tmp_path / "seen")
    places = (tmp_path / "model", tmp_path / "seen", clip, tmp_path)
    run = subprocess.run(
        [sys.executable, killing.__file__, *map(str, places)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    empty, whole = 0, 0
    for step in range(1, int(run.stdout.split()[-1]) + 1):
        store = Store(tmp_path / f"store-{step}")
        before = list(store) if store.folder.is_dir() and any(store.folder.iterdir()) else []
        assert contents(before) in ({}, contents(expected[:1]))
        empty, whole = empty + (not before), whole + bool(before)
        assert [store.see(counted, video).key for video in (clip, second)] == [
            entry.key for entry in expected
        ]
        assert contents(store) == contents(expected)
        names = {path.name for path in store.folder.iterdir()}
        assert names == {".vipe", *(entry.key for entry in expected)}
        assert list((store.folder / ".vipe" / "work").iterdir()) == []
    assert empty > 5
    assert whole > 1


def test_leftovers_go_away_unless_somebody_writes(
    counted: Counted, clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "store"
    Store(folder).see(counted, clip)
    leftover = folder / ".vipe" / "work" / "left"
    leftover.mkdir()
    with LocalShelf(folder).writing() as place:  # another process, at work
        assert Store(folder).see(counted, clip)
        assert place.is_dir()
        assert leftover.is_dir()
    assert Store(folder).see(counted, clip)
    assert not leftover.exists()


def test_of_two_who_see_the_same_the_first_is_kept(
    counted: Counted, clip: Path, tmp_path: Path
) -> None:
    store, meanwhile = Store(tmp_path / "store"), Store(tmp_path / "store")
    prepared = Counted.of(counted)
    prepared.seen = counted.see(clip)
    both = threading.Barrier(2)

    class Slow(Counted):
        def see(self, video: Any, **how: Any) -> PerceptualWeights:
            both.wait()
            both.wait()
            return prepared.see(video, **how)

    found: list[Entry] = []
    slow = Slow.of(counted)
    thread = threading.Thread(target=lambda: found.append(store.see(slow, clip)))
    thread.start()
    both.wait()
    first = meanwhile.see(prepared, clip)
    both.wait()
    thread.join()
    assert found == [first] == list(store)


# What is wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_damaged_entry_is_left_out_and_seen_again(
    name: str, counted: Counted, clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "store")
    entry = store.see(counted, clip)
    media.cut(entry.path / name, 0.6)
    assert list(store) == []
    assert f"{entry.path} is damaged" in caplog.text
    with pytest.raises(StoreError, match=f"damaged entry '{entry.key}'"):
        store.get(entry.key)
    again = store.see(counted, clip)
    assert again.key == entry.key
    assert list(store) == [again]


def test_other_things_in_the_folder_are_no_entries(
    counted: Counted, clip: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    counted.see(clip).save(tmp_path / "clip")
    entry = store.see(counted, clip)
    assert list(store) == [entry]
    with pytest.raises(StoreError, match="no such entry"):
        store.get("clip")
    with pytest.raises(StoreError, match="no such entry"):
        store.get("../" + entry.key)


def test_what_cannot_be_seen_leaves_no_store(counted: Counted, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("no film")
    for video in (bad, tmp_path / "gone.mp4"):
        with pytest.raises(VideoError, match=video.name):
            Store(tmp_path / "store").see(counted, video)
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be(counted: Counted, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(StoreError, match="file: exists and is not a folder"):
        Store(file).see(counted, clip)
    assert counted.looked == []
    with pytest.raises(StoreError, match="cannot be written"):
        Store(file / "store").see(counted, clip)
    for folder in (file, tmp_path, tmp_path / "gone"):
        with pytest.raises(StoreError, match=f"{folder}: not a store"):
            list(Store(folder))


def test_an_entry_is_found_by_the_video_s_hash_without_looking(
    counted: Counted, clip: Path, tmp_path: Path
) -> None:
    store, seer, digest = Store(tmp_path / "store"), Seer.of(counted), fingerprint(clip)
    assert store.find(seer, digest) is None
    entry = store.see(seer, clip)
    assert store.find(seer, digest) == entry
    assert store.find(seer, digest, frames=seer.config.frames) == entry
    assert store.find(seer, digest, frames=seer.config.frames + 1) is None
    assert store.find(seer, digest, merge_ratio=0.25) is None
    assert counted.looked == ["clip.mp4"]


def test_what_is_forgotten_is_looked_at_anew(counted: Counted, clip: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = store.see(counted, clip).key
    store.forget(key)
    assert list(store) == []
    assert not list((store.folder / ".vipe" / "work").iterdir())
    for missing in (key, "x", "..", ".vipe"):
        with pytest.raises(StoreError, match="no such entry"):
            store.forget(missing)
    assert store.see(counted, clip).key == key
    assert counted.looked == ["clip.mp4", "clip.mp4"]
