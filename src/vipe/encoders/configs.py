"""An encoder's config as plain values for JSON or YAML, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from vipe.encoders.huggingface_encoder import HuggingFaceEncoderConfig
from vipe.encoders.timm_encoder import TimmEncoderConfig
from vipe.errors import ModelError

EncoderConfig = TimmEncoderConfig | HuggingFaceEncoderConfig

KINDS: dict[str, type[EncoderConfig]] = {
    config.kind: config for config in (TimmEncoderConfig, HuggingFaceEncoderConfig)
}


def encoder_config_to_dict(config: EncoderConfig) -> dict[str, Any]:
    """Turn a config into plain values, with its `kind`."""
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}
    return {"kind": config.kind, **plain}


def encoder_config_from_dict(values: Mapping[str, Any]) -> EncoderConfig:
    """Turn plain values back into a config; what is left out has its default.

    Raises:
        ModelError: The kind or a key is unknown, or a key is missing.
    """
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    kind = given.pop("kind", TimmEncoderConfig.kind)
    if kind not in KINDS:
        raise ModelError(f"encoder: unknown kind {kind!r}, known are {', '.join(KINDS)}")
    known = {field.name for field in fields(KINDS[kind])}
    if unknown := sorted(given.keys() - known):
        raise ModelError(f"encoder: unknown key {unknown[0]!r} for kind {kind!r}")
    try:
        return KINDS[kind](**given)
    except TypeError as error:  # a required key is missing
        raise ModelError(f"encoder of kind {kind!r}: {error}") from error
