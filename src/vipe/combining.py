"""Stage 6 of the flow, PerceptualWeights: putting several into a batch, or into a sum.

With a factor that all videos share (A, by default), ΔW = (α / r) · B A is linear in the other one,
so that sums do not grow in rank; whatever is shared is looked for and kept shared. Where it is
known what of B is alike for all videos of a model, S, what is added and scaled is B - S, what the
video decided: S is in every result once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
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
    keep = all(item.tokens for item in items)
    return replace(
        first,
        A=first.A if share_A else _joined([(item.A, len(item)) for item in items], dim=0),
        B=first.B if share_B else _joined([(item.B, len(item)) for item in items], dim=0),
        metadata={key: note for key, note in first.metadata.items() if (key, note) in agreed},
        static=static_of(items) if share_A else None,
        tokens=tuple(kept for item in items for kept in item.tokens) if keep else (),
        writer=first.writer if keep and len({id(item.writer) for item in items}) == 1 else None,
    )


def add(one: PerceptualWeights, two: PerceptualWeights) -> PerceptualWeights:
    """Return the update whose ΔW is the sum of both; see `PerceptualWeights.__add__`."""
    if len(one) != len(two) and one.is_batched and two.is_batched:
        raise ValueError(f"updates of {len(one)} and of {len(two)} videos do not add")
    if one.static and two.static:
        check_one_model([one, two])
    one, two = _with_one_scale([one, two])
    static = static_of([one, two])
    notes = dict(one.metadata)
    for key, note in two.metadata.items():
        notes[key] = note if notes.get(key, note) == note else f"{notes[key]}; {note}"
    # What was seen of each is no longer what the sum was made of.
    one = replace(one, static=static, tokens=(), writer=None)
    if static is not None:
        B = {t: one.B[t] + (two.B[t] - static[t]) for t in one.targets}
        return replace(one, B=B, metadata=notes)
    if _same(one.A, two.A):
        return replace(one, B={t: one.B[t] + two.B[t] for t in one.targets}, metadata=notes)
    if _same(one.B, two.B):
        return replace(one, A={t: one.A[t] + two.A[t] for t in one.targets}, metadata=notes)
    samples = max(len(one), len(two))
    A = _joined([(one.A, samples), (two.A, samples)], dim=-2)
    B = _joined([(one.B, samples), (two.B, samples)], dim=-1)
    rank = max(factor.shape[-2] for factor in A.values())
    return replace(one, A=A, B=B, alpha=one.scale * rank, metadata=notes)


def scale(one: PerceptualWeights, factor: float | int) -> PerceptualWeights:
    """Scale ΔW, or where it is known what is alike for all videos, what the video decided of it."""
    one = replace(one, tokens=(), writer=None)
    if one.static is None:
        return replace(one, alpha=one.alpha * factor)
    S = one.static
    return replace(one, B={t: S[t] + factor * (B - S[t]) for t, B in one.B.items()})


def mix(videos: PerceptualWeights, by: Float[Tensor, "n s"]) -> PerceptualWeights:
    """Return S + Σ wᵢ (Bᵢ - S) of a batch of updates, n times.

    Args:
        videos: Of one model: they share A.
        by: wᵢ of each result. Where they sum to 1, S need not be known: it cancels.
    """
    B = {}
    for target, own in videos.B.items():
        alike = 0.0 if videos.static is None else videos.static[target]
        rows = (own - alike).flatten(1)
        B[target] = alike + (by.to(rows) @ rows).unflatten(1, own.shape[1:])
    return replace(videos, B=B, tokens=(), writer=None)


def static_of(items: Sequence[PerceptualWeights]) -> Mapping[str, Tensor] | None:
    """Return what of B is alike for all videos, if any of some updates with the same A knows it."""
    known = next((item for item in items if item.static is not None), None)
    if known is None or not all(_same(item.A, known.A) for item in items):
        return None
    return known.static


def check_one_model(items: Sequence[PerceptualWeights]) -> None:
    """Check that one model made the updates, so that what they share is the same.

    Raises:
        AdapterError: They differ in the language model, the layers, rank, α, A, or what is alike
            for all videos.
    """
    first = items[0]
    for item in items[1:]:
        _check_same_layers(first, item)
        for name in ("rank", "alpha"):
            if getattr(first, name) != getattr(item, name):
                raise AdapterError(
                    f"not of the same model: {name} is {getattr(first, name)} in one update and "
                    f"{getattr(item, name)} in another"
                )
        for name, ours, theirs in (
            ("A", first.A, item.A),
            ("the static part of B", first.static, item.static),
        ):
            if ours and theirs and (target := _differing(ours, theirs)):
                raise AdapterError(f"not of the same model: {name} of {target} differs")


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

    def scaled(w: PerceptualWeights) -> PerceptualWeights:
        B, static = (
            {t: part * w.scale for t, part in (of or {}).items()} for of in (w.B, w.static)
        )
        return replace(w, alpha=float(w.rank), B=B, static=static or None)

    return [scaled(w) for w in items]


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
    return _differing(one, two) is None


def _differing(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> str | None:
    """Name the first target whose tensors differ."""
    for t in one:
        if one[t] is not two[t] and not (
            one[t].dtype == two[t].dtype and torch.equal(one[t], two[t])
        ):
            return t
    return None


def _joined(parts: Sequence[tuple[Mapping[str, Tensor], int]], *, dim: int) -> dict[str, Tensor]:
    """Concatenate per target; a shared factor is repeated where the samples beside it need it."""
    joined = {}
    for target in parts[0][0]:
        tensors = [(part[target], samples) for part, samples in parts]
        if dim == 0 or any(tensor.ndim == 3 for tensor, _ in tensors):
            tensors = [(t if t.ndim == 3 else t.expand(s, -1, -1), s) for t, s in tensors]
        joined[target] = torch.cat([tensor for tensor, _ in tensors], dim=dim)
    return joined
