"""Training with recollection: frames are recognised, what is written learns, concepts stay."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

import tiny
from vipe import seen
from vipe.errors import RecipeError
from vipe.training import loop, sources
from vipe.training.recipe import Recipe
from vipe.training.run import Run


def test_what_is_recognised_is_what_the_model_recognises_when_it_sees(told: Run) -> None:
    batch = told.train[0]
    assert batch.frames is not None
    found = told.method._recognised(batch)  # type: ignore[attr-defined]
    assert len(found) == len(batch.tokens)
    assert_close(found.share.sum(dim=1) >= 1 - 1e-4, torch.ones(len(found), dtype=torch.bool))


def test_it_learns(told: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "FEW", 0.01)  # tiny models see few things
    monkeypatch.setattr(seen, "MANY", 0.02)
    module = told.module
    with torch.no_grad():  # sure of what it sees, as a trained one is
        module.perception.recollection.sight[-1].weight *= 100
    values = loop.train_step(told, told.train[0], 0, told.gist[0])
    assert values["frame_loss"] > 0
    assert "gist_loss" not in values, "words are left out"
    assert module.perception.recollection.seconds.size.any()


def test_without_it_no_frame_is_looked_at(
    recollects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: tiny.ToldClips())
    recollects["model"]["perception"]["recollection"] = False
    run = loop.build(Recipe.model_validate(recollects), tiny.Quiet())
    assert run.train[0].frames is None
    assert "frame_loss" not in loop.train_step(run, run.train[0], 0, run.gist[0])


def test_concepts_keep_what_they_stand_for(
    recollects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: tiny.ToldClips())
    first = loop.train(Recipe.model_validate(recollects), tiny.Quiet())
    before = loop.build(Recipe.model_validate(recollects), tiny.Quiet()).config.perception.things
    assert before
    fewer = tiny.ToldClips(list(tiny.COLOURS)[3:])
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: fewer)
    on = recollects | {"name": "on", "start": str(first)}
    run = loop.build(Recipe.model_validate(on), tiny.Quiet())
    assert run.config.perception.things == before
    assert run.method.things.names == before  # type: ignore[attr-defined]
    fresh = loop.build(Recipe.model_validate(recollects | {"name": "fresh"}), tiny.Quiet())
    assert fresh.config.perception.things != before


def test_one_part_learns_and_all_else_stays(
    recollects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: tiny.ToldClips())
    start = loop.train(Recipe.model_validate(recollects), tiny.Quiet())
    part = "perception.heads_B"
    on = recollects | {"name": "on", "start": str(start), "only": [part], "alignment": {}}
    after = load_file(loop.train(Recipe.model_validate(on), tiny.Quiet()) / "model.safetensors")
    before = load_file(start / "model.safetensors")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(f"{part}.") for name in changed), "the norms' statistics stay too"
    with pytest.raises(RecipeError, match="only: the model has no perceptions"):
        loop.build(Recipe.model_validate(on | {"only": ["perceptions"]}), tiny.Quiet())
