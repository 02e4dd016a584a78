"""The feature store: everything once, nothing lost, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny
from vipe.data.clip import Clip, Shot
from vipe.errors import VideoError, ViPEError
from vipe.frames import Frames
from vipe.training import features
from vipe.training.features import FeatureStore, encode_entries


def fill(store: FeatureStore, encoder: tiny.ColourEncoder, **how: int) -> tiny.ColourClips:
    source = tiny.ColourClips()
    store.add(source, encoder, **how)  # type: ignore[arg-type]
    return source


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_features_are_the_encoders_in_half_precision(tmp_path: Path) -> None:
    encoder, store = tiny.ColourEncoder(), FeatureStore(tmp_path)
    source = fill(store, encoder, entries_per_shard=4)
    assert len(store) == 6
    for store in (store, FeatureStore(tmp_path)):  # noqa: B020
        for key in map("plain/{}".format, tiny.COLOURS):
            wanted = encoder.encode(source.render(key)).features.half()
            assert torch.equal(store[key], wanted)
            assert key in store
    assert "plain/pink" not in store


@pytest.mark.parametrize("workers", [1, 3])
def test_everything_is_encoded_once_in_full_batches(tmp_path: Path, workers: int) -> None:
    encoder, told = tiny.ColourEncoder(), []
    source = tiny.ColourClips()
    FeatureStore(tmp_path).add(
        source, encoder, workers=workers, progress=lambda *numbers: told.append(numbers)
    )
    assert (encoder.encoded, encoder.batches) == (12, 3)  # 6 entries of 2 frames, 4 at a time
    assert told == [(6, 6)]
    again = fill(FeatureStore(tmp_path), encoder)
    assert encoder.encoded == 12
    assert again.rendered == []


def test_only_what_is_asked_for_and_not_there_is_encoded(tmp_path: Path) -> None:
    encoder, store, source = tiny.ColourEncoder(), FeatureStore(tmp_path), tiny.ColourClips()
    store.add(source, encoder, keys=["plain/red", "plain/blue", "plain/red"])
    assert source.rendered == ["plain/red", "plain/blue"]
    store.add(source, encoder)
    assert source.rendered[2:] == ["plain/green", "plain/white", "plain/black", "plain/yellow"]


class Failing(tiny.ColourClips):
    """Cannot render one of its entries."""

    def render(self, key: str) -> Frames:
        if key == "plain/black":
            raise RuntimeError("out of paint")
        return super().render(key)


def test_a_run_that_stops_loses_at_most_a_shard(tmp_path: Path) -> None:
    encoder = tiny.ColourEncoder()
    with pytest.raises(RuntimeError, match="out of paint"):
        FeatureStore(tmp_path).add(Failing(), encoder, entries_per_shard=2)
    assert all(name.endswith(".safetensors") for name in names(tmp_path))
    store = FeatureStore(tmp_path)
    assert len(store) == 4
    again, encoder.encoded = tiny.ColourClips(), 0
    store.add(again, encoder, entries_per_shard=2)
    assert again.rendered == ["plain/black", "plain/yellow"]
    assert encoder.encoded == 4
    assert len(FeatureStore(tmp_path)) == 6


def test_a_shard_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    def refused(*_: object) -> None:
        raise OSError("no space left on device")

    # While the file is written, and before it has its name.
    for owner, name, failing in ((features, "save_file", full), (Path, "replace", refused)):
        store = FeatureStore(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, failing)
            with pytest.raises(OSError, match="no space"):
                fill(store, tiny.ColourEncoder())
        assert names(tmp_path) == []
        assert len(store) == 0


@pytest.mark.parametrize("damage", [0, 9, 300])
def test_a_damaged_shard_is_encoded_again(
    tmp_path: Path, damage: int, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = tiny.ColourEncoder()
    fill(FeatureStore(tmp_path), encoder, entries_per_shard=3)
    shard = sorted(tmp_path.iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:damage])
    store = FeatureStore(tmp_path)
    assert f"{shard} is damaged" in caplog.text
    assert len(store) == 3
    encoder.encoded = 0
    fill(store, encoder)
    assert encoder.encoded == 6
    assert len(FeatureStore(tmp_path)) == 6


def test_another_encoder_has_another_folder(tmp_path: Path) -> None:
    def folder(**settings: object) -> Path:
        return FeatureStore.for_encoder(tmp_path, tiny.ColourEncoder(**settings)).folder

    assert folder() == folder()
    assert folder().parent == tmp_path / "features"
    others = {folder(grid=3), folder(name="other"), folder(image_size=16), folder()}
    assert len(others) == 4
    # How fast it computes does not change what it sees.
    assert folder(batch_size=1) == folder(dtype="bfloat16") == folder()


def test_a_clip_shows_the_frames_of_its_shots(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    fill(store, tiny.ColourEncoder())
    clip = Clip(
        shots=(
            Shot(key="plain/red", index=(1, 0, 0), seconds=(0.0, 0.5, 1.0)),
            Shot(key="plain/blue", index=(1,), seconds=(1.5,)),
        ),
        questions=(),
    )
    shown, seconds = store.clip(clip)
    red, blue = store["plain/red"], store["plain/blue"]
    assert torch.equal(shown, torch.stack([red[1], red[0], red[0], blue[1]]))
    assert seconds == [0.0, 0.5, 1.0, 1.5]


def test_entries_of_any_length_keep_their_order() -> None:
    encoder = tiny.ColourEncoder()
    entries = [tiny.frames(count, size=8) for count in (1, 6, 2, 1, 3)]
    encoded = encode_entries(iter(entries), encoder)
    assert [len(part) for part in encoded] == [1, 6, 2, 1, 3]
    for part, entry in zip(encoded, entries, strict=True):
        assert torch.equal(part, encoder.encode(entry).features.half())
    assert encode_entries([], encoder) == []


class Torn(tiny.ColourClips):
    """Some of its entries are files that cannot be read."""

    def render(self, key: str) -> Frames:
        if key in ("plain/red", "plain/green", "plain/black"):
            raise VideoError(f"{key} is torn")
        return super().render(key)


def test_what_cannot_be_read_is_told_and_the_rest_is_encoded(tmp_path: Path) -> None:
    source, store = Torn(), FeatureStore(tmp_path)
    unread: dict[str, ViPEError] = {}
    store.add(source, tiny.ColourEncoder(), entries_per_shard=2, unread=unread)
    assert {key: str(error) for key, error in unread.items()} == {
        f"plain/{name}": f"plain/{name} is torn" for name in ("red", "green", "black")
    }
    for store in (store, FeatureStore(tmp_path)):  # noqa: B020
        assert len(store) == 3
        for key in ("plain/blue", "plain/white", "plain/yellow"):
            wanted = tiny.ColourEncoder().encode(source.render(key)).features.half()
            assert torch.equal(store[key], wanted)


def test_what_cannot_be_read_stops_who_does_not_expect_it(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="plain/red is torn"):
        FeatureStore(tmp_path).add(Torn(), tiny.ColourEncoder())


class Timed(tiny.ColourClips):
    """Pictures, but for blue: a film of two seconds."""

    def render(self, key: str) -> Frames:
        frames = super().render(key)
        if key == "plain/blue":
            return Frames(pixels=frames.pixels, seconds=torch.tensor([0.5, 1.5]), duration=2.0)
        return Frames(pixels=frames.pixels[:1], seconds=torch.zeros(1))


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [
        (["red"], [0.0]),
        (["red", "green", "white"], [0.0, 1.0, 2.0]),
        (["blue"], [0.5, 1.5]),
        (["blue", "blue"], [0.5, 1.5, 2.5, 3.5]),
        (["blue", "red"], [0.5, 1.5, 2.5]),
    ],
)
def test_shots_of_whole_files_follow_one_another(
    tmp_path: Path, shown: list[str], seconds: list[float]
) -> None:
    FeatureStore(tmp_path).add(Timed(), tiny.ColourEncoder())
    store = FeatureStore(tmp_path)
    clip = Clip(shots=tuple(Shot(key=f"plain/{name}") for name in shown), questions=())
    features, at = store.clip(clip)
    assert torch.equal(features, torch.cat([store[f"plain/{name}"] for name in shown]))
    assert at == seconds
