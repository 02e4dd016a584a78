"""Timed scenes: times follow from what is shown when, and answers say them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from vipe.data.clip import Question
from vipe.data.pictures import pictures
from vipe.data.scene_source import SceneSource
from vipe.data.scene_times import LENGTHS, SceneTimes, frames_of, sample_times
from vipe.data.time_files import write_times
from vipe.data.time_questions import KINDS, Stretch, ask_when
from vipe.errors import DataError
from vipe.evaluation.metrics import is_right
from vipe.evaluation.rows import read_rows
from vipe.evaluation.when import NEAR, error_of, span_in
from vipe.frames import probe

STYLES = ("openmoji",)


@pytest.fixture(scope="module")
def source() -> SceneTimes:
    return SceneTimes(SceneSource(range(60), size=32, styles=STYLES), 40)


def test_answers_say_the_times_of_the_shots(source: SceneTimes) -> None:
    lengths = []
    for index in range(40):
        clip = source.clip(index)
        assert clip == source.clip(index)
        assert clip != source.clip(index, 1)
        seconds = [second for shot in clip.shots for second in shot.seconds]
        assert all(one < other for one, other in pairwise(seconds))
        length = seconds[-1] + seconds[0]
        lengths.append(length)
        assert LENGTHS[0] <= length + 0.1
        assert length <= LENGTHS[1] + 0.1
        things = [sighting.thing for sighting in clip.sightings]
        assert len(things) == len(clip.shots) == len(set(things))
        starts = [0.0]
        for one, other in pairwise(clip.shots):
            starts.append((one.seconds[-1] + other.seconds[0]) / 2)
        starts.append(length)
        timed = [question for question in clip.questions if question.kind in KINDS]
        assert {question.kind for question in clip.questions} >= {"order", "when", "moment"}
        for question in timed:
            check(question, things, starts)
    # Evenly over the logarithm: as many below 49 s, in the middle, as above.
    assert min(lengths) < 10
    assert max(lengths) > 200


def check(question: Question, things: list[str], starts: list[float]) -> None:
    """Hold a question of time against when each thing begins; the last is the length."""
    length = starts[-1]
    names = [thing.removeprefix("a ").removeprefix("an ") for thing in things]
    if question.kind == "moment":
        stated = span_in(question.text)
        assert stated is not None
        place = next(i for i in range(len(things)) if starts[i + 1] > stated[0])
        assert question.answers == (things[place],)
        assert is_right(names[place], question.accept)
        return
    assert question.seconds is not None
    assert question.length == pytest.approx(length, abs=0.01)
    (answer,) = question.answers
    error = error_of(answer, question.seconds)
    assert error is not None
    assert error <= max(0.05, 0.5 * (length >= 20)) + 1e-6, "rounded, and no more"
    if "the video l" in question.text or "the video?" in question.text.replace("in the video?", ""):
        assert question.seconds == pytest.approx((length, length), abs=0.01)
        return
    place = next(i for i, name in enumerate(names) if f"the {name} " in question.text)
    start, end = starts[place : place + 2]
    text = question.text
    if text.startswith(("How long", "For how many")):
        expected = (end - start, end - start)
    elif "disappear" in text or "gone" in text:
        expected = (end, end)
    elif "From when" in text or "shown?" in text:
        expected = (start, end)
    else:
        expected = (start, start)
    assert question.seconds == pytest.approx(expected, abs=0.01)


def test_what_cannot_be_told_is_not_asked() -> None:
    dog, cat = pictures()["dog"], pictures()["cat"]
    rng = np.random.default_rng(0)
    both = [Stretch(picture=dog, start=0.0, end=10.0), Stretch(picture=cat, start=4.0, end=10.0)]
    asked = ask_when(rng, both, 10.0)
    assert [question for question in asked if question.kind == "moment"] == []
    texts = " ".join(question.text for question in asked)
    assert "disappear" not in texts
    assert "gone" not in texts


def test_files_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_times(tmp_path, count=2, size=32, styles=STYLES)
    rows = read_rows(path)
    assert {row.kind for row in rows} == set(KINDS)
    for row in rows:
        info = probe(row.video)
        if row.kind == "when":
            assert row.length == pytest.approx(info.duration, abs=0.2)
            assert row.seconds is not None
        else:
            assert row.accept
    written = path.read_text()
    monkeypatch.setattr("vipe.data.time_files.write_frames", None)  # what is there is kept
    assert write_times(tmp_path, count=2, size=32, styles=STYLES).read_text() == written
    with pytest.raises(DataError, match="at least 1"):
        write_times(tmp_path, count=0)


def test_frames_show_what_the_times_say() -> None:
    for seed in range(6):
        video = sample_times(seed, STYLES, (4.0, 30.0))
        assert len(video.scenes) == len(video.ends)
        assert all(one < other for one, other in pairwise([0.0, *video.ends]))
        assert video.length * NEAR > 0
        frames = list(frames_of(video, 16))
        assert len(frames) == round(video.length * video.rate)
        for end in video.ends[:-1]:
            before, after = frames[round(end * video.rate) - 1], frames[round(end * video.rate)]
            assert not np.array_equal(before, after)
