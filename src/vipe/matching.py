"""Stage 3 of the flow, its step: bipartite soft matching, alike tokens become one.

After Bolya et al., "Token Merging: Your ViT But Faster", ICLR 2023, §3: every other token is a
source, each source is most like one of the targets between them, and the likest pairs merge.

Dimensions: b videos, m tokens, k of them, d numbers of an attribute.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vipe.visual_tokens import VisualTokens, flat_rows


def reduce_to(tokens: VisualTokens, count: int, *, by: str, locality: float = 0.0) -> VisualTokens:
    """Merge the most similar pairs until at most `count` tokens are left.

    Args:
        tokens: No padding among them.
        count: Tokens to be left, at least 1.
        by: How tokens are ordered before every other one becomes a source: "time" (then place)
            sets neighbours of a frame against one another, "place" (then time) the same place at
            different times.
        locality: Subtracted from the similarity of two tokens for each frame width between them.
    """
    while tokens.count > count:
        tokens = tokens.reorder(in_order(tokens.centre, by=by))
        tokens = _match(tokens, min(tokens.count - count, tokens.count // 2), locality)
    return tokens


def _match(tokens: VisualTokens, merges: int, locality: float) -> VisualTokens:
    """Merge `merges` sources (odd places) into the target (even places) each is most like."""
    source = _every_other(tokens, 1)
    target = _every_other(tokens, 0)
    with torch.no_grad():  # which pairs merge is a choice; gradients flow through what they become
        unit = torch.nn.functional.normalize
        similarity = unit(source.features, dim=-1) @ unit(target.features, dim=-1).transpose(1, 2)
        if locality:
            between = torch.cdist(source.centre[..., 1:], target.centre[..., 1:])
            similarity = similarity - locality * between
        best, partner = similarity.max(dim=-1)
        ranked = best.argsort(dim=-1, descending=True, stable=True)
        merged = ranked[:, :merges]
        kept = ranked[:, merges:].sort(dim=-1).values
    moved = source.take(merged)
    into = partner.gather(1, merged)
    size = target.size.scatter_add(1, into, moved.size)
    left = VisualTokens.join(
        source.take(kept),
        VisualTokens(
            features=_weighted(target, moved, into, "features") / size[..., None],
            size=size,
            centre=_weighted(target, moved, into, "centre") / size[..., None],
            duration=tokens.duration,
        ),
    )
    if tokens.assignment is None:
        return left
    goes = torch.empty_like(tokens.size, dtype=torch.long)  # where each token is now
    targets = kept.shape[1]  # the first of them: they come after the sources that are kept
    goes[:, 0::2] = torch.arange(targets, left.count, device=goes.device)
    places = torch.arange(targets, device=goes.device).expand_as(kept)
    goes[:, 1::2] = goes[:, 1::2].scatter(1, kept, places).scatter(1, merged, targets + into)
    return replace(left, assignment=goes.gather(1, tokens.assignment))


def _weighted(
    target: VisualTokens, moved: VisualTokens, into: Int[Tensor, "b k"], name: str
) -> Float[Tensor, "b m d"]:
    """Sum an attribute over each target and what is merged into it, weighted by size."""
    there = getattr(target, name) * target.size[..., None]
    extra = getattr(moved, name) * moved.size[..., None]
    rows = flat_rows(into, target.count).flatten()
    summed = there.flatten(0, 1).index_add(0, rows, extra.flatten(0, 1))
    return summed.unflatten(0, there.shape[:2])


def _every_other(tokens: VisualTokens, start: int) -> VisualTokens:
    return VisualTokens(
        features=tokens.features[:, start::2],
        size=tokens.size[:, start::2],
        centre=tokens.centre[:, start::2],
        duration=tokens.duration,
    )


def in_order(centre: Float[Tensor, "b m 3"], *, by: str) -> Int[Tensor, "b m"]:
    """Sort tokens by (second, y, x) or by (y, x, second), ties in the order they have."""
    columns = {"time": (2, 1, 0), "place": (0, 2, 1)}[by]  # the least important first
    order = torch.arange(centre.shape[1], device=centre.device).expand(centre.shape[:2])
    for column in columns:
        values = centre[..., column].gather(1, order)
        order = order.gather(1, values.argsort(dim=-1, stable=True))
    return order
