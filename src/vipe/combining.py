"""Stage 6 of the flow, PerceptualWeights: putting several into a batch, or into a sum.

With a factor that all videos share (A, by default), ΔW = (α / r) · B A is linear in the other one,
so that sums do not grow in rank; whatever is shared is looked for and kept shared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vipe.errors import AdapterError

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights


def batch(items: Sequence[PerceptualWeights]) -> PerceptualWeights:
    """Put the updates of several videos into one value; see `PerceptualWeights.batch`."""
    if not items:
        raise ValueError("a batch needs at least one update")
    items = _with_one_scale(items)
    first = items[0]
    share_A = all(_same(item.A, first.A) for item in items)
    share_B = not share_A and all(_same(item.B, first.B) for item in items)
    agreed = set.intersection(*(set(item.metadata.items()) for item in items))
    return replace(
        first,
        A=first.A if share_A else _joined([(item.A, len(item)) for item in items], dim=0),
        B=first.B if share_B else _joined([(item.B, len(item)) for item in items], dim=0),
        metadata={key: note for key, note in first.metadata.items() if (key, note) in agreed},
    )


def add(one: PerceptualWeights, two: PerceptualWeights) -> PerceptualWeights:
    """Return the update whose ΔW is the sum of both; see `PerceptualWeights.__add__`."""
    if len(one) != len(two) and one.is_batched and two.is_batched:
        raise ValueError(f"updates of {len(one)} and of {len(two)} videos do not add")
    one, two = _with_one_scale([one, two])
    notes = dict(one.metadata)
    for key, note in two.metadata.items():
        notes[key] = note if notes.get(key, note) == note else f"{notes[key]}; {note}"
    if _same(one.A, two.A):
        return replace(one, B={t: one.B[t] + two.B[t] for t in one.targets}, metadata=notes)
    if _same(one.B, two.B):
        return replace(one, A={t: one.A[t] + two.A[t] for t in one.targets}, metadata=notes)
    samples = max(len(one), len(two))
    return replace(
        one,
        A=_joined([(one.A, samples), (two.A, samples)], dim=-2),
        B=_joined([(one.B, samples), (two.B, samples)], dim=-1),
        alpha=one.scale * (one.rank + two.rank),
        metadata=notes,
    )


def unlike(one: Collection[str], two: Collection[str]) -> str:
    """Say how two sets of targets differ, for the text of an error."""
    first, second = sorted(set(one) - set(two)), sorted(set(two) - set(one))
    sides = ((one, first), (two, second))
    return " and ".join(
        f"{len(names)} layers ({', '.join(only[:2]) or 'none'}{', …' * (len(only) > 2)} only here)"
        for names, only in sides
    )


def _with_one_scale(items: Sequence[PerceptualWeights]) -> Sequence[PerceptualWeights]:
    """Check that the updates are for the same layers; bring them to one α / r, the rest into B."""
    for item in items[1:]:
        _check_same_layers(items[0], item)
    if all(item.scale == items[0].scale for item in items):
        return items
    return [
        replace(w, alpha=float(w.rank), B={target: B * w.scale for target, B in w.B.items()})
        for w in items
    ]


def _check_same_layers(one: PerceptualWeights, two: PerceptualWeights) -> None:
    if one.base_model != two.base_model:
        raise AdapterError(
            f"updates of different models do not combine: {one.base_model!r} and {two.base_model!r}"
        )
    if set(one.targets) != set(two.targets):
        raise AdapterError(
            f"updates of different layers do not combine: {unlike(one.targets, two.targets)}"
        )
    for target in one.targets:
        (in_1, out_1), (in_2, out_2) = (
            (w.A[target].shape[-1], w.B[target].shape[-2]) for w in (one, two)
        )
        if (in_1, out_1) != (in_2, out_2):
            raise AdapterError(
                f"updates of different sizes do not combine: {target} maps {in_1} to {out_1} "
                f"features in one, {in_2} to {out_2} in the other"
            )


def _same(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    """Tell whether both hold the same factors: the same tensors, or equal ones."""
    return all(
        one[t] is two[t] or (one[t].dtype == two[t].dtype and torch.equal(one[t], two[t]))
        for t in one
    )


def _joined(parts: Sequence[tuple[Mapping[str, Tensor], int]], *, dim: int) -> dict[str, Tensor]:
    """Concatenate per target; a shared factor is repeated where the samples beside it need it."""
    joined = {}
    for target in parts[0][0]:
        tensors = [(part[target], samples) for part, samples in parts]
        if dim == 0 or any(tensor.ndim == 3 for tensor, _ in tensors):
            tensors = [(t if t.ndim == 3 else t.expand(s, -1, -1), s) for t, s in tensors]
        joined[target] = torch.cat([tensor for tensor, _ in tensors], dim=dim)
    return joined
