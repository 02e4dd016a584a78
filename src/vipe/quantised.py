"""Beside the flow: which weights of a language model are quantised, by whatever library."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


def is_quantised(weight: Tensor) -> bool:
    """Tell a weight that stands for other numbers than those it stores.

    bitsandbytes stores whole numbers; torchao a tensor of its own class, which goes by the dtype of
    the numbers it stands for.
    """
    if not weight.is_floating_point() or weight.element_size() < 2:  # 8-bit floats need a scale
        return True
    return _of_torchao(type(weight))


@cache
def _of_torchao(tensor: type) -> bool:
    return any(base.__module__.partition(".")[0] == "torchao" for base in tensor.__mro__)


def home_of(layer: nn.Module) -> tuple[torch.device, torch.dtype | None]:
    """Return where a linear layer is, and what its weight is in; None where that is quantised.

    Quantised layers of some libraries (GPTQ, AWQ, HQQ) have no `weight`.
    """
    weight = getattr(layer, "weight", None)
    if weight is not None:
        return weight.device, None if is_quantised(weight) else weight.dtype
    for tensor in (*layer.parameters(), *layer.buffers()):
        return tensor.device, None
    import torch

    return torch.device("cpu"), None
