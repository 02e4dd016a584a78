"""Rows: a JSONL file is read as it stands, or refused in one line that names file and line."""

import json
from pathlib import Path

import pytest

from vipe.errors import DataError
from vipe.evaluation.rows import Row, read_rows

GOOD = {"video": "clips/dog.mp4", "question": "What is it?", "accept": ["dog"], "kind": "object"}


def without(key: str, **changes: object) -> dict[str, object]:
    return {k: v for k, v in (GOOD | changes).items() if k != key}


def write(folder: Path, *lines: object) -> Path:
    file = folder / "rows.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return file


def test_rows_come_in_the_files_order_with_paths_beside_it(tmp_path: Path) -> None:
    caption = without("accept", references=["A dog runs.", "A brown dog."], kind="caption")
    absolute = GOOD | {"video": "/videos/cat.mp4"}
    assert read_rows(write(tmp_path, GOOD, caption, absolute)) == [
        Row(
            video=tmp_path / "clips/dog.mp4",
            question="What is it?",
            kind="object",
            accept=("dog",),
        ),
        Row(
            video=tmp_path / "clips/dog.mp4",
            question="What is it?",
            kind="caption",
            references=("A dog runs.", "A brown dog."),
        ),
        Row(video=Path("/videos/cat.mp4"), question="What is it?", kind="object", accept=("dog",)),
    ]


def test_what_does_no_harm_is_let_through(tmp_path: Path) -> None:
    unicode = json.dumps(GOOD | {"question": "Où est\u2028le café ?"}, ensure_ascii=False)
    file = write(tmp_path, "", GOOD | {"id": 7}, "  ", unicode)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert [row.question for row in read_rows(file)] == ["What is it?", "Où est\u2028le café ?"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 5000, "not JSON"),
        ('"dog.mp4"', "not a JSON object"),
        ([GOOD], "not a JSON object"),
        (without("video"), "'video' is missing"),
        (without("question"), "'question' is missing"),
        (without("kind"), "'kind' is missing"),
        (GOOD | {"video": 3}, "'video' must be a text"),
        (GOOD | {"video": " "}, "'video' must be a text"),
        (GOOD | {"kind": None}, "'kind' must be a text"),
        (without("accept"), "has neither"),
        (GOOD | {"references": ["A dog."]}, "has both"),
        (GOOD | {"accept": "dog"}, "'accept' must be a list"),
        (GOOD | {"accept": []}, "'accept' must be a list"),
        (GOOD | {"accept": ["dog", 3]}, "'accept' must be a list"),
        (GOOD | {"accept": ["dog", ""]}, "'accept' must be a list"),
        (without("accept", references=["..."]), "'references' must be a list"),
        (GOOD | {"options": ["dog"]}, "'options' must be two or more"),
        (GOOD | {"options": "dog"}, "'options' must be a list"),
        (without("accept", references=["a"], options=["a", "b"]), "beside 'accept'"),
        (GOOD | {"frames": "8"}, "'frames' must be a number"),
        (GOOD | {"frames": 0}, "'frames' must be a number"),
        (without("accept", seconds=3.0), "'seconds' must be a number or [start, end], beside"),
        (without("accept", seconds="3", length=9), "'seconds' must be a number"),
        (without("accept", seconds=[3], length=9), "'seconds' must be a number"),
        (without("accept", seconds=True, length=9), "'seconds' must be a number"),
        (without("accept", seconds=float("nan"), length=9), "'seconds' must be a number"),
        (without("accept", seconds=[5, 3], length=9), "not within a length of 9"),
        (without("accept", seconds=9.5, length=9), "not within a length of 9"),
        (without("accept", seconds=0, length=0), "not within a length of 0"),
    ],
)
def test_a_malformed_row_is_named_with_its_line(tmp_path: Path, line: object, said: str) -> None:
    file = write(tmp_path, GOOD, "", line, GOOD)
    with pytest.raises(DataError) as caught:
        read_rows(file)
    text = str(caught.value)
    assert text.startswith(f"{file}, line 3: ")
    assert said in text
    assert "\n" not in text


def test_rows_that_ask_for_a_time(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        without("accept", seconds=3, length=9.5),
        without("accept", seconds=[3, 4.5], length=9),
        GOOD | {"seconds": 3, "length": 9},
    )
    rows = read_rows(file)
    assert [row.seconds for row in rows] == [(3.0, 3.0), (3.0, 4.5), (3.0, 3.0)]
    assert [row.length for row in rows] == [9.5, 9.0, 9.0]
    assert [bool(row.accept) for row in rows] == [False, False, True]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty.jsonl", tmp_path / "dog.mp4"
    empty.write_text("\n\n")
    binary.write_bytes(bytes(range(256)))
    for file, said in [
        (tmp_path / "missing.jsonl", "No such file"),
        (tmp_path, "directory"),
        (empty, "no rows"),
        (binary, "UTF-8"),
    ]:
        with pytest.raises(DataError) as caught:
            read_rows(file)
        assert str(caught.value).startswith(f"{file}: ")
        assert said in str(caught.value)


@pytest.mark.shared_data
def test_the_real_clips_rows_all_read(shared_data: Path) -> None:
    rows = read_rows(shared_data / "clips.jsonl")
    assert len(rows) == 26
    assert all(row.video.is_file() and row.accept for row in rows)
