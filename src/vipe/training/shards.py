"""Training, beside the loop: parameters of which each process holds a part, made whole and back.

A file never shows how many processes wrote it: what is saved is whole, and is split where it is
read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def whole(value: Any, *, keep: bool = True) -> Any:
    """Gather every tensor of which processes hold parts, in dicts and lists; all take part.

    One tensor after another, each into the main memory: a model in parts may not fit a device.

    Args:
        value: Tensors, and what holds them.
        keep: Whether this process needs them; else it gets None in their places.
    """
    match value:
        case DTensor():
            gathered = value.full_tensor()
            return gathered.cpu() if keep else None
        case Mapping():
            return {key: whole(part, keep=keep) for key, part in value.items()}
        case list():
            return [whole(part, keep=keep) for part in value]
        case _:
            return value


def module_parts(state: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split the whole tensors of a module's state as `like`, its present state, is split."""
    return {
        name: _part(value, like[name]) if name in like else value for name, value in state.items()
    }


def optimizer_parts(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Split the whole tensors of an optimizer's state as the parameters are split."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    split = {
        place: {name: _part(value, parameters[place]) for name, value in values.items()}
        for place, values in state["state"].items()
    }
    return {**state, "state": split}


def _part(value: Tensor, like: Tensor) -> Tensor:
    """What this process holds of a whole tensor; of another shape, it is left as it is."""
    if not isinstance(like, DTensor) or value.shape != like.shape:
        return value
    # Every process has the whole: none need send anything. A copy of its part lets go of it.
    return distribute_tensor(
        value.to(like.device), like.device_mesh, like.placements, src_data_rank=None
    ).clone()
