"""Training, beside step 3: a layer keeps its input alone and computes itself again for gradients.

Activations of a language model of many layers are then one layer's and the inputs of the others
(Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016), for a third more computing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vipe.training.linear import TrainingLinear

_Update = tuple[tuple[Tensor, Tensor] | None, float]


def recompute(layer: nn.Module, compute: Callable[..., Any]) -> None:
    """Let a layer compute itself again in the backward pass.

    That pass comes when the videos' weights may be attached no more: they are held from the
    forward pass on.

    Args:
        layer: One of the language model's, with `TrainingLinear` in it.
        compute: Its forward, perhaps compiled.
    """
    linears = [module for module in layer.modules() if isinstance(module, TrainingLinear)]

    def forward(*args: Any, **kwargs: Any) -> Any:
        held = [(linear.factors, linear.scale) for linear in linears]

        def again(*args: Any, **kwargs: Any) -> Any:
            with _lent(linears, held):
                return compute(*args, **kwargs)

        return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    layer.forward = forward


@contextmanager
def _lent(linears: Sequence[TrainingLinear], updates: Sequence[_Update]) -> Iterator[None]:
    """Give layers their updates of the forward pass, and then those back that they have now."""
    now = [(linear.factors, linear.scale) for linear in linears]
    try:
        _give(linears, updates)
        yield
    finally:
        _give(linears, now)


def _give(linears: Sequence[TrainingLinear], updates: Sequence[_Update]) -> None:
    for linear, (factors, scale) in zip(linears, updates, strict=True):
        linear.factors, linear.scale = factors, scale
