"""Stage 6 of the flow, beside an adapter's two files: what PEFT need not know, and sums do.

A LoRA folder of PEFT has no place for what of B is alike for all videos, nor for the visual tokens
that B was made from. They are in a third file, which PEFT and servers do not read. It names the
hash of the weights that it goes with: beside other weights it counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vipe.errors import AdapterError
from vipe.recognition import Recognised
from vipe.visual_tokens import VisualTokens

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights

FILE = "vipe_state.safetensors"
_STATIC, _TOKENS, _RECOGNISED = "static.", "tokens.", "recognised."
# Where patches went is told while a video is seen, and not kept.
_NAMES = tuple(
    field.name for field in fields(VisualTokens) if field.name not in ("assignment", "recognised")
)
_OF_FRAMES = tuple(field.name for field in fields(Recognised))
_log = logging.getLogger(__name__)


def to_bytes(weights: PerceptualWeights, of: bytes) -> bytes | None:
    """Return the file's contents; None where there is nothing to say.

    Args:
        weights: The update of one video.
        of: The file of its weights.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    static = weights.static or {}
    # Of layers that no video decides, all of B is: it is there once already.
    alike = [target for target in static if torch.equal(static[target], weights.B[target])]
    for target in static.keys() - set(alike):
        tensors[_STATIC + target] = _narrowed(static[target])
    for seen in weights.tokens:
        tensors |= {_TOKENS + name: getattr(seen, name) for name in _NAMES}
        if seen.recognised is not None:
            tensors |= {_RECOGNISED + name: getattr(seen.recognised, name) for name in _OF_FRAMES}
    if not static and not tensors:
        return None
    notes = {
        "format": "pt",
        "of": _hash(of),
        "static": str(bool(static)),
        "alike": json.dumps(alike),
    }
    whole = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    return save(whole, notes)


def read(file: Path, weights: PerceptualWeights, of: Path) -> PerceptualWeights:
    """Return an update with what the file says of it, if it does of this one.

    Args:
        file: The file; it need not be there.
        weights: The update of one video.
        of: The file of its weights.

    Raises:
        AdapterError: It is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        return weights
    try:
        with safe_open(file, framework="pt") as stored:
            notes = stored.metadata() or {}
            if notes.get("of") != _hash(of.read_bytes()):
                _log.info("%s: left aside, it goes with other weights", file)
                return weights
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        static: dict[str, Tensor] | None = None
        if notes["static"] == "True":
            static = {target: weights.B[target] for target in json.loads(notes["alike"])}
            for key, value in tensors.items():
                if key.startswith(_STATIC):
                    target = key.removeprefix(_STATIC)
                    static[target] = value.to(weights.B[target])
        tokens: tuple[VisualTokens, ...] = ()
        if any(key.startswith(_TOKENS) for key in tensors):
            seen = VisualTokens(**{name: tensors[_TOKENS + name] for name in _NAMES})
            if any(key.startswith(_RECOGNISED) for key in tensors):
                kept = {name: tensors[_RECOGNISED + name] for name in _OF_FRAMES}
                seen = replace(seen, recognised=Recognised(**kept))
            tokens = (seen,)
        return replace(weights, static=static, tokens=tokens)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise AdapterError(f"{file}: damaged: {' '.join(str(error).split())}") from error


def _narrowed(value: Tensor) -> Tensor:
    """In bfloat16, as model folders are, where that loses nothing."""
    narrow = value.to(torch.bfloat16)
    return narrow if torch.equal(narrow.to(value.dtype), value) else value


def _hash(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()
