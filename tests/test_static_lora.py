"""A LoRA that is the same for every video."""

from __future__ import annotations

import torch

from vipe.static_lora import StaticLora

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
