"""Files and members of tars: the same frames, keys that name the content, errors that name both."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
import torch

import media
from vipe.data.media import Medium, index_tar, read_member
from vipe.errors import DataError, VideoError


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return media.video(tmp_path / "film.mp4", frames=20)


@pytest.fixture
def tar(tmp_path: Path, film: Path) -> Path:
    path = tmp_path / "films.tar"
    with tarfile.open(path, "w") as opened:
        opened.add(film, "some/film.mp4")
        opened.add(tmp_path, "a-folder", recursive=False)
    return path


def test_a_member_of_a_tar_is_the_file(film: Path, tar: Path) -> None:
    (member,) = index_tar(tar)
    assert member.name == "some/film.mp4"
    assert read_member(tar, member) == film.read_bytes()
    inside, beside = Medium(path=tar, member=member), Medium(path=film)
    for count in (1, 4):
        frames = inside.frames(count, 24)
        assert frames.pixels.shape == (count, 3, 24, 24)
        assert torch.equal(frames.pixels, beside.frames(count, 24).pixels)
        assert torch.equal(frames.seconds, beside.frames(count, 24).seconds)


def test_a_key_names_the_content(film: Path, tar: Path, tmp_path: Path) -> None:
    (member,) = index_tar(tar)
    medium = Medium(path=film)
    key = medium.key
    assert medium.key == key
    assert Medium(path=tar, member=member).key != key
    os.utime(film, ns=(1, 1))
    assert medium.key != key, "it may be another film by now"
    with pytest.raises(VideoError, match=rf"^{tmp_path}/absent\.mp4: No such file"):
        _ = Medium(path=tmp_path / "absent.mp4").key


def test_what_is_wrong_with_a_tar_is_named(tar: Path, tmp_path: Path) -> None:
    (member,) = index_tar(tar)
    media.cut(tar, 0.3)
    with pytest.raises(DataError, match=rf"^{tar}: ends within some/film\.mp4$"):
        read_member(tar, member)
    for path in (tmp_path / "film.mp4", tmp_path / "absent.tar"):
        with pytest.raises(DataError, match=rf"^{path}: cannot be read as a tar: "):
            index_tar(path)


def test_a_member_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("no film")
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        opened.add(tmp_path / "a.mp4", "a.mp4")
    (member,) = index_tar(tmp_path / "a.tar")
    with pytest.raises(VideoError, match=rf"^{tmp_path}/a\.tar: a\.mp4"):
        Medium(path=tmp_path / "a.tar", member=member).frames(2, 16)
