"""Recipes at the paper's scale, with their real shapes and no weights; `test_recipes` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vipe.config import ViPEConfig
from vipe.errors import ModelError
from vipe.evaluation.shapes import shapes_of
from vipe.training.memory import memory, plan
from vipe.training.recipe_files import load_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
GPUS, ROOM = 8, 70 * 2**30  # of an H100's 79 GiB: the rest is for what is not counted

# Layers; (in, out) features of a layer's o_proj and down_proj, of its queries, keys and values, and
# of gate_proj and up_proj; in how many layers the static ones are.
VICUNA = (32, (8192 + 15104), (3 * 8192), 0, 16)
QWEN = (28, (7168 + 22528), (7168 + 2 * 4096), 0, 28)
QWEN_LORA = (28, (7168 + 22528), (7168 + 2 * 4096), 2 * 22528, 28)


@pytest.mark.parametrize(
    ("name", "shapes", "language_model"),
    [
        ("vicuna-7b-clip-l-align", VICUNA, 0),
        ("vicuna-7b-clip-l", VICUNA, 6_738_415_616),
        ("qwen2.5-7b-siglip-align", QWEN, 0),
        ("qwen2.5-7b-siglip", QWEN_LORA, 0),
    ],
)
def test_a_recipe_fits_its_model_and_its_gpus(
    name: str, shapes: tuple[int, int, int, int, int], language_model: int
) -> None:
    recipe = load_recipe(FOLDER / f"{name}.yaml")
    with shapes_of(recipe.config) as config:
        planned = plan(recipe, config)
    layers, decided, static, lora, static_layers = shapes
    targets = planned.module.targets
    assert len(targets) == 2 * layers + 3 * static_layers + (2 * layers if lora else 0)
    assert planned.adapter.targets == targets
    assert planned.adapter.rank == 32
    wanted = 4 * 32 * (layers * (decided + lora) + static_layers * static)
    assert planned.adapter.nbytes == wanted
    module = sum(parameter.numel() for parameter in planned.module.parameters())
    assert planned.trained == module + language_model
    assert 0.3e9 < module < 0.45e9
    taken = memory(recipe, planned, GPUS)
    # Parameters, gradients and AdamW's two moments of all that is trained, in eight parts.
    assert taken.trained == planned.trained * 16 // GPUS
    assert taken.total < ROOM
    alone = memory(recipe, planned, 1)
    assert alone.gathered == 0
    assert alone.trained == GPUS * taken.trained
    assert (alone.total > 79 * 2**30) == (language_model > 0), "all of a 7B model needs several"


def test_a_model_whose_shapes_are_not_known_is_named() -> None:
    with (
        pytest.raises(ModelError, match=r"^SmolLM2.*: its shapes are not known, only lmsys"),
        shapes_of(ViPEConfig(language_model="SmolLM2-7B")),
    ):
        pass
