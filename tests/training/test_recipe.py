"""Recipes: every one there is loads, and what is left out has its default."""

from __future__ import annotations

from pathlib import Path

import pytest

from vipe.config import ViPEConfig
from vipe.errors import RecipeError
from vipe.training.recipe import Recipe
from vipe.training.recipe_files import load_recipe
from vipe.training.sources import Photographs, Scenes

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("**/*.yaml"))

SMALL = """
name: small
sources:
  - clips: 2
    source: {kind: scenes, count: 10}
  - {clips: 1, source: {kind: photographs, tars: "train-*.tar"}}
optimizer: {steps: 20, learning_rate: 1e-3}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_there_are_recipes() -> None:
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert isinstance(recipe.config, ViPEConfig)
    assert path.read_text().startswith("# "), "says what it is for"
    assert recipe.optimizer.warmup < recipe.optimizer.steps


def test_every_recipe_has_a_name_of_its_own() -> None:
    names = [load_recipe(path).name for path in RECIPES]
    assert len(set(names)) == len(names)


def test_what_is_left_out_has_its_default(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    assert loaded.config == ViPEConfig()
    assert loaded.folder == Path("runs/small")
    assert [share.clips for share in loaded.sources] == [2, 1]
    assert loaded.sources[0].source == Scenes(count=10)
    assert loaded.sources[1].source == Photographs(tars="train-*.tar")
    assert loaded.optimizer.learning_rate == 1e-3, "though YAML takes 1e-3 for a word"
    assert loaded.held_out.sources == {}
    assert (loaded.precision, loaded.compile) == ("float32", False)


def test_a_recipe_does_not_change(recipe: Path) -> None:
    loaded: Recipe = load_recipe(recipe)
    with pytest.raises(ValueError, match="frozen"):
        loaded.name = "other"  # type: ignore[misc]


def test_processes_that_sample_captions_hold_the_model_whole(recipe: Path) -> None:
    rewarded = "rewarded={clips: 2, source: {kind: scenes}}"
    assert load_recipe(recipe, [rewarded]).rewarded is not None
    with pytest.raises(RecipeError, match=r"rewarded: .*need the model whole"):
        load_recipe(recipe, [rewarded, "shard=true"])
