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


def reduce_to(
    tokens: VisualTokens, count: int, *, by: str, locality: float = 0.0, steps: int = 0
) -> VisualTokens:
    """Merge the most similar pairs until at most `count` tokens are left.

    Args:
        tokens: No padding among them.
        count: Tokens to be left, at least 1.
        by: How tokens are ordered before every other one becomes a source: "time" (then place)
            sets neighbours of a frame against one another, "place" (then time) the same place at
            different times.
        locality: Subtracted from the similarity of two tokens for each frame width between them.
        steps: Of a similarity between 0 and 1: it is rounded to one of them, so that the noise of a
            codec does not choose between pairs that are alike. 0 for none.
    """
    while tokens.count > count:
        order = in_order(tokens.centre, by=by)
        merges = min(tokens.count - count, tokens.count // 2)
        tokens = _match(tokens, order, merges, locality, steps)
    return tokens


def _match(
    tokens: VisualTokens, order: Int[Tensor, "b m"], merges: int, locality: float, steps: int
) -> VisualTokens:
    """Merge `merges` sources (odd places of an order) into the target (even) each is most like.

    Of those that are as much alike, the first.
    """
    source, target = tokens.take(order[:, 1::2]), tokens.take(order[:, 0::2])
    with torch.no_grad():  # which pairs merge is a choice; gradients flow through what they become
        similarity = _cosine(source.features, target.features)
        if steps:
            similarity.mul_(steps).round_().div_(steps)
        if locality:
            between = torch.cdist(source.centre[..., 1:], target.centre[..., 1:])
            similarity.sub_(between, alpha=locality)
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
            features=_mean(target, moved, into, size, "features"),
            size=size,
            centre=_mean(target, moved, into, size, "centre"),
            duration=tokens.duration,
        ),
    )
    if tokens.assignment is None:
        return left
    goes = torch.empty_like(order)  # where each token is now
    targets = kept.shape[1]  # the first of them: they come after the sources that are kept
    goes[:, 0::2] = torch.arange(targets, left.count, device=goes.device)
    places = torch.arange(targets, device=goes.device).expand_as(kept)
    goes[:, 1::2] = goes[:, 1::2].scatter(1, kept, places).scatter(1, merged, targets + into)
    ordered = order.argsort(dim=1).gather(1, tokens.assignment)
    return replace(left, assignment=goes.gather(1, ordered))


def _cosine(a: Float[Tensor, "b k d"], b: Float[Tensor, "b m d"]) -> Float[Tensor, "b k m"]:
    """Return cosine similarities; the products are divided, which are fewer than the features."""
    length_a, length_b = (
        torch.linalg.vector_norm(x, dim=-1).clamp_min(torch.finfo(x.dtype).tiny) for x in (a, b)
    )
    return (a @ b.mT).div_(length_a[:, :, None]).div_(length_b[:, None])


def _mean(
    target: VisualTokens,
    moved: VisualTokens,
    into: Int[Tensor, "b k"],
    size: Float[Tensor, "b m"],
    name: str,
) -> Float[Tensor, "b m d"]:
    """Return an attribute's mean over each target and what moves into it, weighted by size."""
    summed = getattr(target, name) * target.size[..., None]
    extra = getattr(moved, name) * moved.size[..., None]
    rows = flat_rows(into, target.count).flatten()
    summed.flatten(0, 1).index_add_(0, rows, extra.flatten(0, 1))
    return summed.div_(size[..., None])


def in_order(centre: Float[Tensor, "b m 3"], *, by: str) -> Int[Tensor, "b m"]:
    """Sort tokens by (second, y, x) or by (y, x, second), ties in the order they have."""
    columns = {"time": (2, 1, 0), "place": (0, 2, 1)}[by]  # the least important first
    order = torch.arange(centre.shape[1], device=centre.device).expand(centre.shape[:2])
    for column in columns:
        values = centre[..., column].gather(1, order)
        order = order.gather(1, values.argsort(dim=-1, stable=True))
    return order
