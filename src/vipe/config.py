"""A model's configuration: one nested value for all stages, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from vipe.backbones import DEFAULT_LANGUAGE_MODEL
from vipe.encoders import (
    EncoderConfig,
    TimmEncoderConfig,
    encoder_config_from_dict,
    encoder_config_to_dict,
)
from vipe.errors import ModelError
from vipe.injection import InjectionConfig
from vipe.merging import MergeConfig
from vipe.perception import PerceptionConfig

_T = TypeVar("_T", MergeConfig, InjectionConfig, PerceptionConfig)


@dataclass(frozen=True, kw_only=True)
class ViPEConfig:
    """Everything that says what a model is, but its weights.

    Attributes:
        language_model: Name of the language model, as `vipe.backbones` looks it up.
        encoder: The frozen vision backbone.
        merging: How much of a video is merged away.
        injection: The Visual Injection Module.
        perception: The Visual Perception Module.
        frames: Frames that are sampled from a video, unless the caller says.
    """

    language_model: str = DEFAULT_LANGUAGE_MODEL
    encoder: EncoderConfig = field(default_factory=TimmEncoderConfig)
    merging: MergeConfig = field(default_factory=MergeConfig)
    injection: InjectionConfig = field(default_factory=InjectionConfig)
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    frames: int = 8

    def __post_init__(self) -> None:
        if self.injection.width != self.perception.width:
            raise ModelError(
                f"injection has width {self.injection.width}, perception {self.perception.width}: "
                "they must be the same"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or YAML."""
        return {
            "language_model": self.language_model,
            "frames": self.frames,
            "encoder": encoder_config_to_dict(self.encoder),
            "merging": asdict(self.merging),
            "injection": asdict(self.injection),
            "perception": asdict(self.perception),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ViPEConfig:
        """Return the config of plain values; what is left out has its default.

        Raises:
            ModelError: A key is unknown, or a value does not fit.
        """
        given = dict(values)
        if unknown := sorted(given.keys() - {f.name for f in fields(cls)}):
            raise ModelError(f"model config: unknown key {unknown[0]!r}")
        stages: dict[str, Any] = {}
        if "encoder" in given:
            stages["encoder"] = encoder_config_from_dict(given.pop("encoder"))
        for name, kind in (
            ("merging", MergeConfig),
            ("injection", InjectionConfig),
            ("perception", PerceptionConfig),
        ):
            if name in given:
                stages[name] = _stage(name, kind, given.pop(name))
        return cls(**given, **stages)


def _stage(name: str, kind: type[_T], values: Mapping[str, Any]) -> _T:
    if unknown := sorted(values.keys() - {f.name for f in fields(kind)}):
        raise ModelError(f"model config: unknown key {unknown[0]!r} in {name}")
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return kind(**plain)
    except (TypeError, ValueError) as error:
        raise ModelError(f"model config: {name}: {error}") from error
