"""Stage 6 of the flow, PerceptualWeights + language model: attaching (and merging) the update.

Attaching adds a forward hook to each target layer and leaves the parameters alone, so that every
sample of a batch can carry its own video's update. Merging writes one update into the parameters,
for a model that is to be asked about one video only.

Dimensions: b samples of the input batch, s videos (b is a multiple of s), t tokens, r rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vipe.errors import AdapterError, ModelError

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights


@contextmanager
def attach(model: nn.Module, weights: PerceptualWeights) -> Iterator[None]:
    """Add `weights` to the target layers of `model` inside a `with` block.

    Sample `i` of an input batch of `k · s` samples gets the update of video `i // k`, which is
    how `generate` lays out beams and returned sequences; an unbatched update goes to all samples.
    Nested blocks add up. Gradients flow to the factors. The parameters are never written to, and
    on leaving the block the hooks are gone. With gradient checkpointing, call `backward` inside
    the block: the forward pass is run again there.

    Args:
        model: The language model.
        weights: The update of one video, or of one video per sample.

    Raises:
        AdapterError: `model` has no such layers, or of other sizes.
        ModelError: A target is not a linear layer.
    """
    handles = []
    try:
        for target, module in fitting_modules(model, weights).items():
            A, B = (factor.to(module.weight.device) for factor in weights.factors(target))
            if module.weight.is_floating_point():  # else quantised: cast to the input's, per call
                A, B = A.to(module.weight.dtype), B.to(module.weight.dtype)
            handles.append(module.register_forward_hook(_LowRankHook(A, B, weights.scale)))
        yield
    finally:
        for handle in handles:
            handle.remove()


class _LowRankHook:
    """Adds `scale · B A x` to a linear layer's output (Hu et al., LoRA, ICLR 2022, eq. 3)."""

    def __init__(self, A: Tensor, B: Tensor, scale: float) -> None:
        self.A, self.B, self.scale = A, B, scale

    def __call__(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return low_rank_add(output, args[0], self.A, self.B, self.scale)


def low_rank_add(
    y: Float[Tensor, "... outputs"],
    x: Float[Tensor, "... inputs"],
    A: Float[Tensor, "... rank inputs"],
    B: Float[Tensor, "... outputs rank"],
    scale: float,
) -> Float[Tensor, "... outputs"]:
    """Return `y + scale · (x Aᵀ) Bᵀ`, in the dtype of `y`.

    Args:
        y: The layer's output, `(b, t, out)`; any leading shape when both factors are shared.
        x: The layer's input, `(b, t, in)`.
        A: `(r, in)` shared by all samples, or `(s, r, in)`.
        B: `(out, r)` shared by all samples, or `(s, out, r)`.
        scale: α / r.

    Raises:
        ValueError: The batch does not divide into the samples of the factors.
    """
    A, B = A.to(x.dtype), B.to(x.dtype)
    samples = max(A.shape[0] if A.ndim == 3 else 1, B.shape[0] if B.ndim == 3 else 1)
    batched = A.ndim == 3 or B.ndim == 3
    if batched and (x.ndim != 3 or x.shape[0] % samples):
        raise ValueError(
            f"the update of {samples} videos needs an input of (multiple of {samples}, tokens, "
            f"{x.shape[-1]}), got {tuple(x.shape)}"
        )
    # One row of the reshaped batch holds all inputs of one video, so nothing is repeated.
    rows = x.reshape(samples, -1, x.shape[-1])
    hidden = F.linear(rows, A) if A.ndim == 2 else torch.bmm(rows, A.transpose(1, 2))
    if B.ndim == 2:
        return torch.addmm(
            y.reshape(-1, y.shape[-1]), hidden.flatten(0, 1).to(y.dtype), B.t().to(y.dtype),
            alpha=scale,
        ).view(y.shape)  # fmt: skip
    return torch.baddbmm(
        y.reshape(samples, -1, y.shape[-1]), hidden.to(y.dtype), B.transpose(1, 2).to(y.dtype),
        alpha=scale,
    ).view(y.shape)  # fmt: skip


class Merged:
    """The handle of a merge: gives the model its own weights back, bit for bit.

    It keeps a copy of the weights it replaced (subtracting the update would round). Also a context
    manager that unmerges on leaving.
    """

    def __init__(self, model: nn.Module, weights: PerceptualWeights) -> None:
        if len(weights) != 1:
            raise ValueError(f"one update can be merged at a time, got a batch of {len(weights)}")
        modules = fitting_modules(model, weights)
        users: dict[int, list[str]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            users.setdefault(id(parameter), []).append(name)
        for target, module in modules.items():
            if not module.weight.is_floating_point():
                raise ModelError(f"cannot merge into {target}: its weight is {module.weight.dtype}")
            if len(shared := users[id(module.weight)]) > 1:
                raise ModelError(f"cannot merge into {target}: {' and '.join(shared)} are tied")
        self._saved: list[tuple[Tensor, Tensor, int]] = []
        single = weights[0]
        with torch.no_grad():
            for target, module in modules.items():
                weight, original = module.weight, module.weight.detach().clone()
                # Add in float32 at least: one rounding to the weight's dtype, not three.
                delta = single.to(device=weight.device).delta(target)
                weight.copy_(original.to(torch.promote_types(weight.dtype, delta.dtype)) + delta)
                self._saved.append((weight, original, _version(weight)))

    def unmerge(self) -> None:
        """Put the original weights back; a second call does nothing.

        Raises:
            RuntimeError: The weights were changed after the merge (by a later merge, say, which
                has to be undone first).
        """
        for weight, _, version in self._saved:
            if _version(weight) != version:
                raise RuntimeError("the merged weights were changed since; undo that first")
        with torch.no_grad():
            for weight, original, _ in self._saved:
                weight.copy_(original)
        self._saved = []

    def __enter__(self) -> Merged:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unmerge()


def fitting_modules(model: nn.Module, weights: PerceptualWeights) -> dict[str, nn.Linear]:
    """Find the layer of each target in `model`.

    Raises:
        AdapterError: A target is missing in `model`, or has another size there.
        ModelError: A target is not a linear layer.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper prefixes the names
    made_for = f"the adapter made for {weights.base_model or 'an unnamed model'} does not fit"
    modules = dict(model.named_modules())
    found = {}
    for target in weights.targets:
        module = modules.get(target)
        if module is None:
            raise AdapterError(f"{made_for}: the language model has no layer {target}")
        size = (getattr(module, "in_features", None), getattr(module, "out_features", None))
        if None in size:
            raise ModelError(
                f"{target} is a {type(module).__name__}: only linear layers take an update"
            )
        A, B = weights.factors(target)
        if size != (wanted := (A.shape[-1], B.shape[-2])):
            raise AdapterError(f"{made_for}: {target} maps {size[0]} to {size[1]} features, the "
                               f"adapter's maps {wanted[0]} to {wanted[1]}")  # fmt: skip
        found[target] = module
    return found


def _version(weight: Tensor) -> int:
    """Count the writes to `weight` so far (inference tensors do not count them)."""
    return 0 if weight.is_inference() else weight._version
