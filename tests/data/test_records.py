"""Records as clips: a video once with all that is asked about it, and what is left out is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import media
from vipe.data.clip import Clip, ClipSource, Question
from vipe.data.media import Medium
from vipe.data.records import Record, Records, RecordSource, conversation
from vipe.errors import DataError, VideoError


def record(name: str, *paths: Path) -> Record:
    return Record(
        where=name,
        media=tuple(Medium(path=path) for path in paths),
        questions=(Question(text=f"{name}?", answers=("yes",), kind="conversation"),),
    )


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    for name, colour in (("a.png", 200), ("b.png", 20)):
        Image.fromarray(np.full((10, 30, 3), colour, np.uint8)).save(tmp_path / name)
    return [media.video(tmp_path / "film.mp4"), tmp_path / "a.png", tmp_path / "b.png"]


def source(*found: Record) -> RecordSource:
    return RecordSource(Records(name="the set", good=list(found)), frames=4, size=16)


def asked(clip: Clip) -> list[str]:
    return [question.text for question in clip.questions]


def test_a_video_is_one_clip_with_all_that_is_asked_about_it(files: list[Path]) -> None:
    film, a, b = files
    clips = source(record("1", film), record("2", a, b), record("3", film), record("4", b))
    assert isinstance(clips, ClipSource)
    assert [asked(clips.clip(i)) for i in range(len(clips))] == [["1?", "3?"], ["2?"], ["4?"]]
    assert len(clips.keys()) == 3, "each file is encoded once"
    shots = clips.clip(1).shots
    assert [shot.key for shot in shots] == [clips.keys()[1], clips.clip(2).shots[0].key]
    assert clips.report() is None


def test_a_picture_may_be_shown_twice(files: list[Path]) -> None:
    _, a, b = files
    clips = source(record("1", a, b, a))
    first, second, third = (shot.key for shot in clips.clip(0).shots)
    assert first == third != second


def test_frames_are_spread_over_the_film_and_square(files: list[Path]) -> None:
    clips = source(record("1", *files))
    film, picture, _ = (clips.render(key) for key in clips.keys())  # noqa: SIM118
    assert film.pixels.shape == (4, 3, 16, 16)
    assert film.seconds[-1] > 0.8
    assert picture.pixels.shape == (1, 3, 16, 16)
    assert torch.equal(picture.seconds, torch.zeros(1))
    with pytest.raises(DataError, match=r"^file/x/4: no file of the set$"):
        clips.render("file/x/4")


def test_another_number_of_frames_has_other_keys(files: list[Path]) -> None:
    records = Records(name="the set", good=[record("1", files[0])])
    keys = {RecordSource(records, frames=n, size=16).keys()[0] for n in (4, 8)}
    assert len(keys) == 2


def test_what_is_left_out_is_named_and_counted(
    files: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film, a, b = files
    clips = source(
        record("1", film), record("2", tmp_path / "absent.png"), record("3", a, b), record("4", b)
    )
    assert caplog.messages == [f"2: {tmp_path}/absent.png: No such file or directory: skipped"]
    unread = {clips.clip(1).shots[1].key: VideoError("b.png is torn")}
    clips.leave_out(unread)
    assert [asked(clips.clip(i)) for i in range(len(clips))] == [["1?"]]
    assert caplog.messages[1:] == ["3: b.png is torn: skipped", "4: b.png is torn: skipped"]
    assert clips.report() == "the set: 3 of 4 records are skipped"
    assert len(clips.keys()) == 1, "what is left out is not read again"
    with pytest.raises(DataError, match=r"^the set: none of 4 records can be trained on: 2: "):
        clips.leave_out({clips.clip(0).shots[0].key: VideoError("film.mp4 is torn")})


def test_a_set_without_a_good_record_is_refused() -> None:
    with pytest.raises(DataError, match=r"^the set: none of 0 records can be trained on$"):
        source()


def test_a_question_of_a_conversation_knows_what_was_said() -> None:
    turns = [("What?", "A dog."), ("Where?", "Outside."), ("When?", "At night.")]
    found = conversation(turns)
    assert [(question.text, *question.answers) for question in found] == turns
    assert [question.before for question in found] == [(), tuple(turns[:1]), tuple(turns[:2])]
