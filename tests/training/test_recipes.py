"""Every recipe of the project, as it stands, run with its own sources on tiny models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from torch import nn

import media
import tiny
from vipe import ViPE, ViPEConfig
from vipe.loading import load_model
from vipe.merging import merge_video
from vipe.model_files import load_weights
from vipe.tokens import VideoToTokens
from vipe.training import building, recollecting
from vipe.training.log import RunLog
from vipe.training.loop import train
from vipe.training.recipe import Recipe
from vipe.training.recipe_files import load_recipe
from vipe.twin import TokenTwin
from vipe.vision import VideoToWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FOLDER = Path(__file__).parents[2] / "recipes"
ABLATIONS = sorted(FOLDER.glob("ablations/*.yaml"))
SAME_SIGHT = sorted(FOLDER.glob("same-sight/*.yaml"))
# The ablations differ in the model alone.
RECIPES = [
    *sorted(FOLDER.glob("*.yaml")),
    *SAME_SIGHT,
    FOLDER / "ablations" / "stage-one.yaml",
]
SCENES = 16  # of each source: enough for some of every kind
CONVERSATIONS = {
    "LLaVA-Pretrain/blip_laion_cc_sbu_558k.json": "LLaVA-Pretrain/images",
    "LLaVA-Instruct-150K/llava_v1_5_mix665k.json": "LLaVA-Instruct-150K/images",
}
LLAVA_VIDEO = "LLaVA-Video-178K/0_30_s_academic_v0_1/0_30_s_academic_v0_1_cap_processed.json"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs in the tars that recipes name, three pictures and two videos where LLaVA's
    are, and a video of one's own in each split.
    """
    folder = tmp_path_factory.mktemp("data")
    for file, pictures in CONVERSATIONS.items():
        entries = []
        for name in ("red", "green", "blue"):
            turns = [
                {"from": "human", "value": "<image>\nWhat colour?"},
                {"from": "gpt", "value": name},
            ]
            entries.append({"image": f"{name}.png", "conversations": turns})
            path = folder / pictures / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), name).save(path)
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(entries))
    llava_videos(folder / LLAVA_VIDEO)
    for split in ("train", "held-out"):
        (folder / split).mkdir()
        media.video(folder / split / "own.mp4", frames=8)
        row = {"video": "own.mp4", "question": "What is it?", "answer": "a test"}
        (folder / split / "rows.jsonl").write_text(json.dumps(row) + "\n")
    for split in ("train", "val"):
        names = [split + name for name in "abc"]
        media.photographs(folder / "flickr8k" / f"{split}-000.tar", names)
    return folder


def llava_videos(path: Path) -> None:
    """Two videos in LLaVA-Video-178K's layout: the project's own one, and a tiny one."""
    entries = []
    for name, answer in (("scene", "Things move."), ("numbers", "Blocks and a ramp.")):
        turns = [
            {"from": "human", "value": "<image>\nPlease describe the video in detail."},
            {"from": "gpt", "value": answer},
        ]
        video = f"academic_source/{name}.mp4"
        entries.append(
            {
                "id": name,
                "conversations": turns,
                "data_source": "0_30_s_academic_v0_1",
                "video": video,
            }
        )
        (path.parent / video).parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))
    shutil.copy(FOLDER.parent / "media" / "scene.mp4", path.parent / entries[0]["video"])
    media.video(path.parent / entries[1]["video"], frames=8)


def small(recipe: Recipe, config: ViPEConfig, data: Path, folder: Path) -> Recipe:
    """The same recipe with tiny models, few scenes, and one or two steps of every stage."""
    values: dict[str, Any] = recipe.model_dump(mode="json")
    values |= {"data": data, "cache": data / "cache", "runs": folder / "runs"}
    values["workers"] = 0
    own = values["model"]
    values["model"] = config.to_dict() | {"merging": own.get("merging", {})}
    recollects = own.get("perception", {}).get("recollection", False)
    values["model"]["perception"] |= {"recollection": recollects}
    # What tiny models start from is `start`'s.
    values |= {"precision": "float32", "compile": False, "row_tokens": 600, "start": None}
    for share in values["sources"]:
        share |= {"clips": 2, "gist_clips": share["gist_clips"] and 3}
    sources = [share["source"] for share in values["sources"]]
    for source in [*sources, *values["held_out"]["sources"].values()]:
        source |= {name: SCENES for name in ("count", "clips") if name in source}
        if "clips" in source:  # joins scenes of one kind
            source["count"] = 2 * SCENES
        source |= {"things": None} if "things" in source else {}
        if source["kind"] == "scene_long":  # wants several things of a group
            source |= {"kinds": ["still"], "count": 400, "photographs": None}
            source |= {"lengths": (8, 60), "most": 32}
    if values["rewarded"] is not None:
        values["rewarded"] |= {"clips": 2, "row_tokens": 600}
    stages = {name: min(2, values["alignment"][name]) for name in ("gist_steps", "steps")}
    values["alignment"] |= stages
    values["optimizer"] |= {"steps": sum(stages.values()) + 2, "warmup": 1}
    values["held_out"] |= {"every": 2, "clips": 4}
    if recipe.language_model.tuned != "frozen":
        values["language_model"]["after"] = min(1, values["language_model"]["after"])
    return Recipe.model_validate(values)


@pytest.fixture(scope="module")
def start(
    tiny_config: ViPEConfig,
    model_folder: Path,
    data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Recipe], str | None]:
    """Give what a recipe starts from: a tiny model of which it takes parts, as of the default one,
    or another recipe's model, which is trained once for all.
    """
    found: dict[str, str] = {}

    def start(recipe: Recipe) -> str | None:
        if recipe.start is None:
            return None
        if recipe.start == "default":  # the whole of it has to fit, and the tiny one does not
            return str(model_folder) if recipe.start_only else None
        if recipe.start not in found:
            others = [load_recipe(path) for path in RECIPES]
            (first,) = [o for o in others if str(o.folder / "model") == recipe.start]
            folder = tmp_path_factory.mktemp("start")
            found[recipe.start] = str(train(small(first, tiny_config, data, folder), tiny.Quiet()))
        return found[recipe.start]

    return start


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs(
    path: Path,
    tiny_config: ViPEConfig,
    data: Path,
    start: Callable[[Recipe], str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recollecting, "_BATCHES", 2)
    monkeypatch.setattr(building, "_COUNTED_STEPS", 20)
    given = load_recipe(path)
    recipe = small(given, tiny_config, data, tmp_path)
    recipe = recipe.model_copy(update={"start": start(given)})
    folder = train(recipe, tiny.Quiet())
    rows = RunLog(recipe.folder, resume_at=99).rows()
    steps = {int(row["step"]) for row in rows if row["split"] == "train"}
    assert steps == set(range(1, recipe.optimizer.steps + 1))
    looked = {row["name"].split("/")[0] for row in rows if row["split"] == "held_out"}
    assert looked == set(recipe.held_out.sources)
    model: Any = load_model(folder)
    tuned = recipe.language_model.tuned
    assert (folder / "language_model").is_dir() == (tuned == "full")
    assert (model.config.lora is not None) == (tuned == "lora")
    assert isinstance(model, ViPE if recipe.method == "vipe" else TokenTwin)
    video = media.video(tmp_path / "any.mp4", frames=8)
    assert isinstance(model.ask(model.see(video), "What is it?"), str)


@pytest.mark.parametrize(
    ("one", "others"),
    [
        ("default", ["twin"]),
        ("same-sight/vipe", ["same-sight/vipe-alone", "same-sight/tokens"]),
    ],
)
def test_both_methods_learn_from_the_same(one: str, others: list[str]) -> None:
    first = load_recipe(FOLDER / f"{one}.yaml")
    for name in others:
        other = load_recipe(FOLDER / f"{name}.yaml")
        for key in ("data", "sources", "seed", "accumulate", "merge_ratios", "row_tokens"):
            assert getattr(other, key) == getattr(first, key), (name, key)
        assert other.alignment.merge_ratios == first.alignment.merge_ratios, name
        assert other.optimizer.steps == first.optimizer.steps, name
        assert other.segments == first.segments, name
        assert other.config.merging == first.config.merging, name
        assert other.config.frames == first.config.frames, name


@pytest.mark.parametrize(
    "path", [path for path in RECIPES if load_recipe(path).start == "default"], ids=lambda p: p.stem
)
def test_what_starts_from_the_default_model_fits_it(path: Path, default_model: ViPE) -> None:
    recipe = load_recipe(path)
    config = building._config(recipe)
    sizes: dict[str, Any] = {
        "channels": default_model.encoder.channels,
        "language_model": default_model.language_model,
    }
    module: nn.Module = (
        VideoToTokens(recipe.reads, config, **sizes)
        if recipe.method == "tokens"
        else VideoToWeights(config, **sizes)
    )
    load_weights("default", config, module, recipe.start_only)


def test_recipes_of_the_same_sight_draw_the_same_clips_and_questions(
    tiny_config: ViPEConfig, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_COUNTED_STEPS", 1)
    recipes = [small(load_recipe(path), tiny_config, data, tmp_path) for path in SAME_SIGHT]
    assert {recipe.method for recipe in recipes} == {"vipe", "tokens"}
    first, *others = [building.build(recipe, tiny.Quiet()).train for recipe in recipes]
    # The twin's own first steps, of its projector alone, are of any of the alignment's ratios.
    alone = max(recipe.alignment.before * recipe.accumulate for recipe in recipes)
    assert alone > 0
    for place in range(alone + 2):
        batch = first[place]
        for batches in others:
            other = batches[place]
            assert other.rows.turns == batch.rows.turns
            assert other.seen == batch.seen
            if place >= alone:
                assert torch.equal(other.tokens.features, batch.tokens.features)


def test_videos_as_llava_has_them_are_seen(
    tiny_config: ViPEConfig, data: Path, tmp_path: Path
) -> None:
    recipe = small(load_recipe(FOLDER / "vicuna-7b-clip-l.yaml"), tiny_config, data, tmp_path)
    source = recipe.sources[1].source.build(data, frames=4, size=64)
    clips = [source.clip(i) for i in range(len(source))]
    asked = [(q.text, q.answers) for clip in clips for q in clip.questions]
    assert asked == [
        ("Please describe the video in detail.", ("Things move.",)),
        ("Please describe the video in detail.", ("Blocks and a ramp.",)),
    ]
    for clip in clips:
        (shot,) = clip.shots
        assert len(source.render(shot.key)) == 4


@pytest.mark.parametrize("path", ABLATIONS, ids=lambda path: path.stem)
def test_an_ablation_is_a_model_that_can_be_built(
    path: Path, tiny_language_model: PreTrainedModel
) -> None:
    recipe = load_recipe(path)
    config = recipe.config
    perception = replace(config.perception, static_layers=(0,))
    if perception.layers is not None:
        perception = replace(perception, layers=(1,))  # the tiny one has three
    config = replace(config, perception=perception)
    tokens = merge_video(*tiny.patches(2, 8, channels=6), config.merging)
    with torch.no_grad():
        if recipe.method == "tokens":
            twin = VideoToTokens(
                recipe.reads, config, channels=6, language_model=tiny_language_model
            )
            assert twin(tokens).present.all()
            return
        module = VideoToWeights(config, channels=6, language_model=tiny_language_model)
        weights = module.eval()(tokens)
    assert len(weights) == 2
    assert weights.rank == config.perception.rank
    decided = {target.rsplit(".", 1)[1] for target in weights.targets}
    assert decided >= set(config.perception.targets)
