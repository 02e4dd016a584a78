"""Sources of a recipe: what they open, and what is said where there is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from vipe.data.clip import ClipSource
from vipe.errors import RecipeError
from vipe.training.sources import LongScenes, Photographs, Scenes, Source, matching


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


def test_scenes_can_be_of_a_few_things(tmp_path: Path) -> None:
    few = Scenes(count=400, kinds=("still", "move"), things=8).build(tmp_path)
    every = Scenes(count=400, kinds=("still", "move")).build(tmp_path)
    assert 0 < len(few) < len(every) / 4

    def shown(source: ClipSource) -> set[str]:
        return {seen.thing for i in range(len(source)) for seen in source.clip(i).sightings}

    assert len(shown(few)) <= 8 < len(shown(every))
    assert shown(few) < shown(every)


def test_long_videos_are_a_source(tmp_path: Path) -> None:
    wanted = {"kind": "scene_long", "count": 800, "clips": 3, "lengths": [200, 200], "most": 40}
    part = TypeAdapter[Source](Source).validate_python(wanted)
    assert isinstance(part, LongScenes)
    source = part.build(tmp_path, size=32)
    assert len(source) == 3
    clip = source.clip(0)
    assert sum(len(shot.index) for shot in clip.shots) <= 40
    assert clip.passing
    assert {shot.key for shot in (*clip.shots, *clip.passing)} <= set(source.keys())
    for wrong in ({"most": 8}, {"lengths": [4, 20]}):
        with pytest.raises(ValidationError, match="greater than or equal"):
            LongScenes.model_validate(wrong)
