"""A recipe's file, what it extends and what is given beside it; what is wrong is told in a line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vipe.errors import RecipeError
from vipe.training.recipe_files import load_recipe
from vipe.training.sources import Photographs, SceneJoins, Scenes
from vipe.training.tuning import Lora, Whole

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
        ("rewarded={clips: 2}", r"rewarded\.source: field required"),
        (
            "rewarded={clips: 2, samples: 1, source: {kind: scenes}}",
            r"rewarded\.samples: .*greater",
        ),
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


def extend(recipe: Path, text: str, name: str = "other") -> Path:
    """A recipe in a folder below, which extends another."""
    path = recipe.parent / "below" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"base: ../{recipe.name}\nname: {name}\n{text}")
    return path


def test_a_recipe_extends_another_key_by_key(recipe: Path) -> None:
    path = extend(recipe, "optimizer: {steps: 30}\nmodel: {merging: {budget: 64}}\nseed: 3")
    loaded = load_recipe(path)
    assert (loaded.name, loaded.seed) == ("other", 3)
    assert (loaded.optimizer.steps, loaded.optimizer.learning_rate) == (30, 1e-3)
    assert loaded.sources == load_recipe(recipe).sources
    assert loaded.config.merging.budget == 64


def test_a_base_may_have_a_base_and_the_nearest_says_last(recipe: Path, tmp_path: Path) -> None:
    middle = extend(recipe, "optimizer: {steps: 30, warmup: 3}", "middle")
    top = tmp_path / "top.yaml"
    top.write_text("base: below/middle.yaml\nname: top\noptimizer: {warmup: 4}")
    optimizer = load_recipe(top).optimizer
    assert (optimizer.steps, optimizer.warmup, optimizer.learning_rate) == (30, 4, 1e-3)
    assert load_recipe(middle).optimizer.warmup == 3
    assert load_recipe(top, ["optimizer.warmup=5"]).optimizer.warmup == 5


def test_the_example_of_the_readme_loads(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "recipes"
    (example,) = re.findall(r"(# recipes/other.*?)```", (folder / "README.md").read_text(), re.S)
    path = tmp_path / "other.yaml"
    path.write_text(example.replace("base: ", f"base: {folder}/"))
    default, other = load_recipe(folder / "default.yaml"), load_recipe(path)
    assert other.config.merging.merge_ratio == 0.875
    assert other.config.perception == default.config.perception
    assert other.sources[0].clips == 9
    assert other.sources[1:] == default.sources[1:8]


def test_a_list_is_replaced_whole_or_item_by_item(recipe: Path) -> None:
    whole = extend(recipe, "sources: [{clips: 7, source: {kind: scenes}}]")
    assert [share.clips for share in load_recipe(whole).sources] == [7]
    one = extend(recipe, "sources: {1: {clips: 3}}")
    first, second = load_recipe(one).sources
    assert (first.clips, second.clips) == (2, 3)
    assert second.source == Photographs(tars="train-*.tar")
    less = extend(recipe, "sources: {0: null, 2: {clips: 4, source: {kind: scene_joins}}}")
    shares = load_recipe(less).sources
    assert [share.clips for share in shares] == [1, 4]
    assert shares[1].source == SceneJoins()


def test_a_value_of_another_kind_replaces_its_base_whole(recipe: Path) -> None:
    path = extend(recipe, "sources: {0: {source: {kind: photographs, tars: a.tar}}}")
    shares = load_recipe(path).sources
    assert shares[0].source == Photographs(tars="a.tar"), "has no count"
    same = extend(recipe, "sources: {0: {source: {kind: scenes, passes: 2}}}")
    assert load_recipe(same).sources[0].source == Scenes(count=10, passes=2)


def test_another_tuning_of_the_language_model_replaces_its_bases_whole(recipe: Path) -> None:
    recipe.write_text(SMALL + "language_model: {tuned: full, weight_decay: 0.1, after: 3}\n")
    other = load_recipe(extend(recipe, "language_model: {tuned: lora, rank: 4}")).language_model
    assert other == Lora(tuned="lora", rank=4)
    same = load_recipe(extend(recipe, "language_model: {after: 5}")).language_model
    assert same == Whole(tuned="full", weight_decay=0.1, after=5)


@pytest.mark.parametrize(
    ("text", "at_fault", "said"),
    [
        ("optimizer: {steps: many}", "other", r"optimizer\.steps: .*integer"),
        ("optimizer: {stops: 3}", "other", r"optimizer\.stops: extra"),
        ("sources: {9: {clips: 3}}", "other", r"sources\.9: its base has 2 of them"),
        ("sources: {0: {source: {size: 3}}}", "other", r"source\.scenes\.size: extra"),
        ("held_out: {every: 5}", "small", r"row_tokens: .*greater"),
    ],
)
def test_the_file_at_fault_is_named(recipe: Path, text: str, at_fault: str, said: str) -> None:
    if at_fault == "small":
        recipe.write_text(SMALL + "row_tokens: 0\n")
    path = extend(recipe, text)
    named = {"small": path.parent / ".." / recipe.name, "other": path}[at_fault]
    with pytest.raises(RecipeError, match=f"(?i)^{named}: .*{said}") as error:
        load_recipe(path)
    assert "\n" not in str(error.value)


def test_a_wrong_override_of_a_base_is_told_of_the_recipe(recipe: Path) -> None:
    path = extend(recipe, "seed: 3")
    with pytest.raises(RecipeError, match=f"(?i)^{path}: sources.0.source.scenes.size: extra"):
        load_recipe(path, ["sources.0.source.size=3"])


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("absent.yaml", r"base: .*absent\.yaml: no such recipe$"),
        ("[a.yaml]", r"base: the file of one recipe, got \['a\.yaml'\]$"),
        ("own.yaml", r"base: .*own\.yaml extends itself$"),
        ("round.yaml", r"base: .*own\.yaml extends itself$"),
    ],
)
def test_a_base_that_is_none_is_told(tmp_path: Path, base: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"base: {base}\nname: own\n")
    (tmp_path / "round.yaml").write_text("base: own.yaml\nname: round\n")
    with pytest.raises(RecipeError, match=f"^{tmp_path}.*: {said}"):
        load_recipe(path)


def test_a_recipe_that_extends_another_has_a_name_of_its_own(recipe: Path) -> None:
    path = extend(recipe, "")
    path.write_text("base: ../small.yaml\nseed: 3")
    with pytest.raises(RecipeError, match=f"^{path}: name: give one of its own"):
        load_recipe(path)
    assert load_recipe(path, ["name=given"]).name == "given"
