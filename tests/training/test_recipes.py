"""Every recipe of the project, as it stands, run with its own sources on tiny models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image

import media
import tiny
from vipe import ViPE, ViPEConfig
from vipe.loading import load_model
from vipe.merging import merge_video
from vipe.tokens import VideoToTokens
from vipe.training import recollecting
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
# The ablations differ in the model alone.
RECIPES = [*sorted(FOLDER.glob("*.yaml")), FOLDER / "ablations" / "stage-one.yaml"]
SCENES = 16  # of each source: enough for some of every kind
CONVERSATIONS = {
    "LLaVA-Pretrain/blip_laion_cc_sbu_558k.json": "LLaVA-Pretrain/images",
    "LLaVA-Instruct-150K/llava_v1_5_mix665k.json": "LLaVA-Instruct-150K/images",
    "LLaVA-Video-178K/0_30_s_academic_v0_1/0_30_s_academic_v0_1_cap_processed.json": (
        "LLaVA-Video-178K/0_30_s_academic_v0_1"
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs in the tars that recipes name, three pictures where LLaVA's are,
    and a video of one's own in each split.
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
    for split in ("train", "held-out"):
        (folder / split).mkdir()
        media.video(folder / split / "own.mp4", frames=8)
        row = {"video": "own.mp4", "question": "What is it?", "answer": "a test"}
        (folder / split / "rows.jsonl").write_text(json.dumps(row) + "\n")
    for split in ("train", "val"):
        names = [split + name for name in "abc"]
        media.photographs(folder / "flickr8k" / f"{split}-000.tar", names)
    return folder


def small(recipe: Recipe, config: ViPEConfig, data: Path, folder: Path) -> Recipe:
    """The same recipe with tiny models, few scenes, and one or two steps of every stage."""
    values: dict[str, Any] = recipe.model_dump(mode="json")
    values |= {"data": data, "cache": folder / "cache", "runs": folder / "runs"}
    values["workers"] = 0
    own = values["model"]
    values["model"] = config.to_dict() | {"merging": own.get("merging", {})}
    recollects = own.get("perception", {}).get("recollection", False)
    values["model"]["perception"] |= {"recollection": recollects}
    # Tiny models have no weights to start from.
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
    tiny_config: ViPEConfig, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Recipe], str | None]:
    """Train what a recipe starts from, where that is another recipe's model: once for all."""
    found: dict[str, str] = {}

    def start(recipe: Recipe) -> str | None:
        if recipe.start is not None and recipe.start not in found:
            others = [load_recipe(path) for path in RECIPES]
            (first,) = [o for o in others if str(o.folder / "model") == recipe.start]
            folder = tmp_path_factory.mktemp("start")
            found[recipe.start] = str(train(small(first, tiny_config, data, folder), tiny.Quiet()))
        return None if recipe.start is None else found[recipe.start]

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
    recipe = small(load_recipe(path), tiny_config, data, tmp_path)
    recipe = recipe.model_copy(update={"start": start(recipe)})
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
