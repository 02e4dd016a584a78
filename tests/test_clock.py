"""Seconds: told apart at any length, and nothing to a model that has not learned them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
import tiny_backbones
from vipe import ViPE, ViPEConfig
from vipe.clock import DIGITS, FEATURES, said_signs, time_features
from vipe.data.time_questions import said
from vipe.merging import VisualTokens
from vipe.model_files import load_weights


@given(st.floats(0.5, 20_000.0))
def test_a_twentieth_of_any_length_is_told_apart(length: float) -> None:
    seconds = torch.tensor([length / 2, length / 2 + length / 20])
    one, other = time_features(seconds, torch.tensor(length))
    assert one.shape == (FEATURES,)
    assert (one - other).norm() > 0.5


def test_features_are_finite_and_bounded() -> None:
    seconds = torch.tensor([0.0, 1e-3, 1.0, 3600.0, 1e5])
    for length in (0.0, 1.0, 1e5):
        found = time_features(seconds, torch.tensor([length]))
        assert found.isfinite().all()
        assert found.abs().max() < 2


@given(st.floats(0.0, 90_000.0), st.floats(0.01, 1.0))
def test_characters_are_those_that_are_said(length: float, share: float) -> None:
    second = torch.tensor(share * length)
    signs = said_signs(second, torch.tensor(length))
    text = "".join("0123456789. "[sign] for sign in signs).rstrip()
    said_so = said(second.item(), torch.tensor(length).item())
    if abs(second.item() * 10 % 1 - 0.5) > 1e-2:  # halves are rounded either way
        assert text == said_so[:DIGITS]


@pytest.fixture(scope="module")
def timed(tiny_config: ViPEConfig) -> ViPE:
    injection = replace(tiny_config.injection, clock=True)
    return tiny_backbones.model(replace(tiny_config, injection=injection))


def stretched(tokens: VisualTokens, factor: float) -> VisualTokens:
    scale = torch.tensor([factor, 1.0, 1.0])
    return replace(tokens, centre=tokens.centre * scale, duration=tokens.duration * factor)


def test_a_model_of_before_loads_and_gives_what_it_gave(
    timed: ViPE, saved_vipe: ViPE, model_folder: Path
) -> None:
    module, old = timed.video_to_weights.eval(), saved_vipe.video_to_weights
    load_weights(model_folder, timed.config, module)
    tokens = tiny.tokens(3, channels=timed.encoder.channels)
    with torch.no_grad():
        found, expected = module(tokens), old(tokens)
    for target in expected.targets:
        assert torch.equal(found.B[target], expected.B[target])
    assert sum(".weight" in name and ("clock" in name or "second" in name)
               for name in module.state_dict()) == 4  # fmt: skip


def test_what_is_learned_of_seconds_is_kept(timed: ViPE, tmp_path: Path) -> None:
    own = {
        name: parameter
        for name, parameter in timed.video_to_weights.named_parameters()
        if "clock" in name or "second" in name
    }
    with torch.no_grad():
        for parameter in own.values():
            parameter.normal_(std=0.1).copy_(parameter.bfloat16())
    timed.save_pretrained(tmp_path / "timed")
    loaded = ViPE.from_pretrained(tmp_path / "timed")
    assert loaded.config.injection.clock
    for name, parameter in own.items():
        assert torch.equal(loaded.video_to_weights.get_parameter(name), parameter)


def test_each_part_learns_from_the_first_step(tiny_config: ViPEConfig) -> None:
    injection = replace(tiny_config.injection, clock=True)
    module = tiny_backbones.model(replace(tiny_config, injection=injection)).video_to_weights
    binding = module.perception.binding
    assert binding is not None
    tokens = tiny.tokens(3, channels=module.injection.norm.normalized_shape[0])
    weights = module(tokens)
    sum(B.pow(3).sum() for B in weights.B.values()).backward()
    assert module.injection.clock is not None
    assert binding.second is not None
    for part in (*module.injection.clock.values(), *binding.second.values()):
        assert part.weight.grad is not None
        assert part.weight.grad.abs().sum() > 0


def test_only_the_length_differs(timed: ViPE) -> None:
    module = timed.video_to_weights.eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "clock" in name or "second" in name:
                parameter.normal_(std=0.3)
        tokens = tiny.tokens(1, channels=timed.encoder.channels)
        one, other = module.injection(tokens), module.injection(stretched(tokens, 60.0))
        bound, longer = (
            module.perception.binding(queries.gists, queries.times)[0]
            for queries in (one, replace(other, gists=one.gists))
        )
    assert (one.gists - other.gists).abs().max() > 0.1
    assert (bound - longer).abs().max() > 1e-3, "a tag says the second"
