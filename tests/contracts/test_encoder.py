"""What holds of every encoder, the one of docs/extending.md too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pages
import tiny
import tiny_backbones
from vipe import ViPE, ViPEConfig
from vipe.encoders import (
    Encoder,
    HuggingFaceEncoderConfig,
    encoder_config_from_dict,
    encoder_config_to_dict,
)
from vipe.encoders.configs import KINDS

PAGE = "docs/extending.md"
Build = Callable[..., Encoder]


@pytest.fixture(params=["test_efficientnet", "test_vit", "huggingface", PAGE])
def config(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    unchecked: None,  # the page's is of no type that a signature names
) -> Any:
    """An encoder's config, without pretrained weights."""
    if request.param == PAGE:
        monkeypatch.setitem(KINDS, "squares", None)  # so that it is forgotten afterwards
        return pages.run(PAGE, only="class Squares")["SquaresConfig"](image_size=64, grid=4)
    if request.param == "huggingface":
        folder: Path = tmp_path_factory.mktemp("tower")
        tiny_backbones.save_vision_tower(folder)
        return HuggingFaceEncoderConfig(name=str(folder))
    return tiny_backbones.timm_encoder(name=request.param)


@pytest.fixture
def build(config: Any) -> Build:
    """Builds the encoder, with changes of its config."""
    return lambda **changes: dataclasses.replace(config, **changes).build()


def test_what_it_says_of_itself_is_what_comes_out(build: Build) -> None:
    encoder, frames = build(), tiny.frames(5, size=64)
    seen = encoder.encode(frames)
    assert seen.features.shape == (5, encoder.patches, encoder.channels)
    assert seen.features.dtype == torch.float32
    assert seen.duration == frames.duration
    torch.testing.assert_close(
        seen.position[..., 0], frames.seconds[:, None].expand(-1, encoder.patches)
    )


def test_a_frame_does_not_depend_on_its_batch(build: Build) -> None:
    frames = tiny.frames(5, size=64)
    one, two, all_ = (build(batch_size=size, dtype="float32") for size in (1, 2, 64))
    two.load_state_dict(one.state_dict())
    all_.load_state_dict(one.state_dict())
    reference = one.encode(frames).features
    for encoder in (two, all_):
        # Measured: at most 3e-7 of the features' deviation, mostly 0; sums in another order.
        difference = (encoder.encode(frames).features - reference).abs().max()
        assert difference <= 1e-5 * reference.std()


def test_bfloat16_is_near_float32(build: Build) -> None:
    exact, rounded = build(dtype="float32"), build(dtype="bfloat16")
    rounded.load_state_dict(exact.state_dict())
    frames = tiny.frames(3, size=64)
    a, b = exact.encode(frames).features, rounded.encode(frames).features
    # Measured: 0.3 to 0.9% of the features' deviation; bfloat16 has eight bits.
    assert 0 < (a - b).std() < 0.03 * a.std()


def test_it_is_frozen(build: Build) -> None:
    encoder = build().train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder.encode(tiny.frames(2, size=64)).features.requires_grad


def test_no_frames_give_no_features(build: Build) -> None:
    encoder = build()
    features = encoder.encode(tiny.frames(0, size=64)).features
    assert features.shape == (0, encoder.patches, encoder.channels)


def test_patches_are_row_by_row(build: Build) -> None:
    """A change in one corner of the frame changes the patches there most."""
    encoder = build(dtype="float32")
    size = encoder.image_size
    frames = tiny.frames(1, size=size)
    changed = frames.pixels.clone()
    changed[..., : size // 4, size // 2 :] = 255 - changed[..., : size // 4, size // 2 :]
    a = encoder.encode(frames)
    b = encoder.encode(dataclasses.replace(frames, pixels=changed))
    most = (a.features - b.features).norm(dim=-1)[0].argmax()
    _, y, x = a.position[0, most]
    assert y < 0.5
    assert x > 0.5


def test_its_config_goes_through_a_file_and_back(config: Any) -> None:
    plain = json.loads(json.dumps(encoder_config_to_dict(config)))
    assert plain["kind"] == config.kind
    assert encoder_config_from_dict(plain) == config


def test_a_model_sees_with_it(config: Any, tiny_config: ViPEConfig) -> None:
    model = ViPE.from_config(dataclasses.replace(tiny_config, encoder=config))
    seen = model.see(tiny.frames(3, size=64))
    seen.check_fits(model.language_model)
    assert not any(seen.delta(target).any() for target in seen.targets), "of a fresh model"
