"""Recipes: every one there is loads, and what is wrong is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vipe.config import ViPEConfig
from vipe.errors import RecipeError
from vipe.training.recipe import Photographs, Recipe, SceneJoins, Scenes, load_recipe, matching

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


def test_overrides_reach_every_place(recipe: Path) -> None:
    loaded = load_recipe(
        recipe,
        [
            "name=other",
            "optimizer.steps=7",
            "sources.0.clips=5",
            "sources.1.source.tars=val-*.tar",
            "sources.0.source={kind: scene_joins, clips: 3}",
            "merge_ratios=[0.1, 0.2]",
            "model.merging.merge_ratio=0.75",
            "held_out.sources.scenes.kind=scenes",
            "start=default",
            "cache=/tmp/a=b",
        ],
    )
    assert loaded.name == "other"
    assert loaded.optimizer.steps == 7
    assert loaded.sources[0].clips == 5
    assert loaded.sources[0].source == SceneJoins(clips=3)
    assert loaded.sources[1].source == Photographs(tars="val-*.tar")
    assert loaded.merge_ratios == (0.1, 0.2)
    assert loaded.config.merging.merge_ratio == 0.75
    assert loaded.held_out.sources == {"scenes": Scenes()}
    assert loaded.start == "default"
    assert loaded.cache == Path("/tmp/a=b")


@pytest.mark.parametrize(
    "wrong",
    [
        "steps",
        "sources.9.clips=1",
        "sources.first.clips=1",
        "name.first=a",
        "optimizer.steps.more=1",
        "optimizer={steps",
    ],
)
def test_an_override_that_fits_nowhere_is_named(recipe: Path, wrong: str) -> None:
    with pytest.raises(RecipeError, match=wrong.replace("{", r"\{")) as error:
        load_recipe(recipe, [wrong])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("step=3", r"step: extra inputs"),
        ("optimizer.step=3", r"optimizer\.step: extra inputs"),
        ("sources.0.source.seed=3", r"sources\.0\.source\.scenes\.seed: extra inputs"),
        ("optimizer.steps=many", r"optimizer\.steps: .*valid integer"),
        ("optimizer.steps=0", r"optimizer\.steps: .*greater than or equal to 1"),
        ("optimizer.learning_rate=0", r"optimizer\.learning_rate: .*greater than 0"),
        ("sources=[]", r"sources: .*at least 1"),
        ("sources.0.source.kind=films", r"sources\.0\.source: .*'films'"),
        ("sources.1.source={kind: photographs}", r"photographs\.tars: field required"),
        ("precision=int4", r"precision: .*'float32', 'bfloat16', 'int8' or 'auto'"),
        ("merge_ratios=[]", r"merge_ratios: .*at least 1"),
        ("merge_ratios=[0.5, 1.0]", r"merge_ratios\.1: .*less than 1"),
        ("checkpoint_every=0", r"checkpoint_every: .*greater"),
        ("held_out.every=0", r"held_out\.every: .*greater"),
        ("held_out.clips=0", r"held_out\.clips: .*greater"),
        ("row_tokens=-1", r"row_tokens: .*greater"),
        ("model.depth=3", r"model config: unknown key 'depth'"),
        ("model.merging.merge_ratio=2", r"model config: merging: merge_ratio must be"),
        ("model.merging=half", r"merging must be a mapping"),
        ("model.frames=eight", r"model config: frames: .*valid integer"),
        ("model={encoder: {kind: eye}}", r"unknown kind 'eye'"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_the_file(
    recipe: Path, override: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=f"(?i)^{recipe}: .*{said}") as error:
        load_recipe(recipe, [override])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "mapping"),
        (b"- a\n- b", "mapping"),
        (b"name: [", "not YAML"),
        (b"name: a\n\tb: c", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"name: a", "sources: field required"),
        (b"1: 2", "^.*: .*"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=f"(?i)^{path}: .*") as error:
        load_recipe(path)
    assert "\n" not in str(error.value)
    with pytest.raises(RecipeError, match=f"(?i){said}"):
        load_recipe(path)


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.yaml", tmp_path):
        with pytest.raises(RecipeError, match=f"^{path}: no such recipe$"):
            load_recipe(path)


def test_files_are_found_below_the_data_folder(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in matching(tmp_path, "*.tar")] == ["a.tar", "b.tar"]
    with pytest.raises(RecipeError, match=r"\*\.zip: no such files"):
        matching(tmp_path, "*.zip")
    with pytest.raises(RecipeError, match=r"train-\*\.tar: no such files"):
        Photographs(tars="train-*.tar").build(tmp_path)


def test_a_recipe_does_not_change(recipe: Path) -> None:
    loaded: Recipe = load_recipe(recipe)
    with pytest.raises(ValueError, match="frozen"):
        loaded.name = "other"  # type: ignore[misc]


def test_scenes_are_a_source(tmp_path: Path) -> None:
    source = Scenes(first_seed=3, count=4).build(tmp_path)
    assert len(source) == 4
    assert source.clip(0).questions
    assert source.clip(0).shots[0].key in source.keys()  # noqa: SIM118
