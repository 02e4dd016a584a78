"""Which videos arguments name, in which order, and one line for what they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from vipe.cli.videos import videos_of
from vipe.errors import DataError, VideoError


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of videos, with other things in it, and a folder of pictures."""
    for name in ("b.mp4", "a.MKV", "poster.jpg", ".hidden.mp4", "c [1].mov", "notes.md"):
        (tmp_path / "clips" / "deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / "clips" / name).touch()
    (tmp_path / "clips" / "deep" / "d.mp4").touch()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").touch()
    return tmp_path / "clips"


def test_a_file_is_itself_and_a_folder_its_videos_or_one_of_pictures(clips: Path) -> None:
    pictures = clips.parent / "pictures"
    own = [clips / name for name in ("a.MKV", "b.mp4", "c [1].mov")]
    assert videos_of([clips]) == own
    assert videos_of([pictures, clips / "notes.md"]) == [pictures, clips / "notes.md"]
    assert videos_of([clips / "c [1].mov", clips]) == [own[2], *own[:2]]


def test_patterns(clips: Path) -> None:
    assert videos_of([clips / "*.mp4"]) == [clips / "b.mp4"]
    assert videos_of([clips / "**" / "*.mp4"]) == [clips / "b.mp4", clips / "deep" / "d.mp4"]
    assert videos_of([clips.parent / "p*"]) == [clips.parent / "pictures"]


def test_a_list_is_read_from_its_own_folder(clips: Path) -> None:
    listed = clips.parent / "some.txt"
    listed.write_text(f"clips/b.mp4\n\n  {clips / 'a.MKV'}  \r\npictures\nclips/d*/*.mp4\n")
    assert videos_of([listed]) == [
        clips / "b.mp4", clips / "a.MKV", clips.parent / "pictures", clips / "deep" / "d.mp4",
    ]  # fmt: skip


def test_what_names_nothing(clips: Path) -> None:
    listed, empty, binary = (clips.parent / f"{name}.txt" for name in ("list", "empty", "binary"))
    listed.write_text("clips/b.mp4\n\nclips/gone.mp4\n")
    empty.write_text("\n \n")
    binary.write_bytes(b"\xff\xfe\xff")
    for argument, error, text in (
        (clips / "gone.mp4", VideoError, "gone.mp4: no such file or folder"),
        (clips.parent / "gone.txt", VideoError, "gone.txt: no such file or folder"),
        (clips / "*.webm", VideoError, r"\*.webm: matches no file"),
        (listed, VideoError, "list.txt, line 3: clips/gone.mp4: no such file or folder"),
        (empty, VideoError, "empty.txt: names no videos"),
        (binary, DataError, "binary.txt: not a text file"),
    ):
        with pytest.raises(error, match=text):
            videos_of([clips / "b.mp4", argument])
