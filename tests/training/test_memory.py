"""What a recipe takes of memory: counted from shapes, it is what real tensors take."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vipe import ViPE, ViPEConfig
from vipe.training.language import TrainingLanguageModel
from vipe.training.memory import _saved, memory, plan
from vipe.training.recipe import Recipe
from vipe.weights import PerceptualWeights


def make(config: ViPEConfig, language_model: dict[str, Any], **changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "run",
        "model": config.to_dict(),
        "sources": [{"clips": 3, "source": {"kind": "scenes"}}],
        "language_model": language_model,
        "optimizer": {"steps": 1},
        "row_tokens": 40,
    }
    return Recipe.model_validate(values | changes)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("tuned", ["frozen", "lora", "full"])
def test_what_is_counted_is_what_real_tensors_take(
    tiny_config: ViPEConfig, tuned: str, precision: str
) -> None:
    recipe = make(tiny_config, {"tuned": tuned, "checkpointing": False}, precision=precision)
    planned = plan(recipe, recipe.config)
    counted = memory(recipe, planned, 1)
    model = ViPE.from_config(recipe.config)
    language = TrainingLanguageModel(
        model.language_model,
        list(model.video_to_weights.targets),
        precision=precision,  # type: ignore[arg-type]
        tuned=tuned == "full",
        device=torch.device("cuda"),  # for its attention: nothing is put there
    )
    own = sum(p.numel() for p in model.video_to_weights.parameters())
    whole = sum(p.numel() for p in language.parameters())
    assert planned.trained == own + (whole if tuned == "full" else 0)
    assert counted.trained == 16 * planned.trained
    frozen = 0 if tuned == "full" else sum(p.nbytes for p in language.parameters())
    assert counted.frozen == frozen

    seen = model.video_to_weights.decide(
        torch.randn(3, len(model.video_to_weights.perception.targets), 32), torch.randn(3, 14, 32)
    )
    assert planned.adapter.nbytes == seen[0].nbytes
    held = PerceptualWeights.batch([seen[i] for i in range(3)])
    kept = torch.float32 if tuned == "full" else language.dtype
    x = torch.randn(3, 40, 32, dtype=kept, requires_grad=True)
    mask = torch.zeros(3, 1, 40, 40, dtype=language.dtype)
    with language.attached(held):
        linears = [m for m in language.modules() if getattr(m, "factors", None)]
        factors = [f for linear in linears for f in linear.factors]  # type: ignore[union-attr]
        real = _saved(
            lambda: language.through_layers(x, torch.arange(40)[None], mask),
            but=[*language.parameters(), *factors],
        )
    assert counted.activations == pytest.approx(real, rel=0.02)


def test_processes_share_what_is_split_and_layers_that_recompute_hold_less(
    tiny_config: ViPEConfig,
) -> None:
    def counted(processes: int, **changes: Any) -> Any:
        recipe = make(tiny_config, {"tuned": "full", "checkpointing": True}, **changes)
        return memory(recipe, plan(recipe, recipe.config), processes)

    alone, copies, parts = counted(1, shard=True), counted(4), counted(4, shard=True)
    assert copies == alone
    assert parts.trained == alone.trained // 4
    assert parts.gathered > 0
    assert parts.activations == alone.activations
    held = make(tiny_config, {"tuned": "full", "checkpointing": False})
    assert alone.activations < memory(held, plan(held, held.config), 1).activations / 2
    assert alone.total == sum(vars(alone).values())
    twice = counted(1, sources=[{"clips": 6, "source": {"kind": "scenes"}}])
    assert (twice.updates, twice.logits) == (2 * alone.updates, 2 * alone.logits)
