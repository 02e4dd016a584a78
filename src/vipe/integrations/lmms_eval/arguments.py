"""Integration, lmms-eval: its model arguments and generation settings → ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vipe.evaluation.runner import BATCH
from vipe.generation import Decoding


def batch_size_of(size: int | str) -> int:
    """Return how many answers are decoded at once; "auto" is the number of `vipe eval`.

    Raises:
        ValueError: It is neither "auto" nor a number above zero.
    """
    text = str(size)
    if text.partition(":")[0] == "auto":
        return BATCH
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"batch_size must be 'auto' or at least 1, got {size!r}")
    return int(text)


def dtype_of(name: str) -> torch.dtype | None:
    """Return the dtype of a name such as "bfloat16"; None for "auto".

    Raises:
        ValueError: There is no such dtype.
    """
    dtype = None if name == "auto" else getattr(torch, name, name)
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype must be 'auto' or one of floating point, got {name!r}")
    return dtype


def decoding_of(settings: Mapping[str, Any]) -> Decoding:
    """Return how an answer is decoded.

    As in lmms-eval's own models the temperature alone decides whether is sampled, whatever
    `do_sample` says. Settings that other models have are left alone.

    Args:
        settings: A task's `generation_kwargs`; what is missing or None is as in `Decoding`.

    Raises:
        ValueError: A number is out of its range.
    """
    kinds = {
        "max_new_tokens": int, "temperature": float, "top_p": float, "num_beams": int,
        "length_penalty": float, "seed": int
    }  # fmt: skip
    given = {k: kind(settings[k]) for k, kind in kinds.items() if settings.get(k) is not None}
    if not given.get("temperature"):
        given.pop("top_p", None)  # of sampling only; tasks without it say 0
    return Decoding(**given)


def until(text: str, stops: str | Sequence[str] | None) -> str:
    """Cut a text before the first of the stops that occurs in it."""
    listed = [stops] if isinstance(stops, str) else stops or []
    found = [text.index(stop) for stop in listed if stop and stop in text]
    return text[: min(found, default=len(text))].strip()
