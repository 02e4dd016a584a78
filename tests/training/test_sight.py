"""The losses of sight: of frames, and of some in a row, where it is known what they show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

import tiny
from vipe.data.clip import Sighting
from vipe.stretches import FRAMES, STEP
from vipe.training import loop, sources
from vipe.training.batches import Batch
from vipe.training.recipe import Recipe
from vipe.training.run import Run
from vipe.training.segments import SeenFrames
from vipe.training.sight import sight_losses

SIGHT = "perception.recollection.sight"


def of_one_video(batch: Batch, count: int, seen: tuple[Sighting, ...]) -> Batch:
    """The first frames of a batch, as those of one video."""
    assert batch.frames is not None
    rows = torch.arange(count) % len(batch.frames.tokens)
    frames = SeenFrames(
        tokens=batch.frames.tokens.videos(rows, batch.frames.tokens.count),
        video=torch.zeros(count, dtype=torch.long),
        seconds=(torch.arange(count) + 0.5) * 7,  # far apart, as in a slow scene
        every=torch.tensor([7.0]),
    )
    tokens = batch.tokens.videos(torch.tensor([0]), batch.tokens.count)
    tokens = replace(tokens, duration=torch.tensor([7.0 * count]))
    return replace(batch, tokens=tokens, frames=frames, seen=(seen,), mix=None)


def test_frames_and_stretches_are_told_what_is_there(told: Run) -> None:
    things, module = told.method.things, told.module  # type: ignore[attr-defined]
    one, other = things.names[:2]
    seen = tuple(
        Sighting(thing=name, start=start, end=start + 0.5, centre=(0.5, 0.5))
        for name, start in ((one, 0.0), (other, 0.5))
    )
    batch = of_one_video(told.train[0], 8, seen)
    losses = sight_losses(module, things, batch)
    assert batch.frames is not None
    looked = module.look(batch.frames.tokens, (torch.arange(8.0) / 2)[None])
    numbers = torch.tensor([things.names.index(name) for name in (one, other)])
    own = looked.own.log_softmax(dim=-1)[0][:, numbers]
    assert_close(losses["frame_loss"], -torch.cat([own[:4, 0], own[4:, 1]]).mean())
    together = looked.together.log_softmax(dim=-1)[0][:, numbers]
    assert len(together) == 1 + (8 - FRAMES) // STEP
    halves = -torch.stack([together[0, 0], together[1].mean(), together[2, 1]])
    assert_close(losses["stretch_loss"], halves.mean())


def test_a_picture_has_no_stretch_and_what_nobody_knows_no_loss(told: Run) -> None:
    things, module = told.method.things, told.module  # type: ignore[attr-defined]
    unplaced = (Sighting(thing=things.names[0]),)
    batch = of_one_video(told.train[0], 1, unplaced)
    assert sight_losses(module, things, batch).keys() == {"frame_loss"}
    assert not sight_losses(module, things, of_one_video(told.train[0], 8, unplaced))
    assert not sight_losses(module, things, of_one_video(told.train[0], 8, ()))
    assert not sight_losses(module, things, replace(batch, frames=None))


def test_sight_alone_learns_without_the_language_model(
    recollects: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: tiny.ToldClips())
    start = loop.train(Recipe.model_validate(recollects), tiny.Quiet())
    steps = 30
    told: list[dict[str, float]] = []

    class Listens(tiny.Quiet):
        def evaluated(self, step: int, values: dict[str, float]) -> None:
            told.append(values)

    on = recollects | {
        "name": "on",
        "start": str(start),
        "only": [SIGHT],
        "alignment": {"gist_steps": steps, "gist_learning_rate": 1e-2, "words": False},
        "optimizer": {"steps": steps, "warmup": 1},
        "held_out": {"every": steps // 2, "clips": 5, "sources": {"colours": {"kind": "scenes"}}},
    }
    after = load_file(loop.train(Recipe.model_validate(on), Listens()) / "model.safetensors")
    before = load_file(start / "model.safetensors")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(f"{SIGHT}.") for name in changed)
    halfway, end = told
    assert end["colours/frame_loss"] < halfway["colours/frame_loss"]
    assert "colours/gist_loss" not in end, "words are left out"
