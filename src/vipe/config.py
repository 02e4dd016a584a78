"""A model's configuration: one nested value for all stages, and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

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
from vipe.static_lora import StaticLoraConfig

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class ViPEConfig:
    """Everything that says what a model is, but its weights.

    Attributes:
        language_model: Name of the language model, as `vipe.backbones` looks it up.
        encoder: The frozen vision backbone.
        merging: How much of a video is merged away.
        injection: The Visual Injection Module.
        perception: The Visual Perception Module.
        lora: A LoRA of the language model that was tuned with these two; None for none.
        frames: Frames that are sampled from a video, unless the caller says.
    """

    language_model: str = DEFAULT_LANGUAGE_MODEL
    encoder: EncoderConfig = field(default_factory=TimmEncoderConfig)
    merging: MergeConfig = field(default_factory=MergeConfig)
    injection: InjectionConfig = field(default_factory=InjectionConfig)
    perception: PerceptionConfig = field(default_factory=PerceptionConfig)
    lora: StaticLoraConfig | None = None
    frames: int = 8

    def __post_init__(self) -> None:
        if self.injection.width != self.perception.width:
            raise ModelError(
                f"injection has width {self.injection.width}, perception {self.perception.width}: "
                "they must be the same"
            )
        if self.frames < 1:
            raise ModelError(f"frames must be at least 1, got {self.frames}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or YAML."""
        return {
            "language_model": self.language_model,
            "frames": self.frames,
            "encoder": encoder_config_to_dict(self.encoder),
            "merging": asdict(self.merging),
            "injection": asdict(self.injection),
            "perception": asdict(self.perception),
        } | ({} if self.lora is None else {"lora": asdict(self.lora)})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ViPEConfig:
        """Return the config of plain values; what is left out has its default.

        Raises:
            ModelError: A key is unknown, or a value does not fit.
        """
        given = {k: v for k, v in values.items() if (k, v) != ("lora", None)}
        if unknown := sorted(map(str, given.keys() - {f.name for f in fields(cls)})):
            raise ModelError(f"model config: unknown key {unknown[0]!r}")
        for name in ("encoder", "merging", "injection", "perception", "lora"):
            if name in given and not isinstance(given[name], Mapping):
                raise ModelError(f"model config: {name} must be a mapping, got {given[name]!r}")
        for name, kind in (
            ("merging", MergeConfig),
            ("injection", InjectionConfig),
            ("perception", PerceptionConfig),
            ("lora", StaticLoraConfig),
        ):
            if name in given:
                known = {f.name for f in fields(kind)}
                if unknown := sorted(map(str, given[name].keys() - known)):
                    raise ModelError(f"model config: unknown key {unknown[0]!r} in {name}")
                given[name] = _checked(name, kind, given[name])
        if "encoder" in given:
            given["encoder"] = encoder_config_from_dict(given["encoder"])
        for name, plain in (("language_model", str), ("frames", int)):
            if name in given:
                given[name] = _checked(name, plain, given[name])
        return cls(**given)


def first_problem(error: ValidationError) -> str:
    """Return in one line where and what the first thing is that does not fit."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{where}: {what}" if where else what


def _checked(name: str, kind: type[_T], value: object) -> _T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ModelError(f"model config: {name}: {first_problem(error)}") from error
