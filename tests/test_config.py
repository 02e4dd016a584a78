"""The config: there and back as plain values; what does not fit is told in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vipe.config import ViPEConfig
from vipe.encoders import HuggingFaceEncoderConfig, TimmEncoderConfig
from vipe.errors import ModelError
from vipe.injection import InjectionConfig
from vipe.merging import MergeConfig
from vipe.perception import PerceptionConfig
from vipe.static_lora import StaticLoraConfig

OTHER = ViPEConfig(
    language_model="some/model",
    encoder=HuggingFaceEncoderConfig(name="some/tower"),
    merging=MergeConfig(merge_ratio=0.25, frames_per_clip=3, budget=7, locality=0.1),
    injection=InjectionConfig(width=24, heads=3, depth=1, frequencies=2),
    perception=PerceptionConfig(
        width=24,
        heads=2,
        depth=1,
        rank=4,
        alpha=4.0,
        targets=("q_proj",),
        layers=(1, 2),
        factor="A",
    ),
    lora=StaticLoraConfig(rank=3, alpha=9.0, targets=("up_proj",), layers=(0, 2)),
    frames=5,
)


@pytest.mark.parametrize("config", [ViPEConfig(), OTHER])
def test_there_and_back_through_json(config: ViPEConfig) -> None:
    assert ViPEConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_what_is_left_out_has_its_default() -> None:
    assert ViPEConfig.from_dict({}) == ViPEConfig()
    config = ViPEConfig.from_dict({"perception": {"rank": 2, "alpha": 4}, "encoder": {"grid": 3}})
    assert config.perception == PerceptionConfig(rank=2, alpha=4.0)
    assert isinstance(config.perception.alpha, float)
    assert config.encoder == TimmEncoderConfig(grid=3)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"depth": 3}, "unknown key 'depth'"),
        ({"merging": {"ratio": 0.5}}, "unknown key 'ratio' in merging"),
        ({"perception": {"rnak": 8}}, "unknown key 'rnak' in perception"),
        ({"lora": {"rnak": 8}}, "unknown key 'rnak' in lora"),
        ({"injection": {1: 2}}, "unknown key '1' in injection"),
        ({"encoder": {"colour": 1}}, "unknown key 'colour'"),
        ({"merging": 5}, "merging must be a mapping, got 5"),
        ({"encoder": "timm"}, "encoder must be a mapping, got 'timm'"),
        ({"merging": {"merge_ratio": 1.5}}, "merging: merge_ratio must be at least 0 and below 1"),
        ({"merging": {"steps": -1}}, "merging: steps must be at least 0"),
        ({"merging": {"merge_ratio": "half"}}, "merging: merge_ratio: .*valid number"),
        ({"perception": {"factor": "C"}}, "perception: factor: .*'B', 'A' or 'AB'"),
        ({"perception": {"targets": "o_proj"}}, "perception: targets: .*valid tuple"),
        ({"perception": {"rank": 0}}, "perception: rank must be at least 1"),
        ({"perception": {"layers": ["all"]}}, "perception: layers.0: .*valid integer"),
        ({"injection": {"heads": 5}}, "injection: width 384 does not divide into 5 heads"),
        ({"injection": {"width": 192}}, "injection has width 192, perception 384"),
        ({"frames": "eight"}, "frames: .*valid integer"),
        ({"frames": 0}, "frames must be at least 1"),
        ({"language_model": None}, "language_model: .*valid string"),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said) as error:
        ViPEConfig.from_dict(values)
    assert "\n" not in str(error.value)
