"""Stage 6 of the flow, PerceptualWeights: what a video became, as a low-rank update of weights.

For each target (a linear layer W of the language model, by its full module name) the update is
ΔW = (α / r) · B A (Hu et al., LoRA, ICLR 2022, eq. 3). A value of this class holds the updates of
one video, or of a batch of videos.

Dimensions: s videos, r rank, in and out the features of the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from os import PathLike

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe import attachment
from vipe.errors import AdapterError


@dataclass(frozen=True, kw_only=True, eq=False)
class PerceptualWeights:
    """The low-rank update that one video, or a batch of videos, decides.

    A factor is either shared by all videos of the batch (two dimensions) or has one matrix per
    video (three). With both shared, the value is that of one video.

    Attributes:
        A: Per target `(r, in)`, or `(s, r, in)`.
        B: Per target `(out, r)`, or `(s, out, r)`; the same targets as `A`.
        alpha: α; the update is scaled by α / r.
        base_model: Name of the language model that the update is made for.
        metadata: Notes that are saved with the adapter: which video, how long, how many frames.

    Raises:
        ValueError: The factors do not fit one another.
    """

    A: Mapping[str, Float[Tensor, "... rank inputs"]]
    B: Mapping[str, Float[Tensor, "... outputs rank"]]
    alpha: float
    base_model: str
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.A or self.A.keys() != self.B.keys():
            raise ValueError(f"A has the targets {_names(self.A)}, B has {_names(self.B)}")
        first = self.targets[0]
        pattern = (self.A[first].ndim, self.B[first].ndim, self.A[first].shape[-2], len(self))
        for target in self.targets:
            A, B = self.factors(target)
            samples = {factor.shape[0] for factor in (A, B) if factor.ndim == 3} or {1}
            if (
                not {A.ndim, B.ndim} <= {2, 3}
                or A.shape[-2] != B.shape[-1]
                or (A.ndim, B.ndim, A.shape[-2], *samples) != pattern
            ):
                raise ValueError(
                    f"{target}: A must be (r, in) or (s, r, in) and B (out, r) or (s, out, r), "
                    f"alike for all targets, got A {tuple(A.shape)} and B {tuple(B.shape)}"
                )

    @property
    def targets(self) -> tuple[str, ...]:
        """Full names of the updated layers, in order."""
        return tuple(self.A)

    @property
    def rank(self) -> int:
        """The rank r, the same for all targets."""
        return next(iter(self.A.values())).shape[-2]

    @property
    def scale(self) -> float:
        """The factor α / r of the update."""
        return self.alpha / self.rank

    @property
    def is_batched(self) -> bool:
        """Whether there is one update per sample, rather than one for all."""
        return any(factors[self.targets[0]].ndim == 3 for factors in (self.A, self.B))

    @property
    def numel(self) -> int:
        """Number of values in all factors."""
        return sum(t.numel() for factors in (self.A, self.B) for t in factors.values())

    @property
    def nbytes(self) -> int:
        """Size of all factors in bytes."""
        return sum(t.nbytes for factors in (self.A, self.B) for t in factors.values())

    def factors(self, target: str) -> tuple[Tensor, Tensor]:
        """Return A and B of one target."""
        return self.A[target], self.B[target]

    def delta(self, target: str) -> Float[Tensor, "... outputs inputs"]:
        """Return ΔW of one target, `(out, in)` or `(s, out, in)`."""
        return self.scale * (self.B[target] @ self.A[target])

    # A batch of videos ---------------------------------------------------------------------------

    @staticmethod
    def batch(items: Iterable[PerceptualWeights]) -> PerceptualWeights:
        """Put the updates of several videos into one value, in order.

        A factor that all of them share stays shared. The metadata keeps what all agree on.

        Raises:
            AdapterError: They are not made for the same layers of the same model.
        """
        items = list(items)
        if not items:
            raise ValueError("a batch needs at least one update")
        first = items[0]
        for item in items[1:]:
            _check_same_layers(first, item)
        if any(item.scale != first.scale for item in items):
            items = [item._with_scale(1.0) for item in items]
        share_A = all(_same(item.A, first.A) for item in items)
        share_B = not share_A and all(_same(item.B, first.B) for item in items)
        common = set.intersection(*(set(item.metadata.items()) for item in items))
        return replace(
            items[0],
            A=first.A if share_A else _joined([i._per_sample(i.A) for i in items], dim=0),
            B=first.B if share_B else _joined([i._per_sample(i.B) for i in items], dim=0),
            metadata={k: v for k, v in first.metadata.items() if (k, v) in common},
        )

    def __len__(self) -> int:
        target = self.targets[0]
        sizes = [f[target].shape[0] for f in (self.A, self.B) if f[target].ndim == 3]
        return sizes[0] if sizes else 1

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> PerceptualWeights:
        """Return one video's update, or with a slice or several indices a batch of them."""
        if not self.is_batched:
            return PerceptualWeights.batch([self])[index]
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"update {index} of a batch of {len(self)}")
        A, B = (
            {name: f[index] if f.ndim == 3 else f for name, f in factors.items()}
            for factors in (self.A, self.B)
        )
        return replace(self, A=A, B=B)

    def __iter__(self) -> Iterator[PerceptualWeights]:
        return (self[i] for i in range(len(self)))

    def _per_sample(self, factors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {n: f if f.ndim == 3 else f.expand(len(self), -1, -1) for n, f in factors.items()}

    # Arithmetic ----------------------------------------------------------------------------------

    def __add__(self, other: PerceptualWeights) -> PerceptualWeights:
        """Return the update whose ΔW is the sum of both.

        With A shared (or B), ΔW is linear in the other factor: those add and the rank stays.
        Otherwise the factors are laid side by side and the ranks add up.

        Raises:
            AdapterError: They are not made for the same layers of the same model.
        """
        if not isinstance(other, PerceptualWeights):
            return NotImplemented
        _check_same_layers(self, other)
        if len(self) != len(other) and self.is_batched and other.is_batched:
            raise ValueError(f"updates of {len(self)} and of {len(other)} videos do not add")
        one, two = self, other
        if one.scale != two.scale:
            one, two = one._with_scale(1.0), two._with_scale(1.0)
        notes = dict(one.metadata)
        for key, value in two.metadata.items():
            notes[key] = value if notes.get(key, value) == value else f"{notes[key]}; {value}"
        if _same(one.A, two.A):
            return replace(one, B={t: one.B[t] + two.B[t] for t in one.targets}, metadata=notes)
        if _same(one.B, two.B):
            return replace(one, A={t: one.A[t] + two.A[t] for t in one.targets}, metadata=notes)
        rank = one.rank + two.rank
        return replace(
            one,
            A=_joined([one.A, two.A], dim=-2),
            B=_joined([one.B, two.B], dim=-1),
            alpha=one.scale * rank,
            metadata=notes,
        )

    def __radd__(self, other: object) -> PerceptualWeights:
        # `sum` starts from 0.
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float) -> PerceptualWeights:
        """Return the update with ΔW scaled by `factor`."""
        return replace(self, alpha=self.alpha * factor)

    __rmul__ = __mul__

    def _with_scale(self, scale: float) -> PerceptualWeights:
        """Return the same update with another α, the rest of the scale in B."""
        B = {target: B * (self.scale / scale) for target, B in self.B.items()}
        return replace(self, B=B, alpha=scale * self.rank)

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> PerceptualWeights:
        """Return the same update on another device or in another dtype."""
        A, B = (
            {name: f.to(device=device, dtype=dtype) for name, f in factors.items()}
            for factors in (self.A, self.B)
        )
        return replace(self, A=A, B=B)

    # With a language model -----------------------------------------------------------------------

    def check_fits(self, model: nn.Module) -> None:
        """Check that `model` has the updated layers, of the right sizes.

        Raises:
            AdapterError: It has not: the update is made for another model.
            ModelError: A target is not a linear layer.
        """
        attachment.fitting_modules(model, self)

    def attached_to(self, model: nn.Module) -> AbstractContextManager[None]:
        """Add the update to `model` inside a `with` block; see `vipe.attachment.attach`."""
        return attachment.attach(model, self)

    def merge_into(self, model: nn.Module) -> attachment.Merged:
        """Write W + ΔW into `model`; the handle returned undoes it (or a `with` block does).

        Raises:
            AdapterError: The update is made for another model.
            ModelError: A target's weight is quantised or tied to another.
            ValueError: There is more than one update.
        """
        return attachment.Merged(model, self)

    # On disk -------------------------------------------------------------------------------------

    def save(self, folder: str | PathLike[str]) -> None:
        """Write a PEFT LoRA folder; see `vipe.adapter.save`."""
        from vipe import adapter

        adapter.save(self, folder)

    @staticmethod
    def load(folder: str | PathLike[str]) -> PerceptualWeights:
        """Read a PEFT LoRA folder; see `vipe.adapter.load`."""
        from vipe import adapter

        return adapter.load(folder)


def _joined(parts: Sequence[Mapping[str, Tensor]], *, dim: int) -> dict[str, Tensor]:
    """Concatenate per target, repeating a shared factor beside one that is per sample."""
    joined = {}
    for target in parts[0]:
        tensors = [part[target] for part in parts]
        samples = next((t.shape[0] for t in tensors if t.ndim == 3), None)
        if samples is not None:
            tensors = [t if t.ndim == 3 else t.expand(samples, -1, -1) for t in tensors]
        joined[target] = torch.cat(tensors, dim=dim)
    return joined


def _same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    """Tell whether both hold the same factors (the same tensors, or equal ones)."""
    return all(one[t] is two[t] or torch.equal(one[t], two[t]) for t in one)


def _check_same_layers(one: PerceptualWeights, two: PerceptualWeights) -> None:
    if one.base_model != two.base_model:
        raise AdapterError(
            f"updates of different models do not combine: {one.base_model!r} and {two.base_model!r}"
        )
    if set(one.targets) != set(two.targets):
        raise AdapterError(
            f"updates of different layers do not combine: {_names(one.A)} and {_names(two.A)}"
        )
    for target in one.targets:
        sizes = [(w.A[target].shape[-1], w.B[target].shape[-2]) for w in (one, two)]
        if sizes[0] != sizes[1]:
            raise AdapterError(
                f"updates of different sizes do not combine: {target} maps {sizes[0][0]} to "
                f"{sizes[0][1]} features in one, {sizes[1][0]} to {sizes[1][1]} in the other"
            )


def _names(factors: Mapping[str, Tensor]) -> str:
    names = list(factors)
    shown = names if len(names) <= 4 else [*names[:2], "…", names[-1]]
    return f"{len(names)} ({', '.join(shown)})"
