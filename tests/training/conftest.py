"""A run on plain colours and tiny models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tiny
from vipe import ViPEConfig
from vipe.training import loop, sources
from vipe.training.recipe import Recipe
from vipe.training.run import Run


@pytest.fixture
def run(tiny_config: ViPEConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: tiny.ColourClips())
    values: dict[str, Any] = {
        "name": "run",
        "model": tiny_config.to_dict(),
        "cache": tmp_path,
        "runs": tmp_path,
        "sources": [{"clips": 5, "source": {"kind": "scenes"}}],
        "optimizer": {"steps": 20},
        "row_tokens": 150,
    }
    return loop.build(Recipe.model_validate(values), tiny.Quiet())


@pytest.fixture
def recollects(tiny_config: ViPEConfig, tmp_path: Path) -> dict[str, Any]:
    """Values of a recipe whose model recollects."""
    perception = replace(tiny_config.perception, recollection=True)
    return {
        "name": "run",
        "model": replace(tiny_config, perception=perception).to_dict(),
        "cache": tmp_path,
        "runs": tmp_path,
        "sources": [{"clips": 5, "source": {"kind": "scenes"}}],
        "alignment": {"gist_weight": 0.5, "words": False},
        "optimizer": {"steps": 2},
        "row_tokens": 150,
    }


@pytest.fixture
def told(recollects: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: tiny.ToldClips())
    return loop.build(Recipe.model_validate(recollects), tiny.Quiet())
