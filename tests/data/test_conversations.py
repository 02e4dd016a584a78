"""LLaVA's JSON and rows in JSONL: what people have is read, and what is broken is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vipe.data.clip import Question
from vipe.data.conversations import read_conversations
from vipe.errors import DataError


def write(path: Path, entries: list[Any]) -> Path:
    if path.suffix == ".jsonl":
        lines = [entry if isinstance(entry, str) else json.dumps(entry) for entry in entries]
        path.write_text("\n".join(lines) + "\n\n")
    else:
        path.write_text(json.dumps(entries))
    return path


def said(*texts: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]


# As in LLaVA-Instruct, in LLaVA-Video-178K, and in the manner of OpenAI's messages.
IMAGE = {
    "id": "1",
    "image": "coco/1.jpg",
    "conversations": said("What is it?\n<image>", "A dog.", "What colour?", "Brown."),
}
VIDEO = {
    "id": "2",
    "data_source": "youtube",
    "video": "films/2.mp4",
    "conversations": said("<image>\nDescribe it.", "A dog runs."),
}
MESSAGES = {
    "image": ["a.png", "b.png"],
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "<image><image>\nWhat comes first?"},
        {"role": "assistant", "content": "A cat"},
    ],
}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_conversations_are_read(tmp_path: Path, name: str) -> None:
    records = read_conversations([write(tmp_path / name, [IMAGE, VIDEO, MESSAGES])])
    assert records.broken == []
    image, video, messages = records.good
    assert [medium.path for medium in image.media] == [tmp_path / "coco/1.jpg"]
    assert [medium.path for medium in messages.media] == [tmp_path / "a.png", tmp_path / "b.png"]
    assert image.questions == (
        Question(text="What is it?", answers=("A dog.",), kind="conversation"),
        Question(
            text="What colour?",
            answers=("Brown.",),
            kind="conversation",
            before=(("What is it?", "A dog."),),
        ),
    )
    assert [question.text for question in video.questions] == ["Describe it."]
    assert [question.text for question in messages.questions] == ["What comes first?"]


def test_rows_of_questions_are_read(tmp_path: Path) -> None:
    rows = [
        {"video": "a.mp4", "question": "Where is it?", "accept": ["left"], "kind": "place"},
        {"video": "a.mp4", "question": "Describe it.", "references": ["a", "b"], "kind": "caption"},
        {"video": "b.mp4", "caption": "a dog runs"},
    ]
    records = read_conversations([write(tmp_path / "a.jsonl", rows)], tmp_path / "films")
    assert records.broken == []
    assert [record.media[0].path.name for record in records.good] == ["a.mp4", "a.mp4", "b.mp4"]
    assert records.good[0].media[0].path.parent == tmp_path / "films"
    assert [record.questions[0] for record in records.good] == [
        Question(text="Where is it?", answers=("left",), kind="place"),
        Question(text="Describe it.", answers=("a", "b"), kind="caption"),
        Question(text="Describe the video.", answers=("a dog runs",), kind="caption"),
    ]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (VIDEO | {"conversations": said("What?")}, "turns must be of a human and of gpt, in turns"),
        (VIDEO | {"conversations": said("What?", "A dog.")[::-1]}, "turns must be of a human"),
        (VIDEO | {"conversations": []}, "turns must be of a human"),
        (VIDEO | {"conversations": {}}, "'conversations' must be a list of turns"),
        (VIDEO | {"conversations": ["What?"]}, "a turn must be an object"),
        (VIDEO | {"conversations": [{"from": "cat", "value": "?"}]}, "of a human or of gpt"),
        (VIDEO | {"conversations": said("What?", "<image>\n")}, "a turn says nothing"),
        ({"conversations": said("What?", "A dog.")}, "shows no 'video' and no 'image'"),
        ({"image": [], "caption": "a dog"}, "shows no 'video' and no 'image'"),
        ({"image": 3, "caption": "a dog"}, "shows no 'video' and no 'image'"),
        ({"image": "a.jpg"}, "has no 'conversations', no captions and no answer"),
        ({"image": "a.jpg", "captions": []}, "'captions' must be a text or a list of texts"),
        ({"image": "a.jpg", "answer": [1]}, "'answer' must be a text or a list of texts"),
        ({"image": "a.jpg", "question": " ", "answer": "a"}, "'question' must be a text"),
        ("no object", "not a JSON object"),
        ("{", "not a JSON object"),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_broken_record_is_named_counted_and_skipped(
    tmp_path: Path, name: str, wrong: Any, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / name, [VIDEO, wrong, IMAGE])
    records = read_conversations([path])
    assert [len(record.questions) for record in records.good] == [1, 2]
    (told,) = records.broken
    where = "line 2" if name.endswith("l") else "entry 2"
    assert told.startswith(f"{path}, {where}: ")
    assert reason in told
    assert caplog.messages == [f"{told}: skipped"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe", "not a text file in UTF-8"),
        (b"{}", "not a JSON list of conversations"),
        (b"[", "not a JSON list of conversations"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"^{path}: {said}$"):
        read_conversations([path])
    with pytest.raises(DataError, match=f"^{tmp_path}: cannot be read"):
        read_conversations([tmp_path])
