"""A LoRA that is the same for every video."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close
from transformers import LlamaForCausalLM

from vipe.static_lora import StaticLora, StaticLoraConfig, beside
from vipe.weights import PerceptualWeights

TARGETS = {"model.layers.0.q_proj": (6, 8), "model.layers.1.q_proj": (6, 4)}


def test_it_changes_nothing_at_first_and_can_be_trained() -> None:
    lora = StaticLora(TARGETS, rank=3, alpha=6.0, language_model="tiny")
    weights = lora.weights()
    assert weights.targets == tuple(TARGETS)
    assert (weights.rank, weights.scale, weights.base_model) == (3, 2.0, "tiny")
    for target, (inputs, outputs) in TARGETS.items():
        delta = weights.delta(target)
        assert delta.shape == (outputs, inputs)
        assert not delta.any()
    sum(weights.delta(target).sum() for target in TARGETS).backward()  # type: ignore[union-attr]
    assert all(B.grad is not None and B.grad.any() for B in lora.B.parameters())


def test_its_names_are_kept_in_a_checkpoint() -> None:
    one, other = (StaticLora(TARGETS, rank=3, alpha=6.0, language_model="tiny") for _ in range(2))
    torch.nn.init.normal_(one.B["model-layers-1-q_proj"])
    other.load_state_dict(one.state_dict())
    for target in TARGETS:
        assert torch.equal(one.weights().delta(target), other.weights().delta(target))


@pytest.mark.parametrize("decided", ["A", "B", "AB", ""])
@pytest.mark.parametrize("shared", [True, False], ids=["a layer of both", "layers apart"])
def test_beside_what_videos_decide_it_is_the_sum_of_both(decided: str, shared: bool) -> None:
    names = list(TARGETS)
    own = {names[0]: TARGETS[names[0]]} if shared else {"model.layers.0.o_proj": (8, 6)}
    lora = StaticLora(TARGETS, rank=3, alpha=6.0, language_model="tiny")
    for B in lora.B.values():
        torch.nn.init.normal_(B)

    def factor(which: str, *shape: int) -> torch.Tensor:
        return torch.randn(2, *shape) if which in decided else torch.randn(*shape)

    weights = PerceptualWeights(
        A={target: factor("A", 5, inputs) for target, (inputs, _) in own.items()},
        B={target: factor("B", outputs, 5) for target, (_, outputs) in own.items()},
        alpha=2.5,
        base_model="tiny",
        metadata={"video": "dog.mp4"},
    )
    both, alike = beside(weights, lora.weights()), lora.weights()
    assert both.rank == (8 if shared else 5)
    assert len(both) == len(weights)
    assert (both.base_model, both.metadata) == ("tiny", {"video": "dog.mp4"})
    assert set(both.targets) == set(own) | set(TARGETS)
    for target in both.targets:
        wanted = torch.zeros(())
        if target in own:
            wanted = wanted + weights.delta(target)
        if target in TARGETS:
            wanted = wanted + alike.delta(target)
        found = both.delta(target)
        assert_close(found, wanted.expand_as(found))
    if decided == "B":  # A is shared by all, so that sums do not grow
        assert all(A.ndim == 2 for A in both.A.values())
        assert (both[0] + both[1]).rank == both.rank


def test_it_is_built_for_the_named_layers(tiny_language_model: LlamaForCausalLM) -> None:
    config = StaticLoraConfig(rank=2, targets=("up_proj", "q_proj"), layers=(1,))
    weights = config.build(tiny_language_model, name="tiny").weights()
    assert weights.targets == ("model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj")
    weights.check_fits(tiny_language_model)
    with pytest.raises(ValueError, match="rank must be at least 1"):
        StaticLoraConfig(rank=0)
