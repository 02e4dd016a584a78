"""What an answer is said to cost: what `vipe bench` counts, or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedTokenizerFast,
)

import tiny
import tiny_backbones
from vipe import ViPE
from vipe.evaluation.operations import Counter
from vipe.serving.server.cost import Costs


@pytest.mark.parametrize(("prompt", "frames"), [(10, 5), (37, 1), (60, 30)])
def test_it_is_what_the_counter_counts(tiny_vipe: ViPE, prompt: int, frames: int) -> None:
    costs = Costs(tiny_vipe.language_model, patches=tiny_vipe.encoder.patches)
    counter = Counter(tiny_vipe.config, prompt_tokens=prompt)
    cost = costs.of(prompt, tiny_vipe.see(tiny.frames(2)), frames)
    assert costs.known
    assert cost["operations"] == counter.count("vipe", frames).prompt
    twin = counter.count("patches", frames)
    assert cost["twin"] == {
        "visual_tokens": twin.visual_tokens,
        "prompt_tokens": prompt + twin.visual_tokens,
        "operations": twin.prompt,
    }


def test_an_update_of_twice_the_rank_costs_twice(tiny_vipe: ViPE) -> None:
    costs = Costs(tiny_vipe.language_model, patches=4)
    seen = tiny_vipe.see(tiny.frames(2))
    wide = replace(
        seen,
        A={t: torch.cat([A, A], dim=-2) for t, A in seen.A.items()},
        B={t: torch.cat([B, B], dim=-1) for t, B in seen.B.items()},
        static=None,
    )
    bare = Counter(tiny_vipe.config, prompt_tokens=9).count("text", 1).prompt
    one, two = (costs.of(9, weights, 1)["operations"] - bare for weights in (seen, wide))
    assert two == 2 * one > 0


@pytest.mark.parametrize("changes", [{"num_key_value_heads": 4}, {"head_dim": 12}, {}])
def test_the_formula_holds_for_llamas(
    tiny_tokenizer: PreTrainedTokenizerFast, changes: dict[str, int]
) -> None:
    assert Costs(tiny_backbones.language_model(tiny_tokenizer, **changes), patches=4).known


def test_what_the_formula_does_not_hold_for_is_not_counted(tiny_vipe: ViPE) -> None:
    small = {"vocab_size": 50, "num_attention_heads": 2, "num_hidden_layers": 1}
    others = [
        GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=1, n_head=2)),
        MixtralForCausalLM(
            MixtralConfig(**small, hidden_size=8, intermediate_size=8, num_key_value_heads=2)
        ),
    ]
    for model in others:
        costs = Costs(model, patches=4)
        assert not costs.known
        cost = costs.of(5, tiny_vipe.see(tiny.frames(1)), 2)
        assert (cost["operations"], cost["twin"]["operations"]) == (None, None)
        assert cost["twin"]["visual_tokens"] == 8
