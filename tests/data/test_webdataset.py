"""WebDataset tars: samples of any video or picture beside a text, read where they lie."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from vipe.data.webdataset import read_tars
from vipe.errors import DataError

TURNS = [{"from": "human", "value": "<video>What is it?"}, {"from": "gpt", "value": "A dog."}]


def write(path: Path, files: dict[str, bytes | object]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_samples_are_read(tmp_path: Path) -> None:
    tars = [
        write(
            tmp_path / "a.tar",
            {
                "00/1.mp4": b"film",
                "00/1.json": {"conversations": TURNS},
                "00/2.JPG": b"picture",
                "00/2.txt": b"a dog runs\nthe dog is running\n",
                "01/1.seg.webm": b"film",
                "01/1.json": {"caption": "a cat"},
            },
        ),
        write(tmp_path / "b.tar", {"3.png": b"picture", "3.json": {"captions": ["a", "b"]}}),
    ]
    records = read_tars(tars)
    assert len(records.broken) == 1, "a film's kind is all that follows the first dot"
    assert [record.where for record in records.good] == [
        f"{tars[0]}: 00/1",
        f"{tars[0]}: 00/2",
        f"{tars[1]}: 3",
    ]
    assert [record.questions[0].text for record in records.good] == [
        "What is it?",
        "Describe the video.",
        "Describe the video.",
    ]
    assert records.good[1].questions[0].answers == ("a dog runs", "the dog is running")
    for record in records.good:
        (medium,) = record.media
        assert medium.path in tars
        assert medium.member is not None
        assert medium.path.read_bytes()[medium.member.offset :][:4] in (b"film", b"pict")


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"1.mp4": b""}, "1 has no .json and no .txt"),
        ({"1.txt": b"a dog"}, "1 has 0 videos or pictures, and must have one"),
        ({"1.mp4": b"", "1.jpg": b"", "1.txt": b"a"}, "1 has 2 videos or pictures"),
        ({"1.mp4": b"", "1.json": b"{"}, "1.json: not JSON in UTF-8"),
        ({"1.mp4": b"", "1.txt": b"\xff"}, "1.txt: not JSON in UTF-8"),
        ({"1.mp4": b"", "1.json": ["a"]}, "1.json: not a JSON object"),
        ({"1.mp4": b"", "1.json": {}}, "1.json: has no 'conversations'"),
        ({"1.mp4": b"", "1.txt": b"\n"}, "1.txt: 'captions' must be"),
    ],
)
def test_a_broken_sample_is_named_counted_and_skipped(
    tmp_path: Path, files: dict[str, bytes | object], reason: str
) -> None:
    tar = write(tmp_path / "a.tar", {"0.mp4": b"", "0.txt": b"a"} | files)
    records = read_tars([tar])
    assert len(records.good) == 1
    (told,) = records.broken
    assert told.startswith(f"{tar}: {reason}")


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz"):
        pass
    with pytest.raises(DataError, match=f"^{tmp_path}/a.tar: cannot be read as a tar"):
        read_tars([tmp_path / "a.tar"])
