"""Every recipe of the project, as it stands, run with its own sources on tiny models."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import media
from vipe import ViPE, ViPEConfig
from vipe.training.log import RunLog
from vipe.training.loop import train
from vipe.training.recipe import Recipe, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("**/*.yaml"))
SCENES = 12  # of each source: enough for some of every kind


class Quiet:
    def encoding(self, done: int, total: int) -> None: ...
    def step(self, step: int, total: int, values: dict[str, float]) -> None: ...
    def evaluated(self, step: int, values: dict[str, float]) -> None: ...


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs in the tars that recipes name."""
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        tar_path = folder / "flickr8k" / f"{split}-000.tar"
        tar_path.parent.mkdir(exist_ok=True)
        with tarfile.open(tar_path, "w") as tar:
            for name, colour in (("a", "green"), ("b", "navy"), ("c", "brown")):
                picture = io.BytesIO()
                Image.new("RGB", (80, 60), colour).save(picture, "JPEG")
                captions = ["A dog runs on the grass .", "Two men sit on a bench ."]
                text = json.dumps({"captions": captions}).encode()
                for suffix, content in ((".jpg", picture.getvalue()), (".json", text)):
                    member = tarfile.TarInfo(split + name + suffix)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


def small(recipe: Recipe, config: ViPEConfig, data: Path, folder: Path) -> Recipe:
    """The same recipe with tiny models, few scenes, and one or two steps of every stage."""
    values: dict[str, Any] = recipe.model_dump(mode="json")
    values |= {"data": data, "cache": folder / "cache", "runs": folder / "runs"}
    tiny, own = config.to_dict(), values["model"]
    values["model"] = tiny | {"merging": own.get("merging", {})}
    values |= {"precision": "float32", "compile": False, "row_tokens": 600}
    for share in values["sources"]:
        share |= {"clips": 2, "gist_clips": share["gist_clips"] and 3}
    sources = [share["source"] for share in values["sources"]]
    for source in [*sources, *values["held_out"]["sources"].values()]:
        source |= {name: SCENES for name in ("count", "clips") if name in source}
    stages = {name: min(2, values["alignment"][name]) for name in ("gist_steps", "steps")}
    values["alignment"] |= stages
    values["optimizer"] |= {"steps": sum(stages.values()) + 2, "warmup": 1}
    values["held_out"] |= {"every": 2, "clips": 4}
    return Recipe.model_validate(values)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs(path: Path, tiny_config: ViPEConfig, data: Path, tmp_path: Path) -> None:
    recipe = small(load_recipe(path), tiny_config, data, tmp_path)
    folder = train(recipe, Quiet())
    rows = RunLog(recipe.folder, resume_at=99).rows()
    steps = {int(row["step"]) for row in rows if row["split"] == "train"}
    assert steps == set(range(1, recipe.optimizer.steps + 1))
    looked = {row["name"].split("/")[0] for row in rows if row["split"] == "held_out"}
    assert looked == set(recipe.held_out.sources)
    model = ViPE.from_pretrained(folder)
    video = media.video(tmp_path / "any.mp4", frames=8)
    assert isinstance(model.ask(model.see(video), "What is it?"), str)
