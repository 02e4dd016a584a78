"""Long generated videos: events that are the same at every length, and nothing like them else."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from pathlib import Path

import av
import numpy as np
import pytest

from vipe.data import long_files
from vipe.data.long_files import write_long
from vipe.data.long_questions import ask_long
from vipe.data.long_scenes import LENGTHS, frames_of, sample_long
from vipe.data.long_structure import KINDS, RATE, LongScene
from vipe.data.pictures import confusable, pictures
from vipe.data.scenes import Scene
from vipe.errors import DataError
from vipe.evaluation.metrics import is_right
from vipe.evaluation.rows import read_rows
from vipe.frames import Rate, probe, read_frames

STYLES = ("openmoji",)
SHORT, LONG = 8, 256
MANY = [(seed, length) for seed in range(24) for length in (SHORT, 64, LONG)]


def shown(video: LongScene[Scene]) -> list[tuple[int | None, frozenset[str]]]:
    """What each shot shows, and which event it is."""
    return [
        (part.event, frozenset(actor.name for actor in part.scene.actors)) for part in video.parts
    ]


@pytest.mark.parametrize(("seed", "length"), MANY)
def test_a_long_video_is_what_it_says(seed: int, length: int) -> None:
    video = sample_long(seed, length, STYLES)
    assert len(video) == length
    assert video == sample_long(seed, length, STYLES)
    assert video.kind == KINDS[seed % 4]
    assert all(part.frames >= 1 for part in video.parts)
    if video.kind == "chapters":
        assert [event for event, _ in groupby(part.event for part in video.parts)] == [0, 1, 2]
        for part in video.parts:
            assert part.event is not None
            for actor in part.scene.actors:
                assert pictures()[actor.name].group == video.groups[part.event]
        return
    order = [part.event for part in video.parts if part.event is not None]
    wanted = {"needle": [0], "order": [0, 1, 2], "repeats": [0] * video.times}
    assert order == wanted[video.kind]
    assert 1 <= video.times <= 4
    (group,) = video.groups
    events = [pictures()[scene.actors[0].name] for scene in video.events]
    assert {picture.group for picture in events} == {group}
    # Something else is seen between two events, and nothing else could be taken for one.
    kept = [event for event, _ in groupby(part.event for part in video.parts)]
    assert len([event for event in kept if event is not None]) == len(order)
    for part in video.parts:
        if part.event is None:
            for actor in part.scene.actors:
                picture = pictures()[actor.name]
                assert picture.group != group
        else:
            assert part.scene == video.events[part.event]
    for i, one in enumerate(events):
        assert not any(confusable(one, other) for other in events[i + 1 :])


@pytest.mark.parametrize("seed", range(8))
def test_the_length_changes_nothing_but_what_is_between(seed: int) -> None:
    short, long = (sample_long(seed, length, STYLES) for length in (SHORT, LONG))
    assert (short.kind, short.groups, short.events, short.times) == (
        (long.kind, long.groups, long.events, long.times)
    )
    asked, longer = (
        [row | {"frames": 0} for row in ask_long(video) if row["kind"] not in ("when", "moment")]
        for video in (short, long)
    )
    assert asked == longer
    assert len(long.parts) > len(short.parts)


def test_answers_follow_from_the_shots() -> None:
    for seed in range(24):
        video = sample_long(seed, 64, STYLES)
        rows = [row for row in ask_long(video) if row["kind"] not in ("when", "moment")]
        for row in rows:
            if "references" in row:
                assert all(len(text.split()) > 5 for text in row["references"])
                continue
            text, accept = row["question"], tuple(row["accept"])
            seen = [names for event, names in shown(video) if event is not None]
            if video.kind == "needle" and row["kind"] == "needle":
                (name,) = seen[0]
                assert is_right(f"a {name}", accept)
            elif video.kind == "order":
                names = [next(iter(one)) for one in seen]
                place = 0 if "first" in text else -1 if "last" in text else None
                if place is None:
                    about = next(i for i, name in enumerate(names) if f"the {name}?" in text)
                    place = about + (1 if "after" in text else -1)
                assert is_right(names[place], accept)
                assert sum(is_right(name, accept) for name in names) == 1
            elif video.kind == "repeats":
                assert is_right(str(len(seen)), accept)
                assert sum(is_right(str(count), accept) for count in range(1, 5)) == 1
            elif video.kind == "chapters":
                assert sum(is_right(option, accept) for option in row["options"]) == 1
        kinds = Counter(row["kind"] for row in rows)
        if video.kind == "needle":
            answers = [row["accept"] for row in rows if row["kind"] == "needle presence"]
            assert answers == [["yes"], ["no"]]
            assert kinds["needle"] == 1


def test_times_are_those_of_the_shots() -> None:
    for seed in range(24):
        video = sample_long(seed, 64, STYLES)
        asked = [row for row in ask_long(video) if row["kind"] in ("when", "moment")]
        assert len(asked) == 2 * len(video.events) * (video.kind in ("needle", "order"))
        starts = np.cumsum([0, *(part.frames for part in video.parts)]) / RATE
        for row in asked:
            if row["kind"] == "when":
                (part,) = (p for p in video.parts if p.event is not None and _named(p.scene, row))
                assert row["seconds"] == starts[video.parts.index(part)]
                assert row["length"] == 32
            else:
                second = float(row["question"].split()[-2])
                shown = video.parts[int(np.searchsorted(starts, second, side="right")) - 1]
                assert is_right(shown.scene.actors[0].name, row["accept"])


def _named(scene: Scene, row: dict[str, object]) -> bool:
    return f"the {scene.actors[0].name} " in str(row["question"])


def test_frames_are_drawn_one_by_one() -> None:
    video = sample_long(1, 64, STYLES)
    frames = frames_of(video, 32)
    first = next(frames)
    assert (first.shape, first.dtype) == ((32, 32, 3), np.uint8)
    assert sum(1 for _ in frames) == 63
    again = list(frames_of(video, 32))
    assert np.array_equal(again[0], first)
    assert len({frame.tobytes() for frame in again}) > len(video.parts) // 2


def test_files_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, int]] = []
    settings = {"count": 4, "seed": 4, "lengths": (8, 20), "size": 32, "styles": STYLES}
    path = write_long(tmp_path, **settings, progress=lambda *step: done.append(step))
    assert done == [(i, 8) for i in range(1, 9)]
    rows = read_rows(path)
    assert {row.frames for row in rows} == {8, 20}
    assert {row.kind for row in rows} == {
        "needle", "needle presence", "order", "repeats", "chapters", "summary", "when", "moment"
    }  # fmt: skip
    assert {row.video.name for row in rows} == {video.name for video in tmp_path.glob("*.mp4")}
    for row in rows:
        info = probe(row.video)
        assert (info.frames, info.rate, info.width) == (row.frames, RATE, 32)
    # At that rate a stream sees each frame once.
    longest = rows[-1].video
    assert len(read_frames(longest, Rate(RATE))) == 20
    with av.open(str(longest)) as container:
        assert "/7/20 at 2 fps" in container.metadata["comment"]

    texts = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    monkeypatch.setattr(long_files, "write_frames", None)  # what is there is kept
    assert write_long(tmp_path, **settings) == path
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == texts


def test_one_kind_alone(tmp_path: Path) -> None:
    path = write_long(
        tmp_path, count=2, seed=5, kinds=("needle",), lengths=(8,), size=32, styles=STYLES
    )
    rows = read_rows(path)
    assert {row.video.name for row in rows} == {"long-0000008-00008.mp4", "long-0000012-00008.mp4"}
    assert {row.kind for row in rows} == {"needle", "needle presence", "when", "moment"}


@pytest.mark.parametrize(
    "wrong",
    [{"count": 0}, {"lengths": ()}, {"lengths": (7,)}, {"kinds": ()}, {"kinds": ("needles",)}],
)
def test_bad_settings_are_one_line(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(DataError, match="must be"):
        write_long(tmp_path / "out", **{"count": 1, "styles": STYLES} | wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="at least 8 frames"):
        sample_long(0, 7, STYLES)


def test_the_longest_is_described_without_being_drawn() -> None:
    video = sample_long(4, LENGTHS[-1], STYLES)
    assert len(video) == 10_000
    assert sum(part.event is not None for part in video.parts) == 1
