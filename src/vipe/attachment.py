"""Stage 6 of the flow, PerceptualWeights + language model: attaching (and merging) the update.

Attaching lends each target layer a class that adds the update to the output and leaves the
parameters alone, so that every sample of a batch can carry its own video's update. Merging writes
one update into the parameters, for a model that is to be asked about one video only: nothing is
then left to compute per token.

Dimensions: b samples of the input batch, s videos (b is a multiple of s), t tokens, r rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.errors import AdapterError, ModelError
from vipe.quantised import home_of

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights


@contextmanager
def attach(model: nn.Module, weights: PerceptualWeights) -> Iterator[None]:
    """Add `weights` to the target layers of `model` inside a `with` block.

    Sample `i` of an input batch of `k · s` samples gets the update of video `i // k`, which is
    how `generate` lays out beams and returned sequences; an unbatched update goes to all samples.
    Nested blocks add up. Gradients flow to the factors. The parameters are never written to, and
    after the block the model is as it was. With gradient checkpointing, call `backward` inside the
    block: the forward pass is run again there. A model is for one thread at a time.

    A quantised layer is never touched either: the update is added to what it gives.

    Compiled models (`torch.compile`) are compiled once with and once without an update.

    Args:
        model: The language model.
        weights: The update of one video, or of one video per sample.

    Raises:
        AdapterError: `model` has no such layers, or of other sizes.
        ModelError: A target is not a linear layer.
    """
    attached = []
    scale, least = weights.scale, min(A.shape[-2] for A in weights.A.values())
    try:
        for target, module in fitting_modules(model, weights).items():
            # Quantised, there is no dtype: the factors are cast to the input's, per call.
            home = home_of(module)
            A, B = _heard(weights.A[target], weights.B[target], least)
            update = (_moved(A, *home), _moved(B, *home), scale)
            _add(module, update)
            attached.append((module, update))
        yield
    finally:
        for module, update in attached:
            _remove(module, update)


Update = tuple[Tensor, Tensor, float]  # A, B, scale


class _Updated(nn.Module):
    """A layer's class while updates are attached, before its own class in the method order.

    Not a forward hook, since torch.compile does not look for hooks that came or went after it
    compiled (it would go on without the update, and say nothing), but does look at classes.
    """

    _updates: tuple[Update, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        y = super().__call__(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        for A, B, scale in self._updates:
            y = low_rank_add(y, x, A, B, scale)
        return y


@cache
def _updated(base: Any) -> Any:
    return type(f"Updated{base.__name__}", (_Updated, base), {})


def _heard(A: Tensor, B: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Cut the factors of one update to the least rank of all layers, where the others add nothing.

    So it is in layers with rows for what recollects (`vipe.recollection`) after a short video.
    """
    if A.shape[-2] == least or B.ndim == 3 or B.requires_grad or B.is_meta:
        return A, B
    if B[:, least:].abs().amax() != 0:  # `any` takes twice as long on a CPU; NaN is heard too
        return A, B
    return A[..., :least, :], B[:, :least]


# A question begins with attaching, to a hundred layers: `to` looks at many things before it does
# nothing, and a module's own `__setattr__` looks for parameters in what it is given.


def _moved(factor: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    if factor.device == device and dtype in (None, factor.dtype):
        return factor
    return factor.to(device=device, dtype=dtype)


def _add(module: Any, update: Update) -> None:
    own: Any = type(module)
    state = module.__dict__
    if issubclass(own, _Updated):
        state["_updates"] = (*state["_updates"], update)
    else:
        state["_updates"] = (update,)
        object.__setattr__(module, "__class__", _updated(own))


def _remove(module: Any, update: Update) -> None:
    state = module.__dict__
    if left := tuple(other for other in state["_updates"] if other is not update):
        state["_updates"] = left
    else:
        object.__setattr__(module, "__class__", type(module).__bases__[-1])
        del state["_updates"]


def low_rank_add(
    y: Float[Tensor, "... outputs"],
    x: Float[Tensor, "... inputs"],
    A: Float[Tensor, "... rank inputs"],
    B: Float[Tensor, "... outputs rank"],
    scale: float,
) -> Float[Tensor, "... outputs"]:
    """Return `y + scale · (x Aᵀ) Bᵀ`, in the dtype of `y` (Hu et al., LoRA, ICLR 2022, eq. 3).

    `y` may be written to.

    Args:
        y: The layer's output, `(b, t, out)`; any leading shape when both factors are shared.
        x: The layer's input, `(b, t, in)`.
        A: `(r, in)` shared by all samples, or `(s, r, in)`.
        B: `(out, r)` shared by all samples, or `(s, out, r)`.
        scale: α / r.

    Raises:
        ValueError: The batch does not divide into the samples of the factors.
    """
    if A.dtype != x.dtype or B.dtype != x.dtype:
        A, B = A.to(x.dtype), B.to(x.dtype)
    if A.ndim == B.ndim == 2 and y.dtype == x.dtype and y.is_contiguous():
        # An answer about one video: when one token is decoded, every call counts.
        inner = x.reshape(-1, x.shape[-1]).mm(A.mT)
        y.view(-1, y.shape[-1]).addmm_(inner, B.mT, alpha=scale)
        return y
    rows = x
    if A.ndim == 3 or B.ndim == 3:
        samples = len(A if A.ndim == 3 else B)
        if x.ndim != 3 or x.shape[0] % samples:
            raise ValueError(
                f"updates of {samples} videos need an input (a multiple of {samples}, tokens, "
                f"{x.shape[-1]}), got {tuple(x.shape)}"
            )
        # A row holds all inputs of one video, so the factors need not be repeated k times.
        rows = x.reshape(samples, -1, x.shape[-1])
    update = rows @ A.mT * scale @ B.mT
    return y + update.view(y.shape).to(y.dtype)


_MARK = "_vipe_merged"  # set on a parameter while an update is merged into it


class Merged:
    """The handle of a merge: gives the model its own weights back, bit for bit.

    It keeps a copy of the weights it replaced (subtracting the update would round). Also a context
    manager that unmerges on leaving. One update can be merged at a time: add them up first.
    """

    def __init__(self, model: nn.Module, weights: PerceptualWeights) -> None:
        if len(weights) != 1:
            raise ValueError(f"one update can be merged at a time, got a batch of {len(weights)}")
        names: dict[int, list[str]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), []).append(name)
        modules = fitting_modules(model, weights)
        for target, module in modules.items():
            if home_of(module)[1] is None:
                raise ModelError(f"cannot merge into {target}, which is quantised: attach instead")
            if len(tied := names.get(id(module.weight), [])) > 1:
                raise ModelError(f"cannot merge into {target}: {' and '.join(tied)} are one tensor")
            if hasattr(module.weight, _MARK):
                raise ModelError(f"cannot merge into {target}: another update is merged already")
        self._saved: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            for target, module in modules.items():
                weight, original = module.weight, module.weight.detach().clone()
                # In float32 at least, so that a bfloat16 weight is rounded once.
                exact = torch.promote_types(weight.dtype, torch.float32)
                A, B = (f.to(weight.device, exact) for f in weights[0].factors(target))
                weight.copy_(original.to(exact) + weights.scale * (B @ A))
                setattr(weight, _MARK, True)
                self._saved.append((weight, original))

    def unmerge(self) -> None:
        """Put the original weights back; a second call does nothing."""
        with torch.no_grad():
            for weight, original in self._saved:
                weight.copy_(original)
                delattr(weight, _MARK)
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


def _submodule(model: nn.Module, name: str) -> nn.Module | None:
    """As `get_submodule`, in a fifteenth of the time: a question begins with a hundred of these."""
    found: nn.Module | None = model
    for part in name.split("."):
        if found is None:
            break
        found = found._modules.get(part)
    return found


def fitting_modules(model: nn.Module, weights: PerceptualWeights) -> dict[str, Any]:
    """Find the layer of each target in `model`.

    Raises:
        AdapterError: A target is missing in `model`, or has another size there.
        ModelError: A target is not a linear layer.
    """
    model = getattr(model, "_orig_mod", model)  # torch.compile's wrapper prefixes the names
    made_for = f"the adapter made for {weights.base_model or 'an unnamed model'} does not fit"
    found: dict[str, Any] = {}
    for target in weights.targets:
        module = _submodule(model, target)
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
