"""Which layers get an update. What the language model lacks: see test_perception."""

from __future__ import annotations

import pytest
from transformers import LlamaForCausalLM

from vipe.errors import ModelError
from vipe.perception import PerceptionConfig
from vipe.targets import all_targets, find_static_targets, find_targets, kind_of


def test_a_layer_is_decided_or_static(tiny_language_model: LlamaForCausalLM) -> None:
    config = PerceptionConfig(targets=("q_proj", "o_proj"), layers=(0, 2))
    decided = find_targets(tiny_language_model, config)
    static = find_static_targets(tiny_language_model, config)
    assert not decided.keys() & static.keys()
    assert {kind_of(target) for target in static} == {"q_proj", "k_proj", "v_proj"}
    assert [target for target in static if kind_of(target) == "q_proj"] == [
        "model.layers.1.self_attn.q_proj"
    ]
    assert all_targets(tiny_language_model, config) == decided | static


def test_there_need_not_be_static_ones(tiny_language_model: LlamaForCausalLM) -> None:
    assert find_static_targets(tiny_language_model, PerceptionConfig(static_targets=())) == {}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"static_targets": ("c_attn",)}, "no linear module c_attn in"),
        ({"static_layers": (1, 9)}, r"no layer 9\b"),
    ],
)
def test_static_ones_that_are_not_there_are_named(
    tiny_language_model: LlamaForCausalLM, wrong: dict[str, tuple[str | int, ...]], said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        find_static_targets(tiny_language_model, PerceptionConfig(**wrong))  # type: ignore[arg-type]
