"""Sources of a recipe: what they open, and what is said where there is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from vipe.errors import RecipeError
from vipe.training.sources import Photographs, Scenes, matching


def test_files_are_found_below_the_data_folder(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in matching(tmp_path, "*.tar")] == ["a.tar", "b.tar"]
    with pytest.raises(RecipeError, match=r"\*\.zip: no such files"):
        matching(tmp_path, "*.zip")
    with pytest.raises(RecipeError, match=r"train-\*\.tar: no such files"):
        Photographs(tars="train-*.tar").build(tmp_path)


def test_scenes_are_a_source(tmp_path: Path) -> None:
    source = Scenes(first_seed=3, count=4).build(tmp_path)
    assert len(source) == 4
    assert source.clip(0).questions
    assert source.clip(0).shots[0].key in source.keys()  # noqa: SIM118
