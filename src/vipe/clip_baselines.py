"""Beside stage 3: two plain ways to leave fewer tokens of a clip, to compare the merge with.

Both leave as many tokens as the merge would, or the next fewer that they can: a frame, or the grid
of a frame, is left whole. `trace` is that of `HierarchicalMerge`.

Dimensions: b videos, t frames, n patches of a frame, c channels, m tokens.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.visual_tokens import VisualTokens


def keep_frames(
    features: Float[Tensor, "b t n c"],
    position: Float[Tensor, "b t n 3"],
    duration: Float[Tensor, " b"],
    count: int,
    *,
    trace: bool = False,
) -> VisualTokens:
    """Keep the middle frame of each of equal parts, with all its patches; at least one frame.

    Each patch of it stands for those at its place in the other frames of the part, so that sizes
    sum as the merge's do; what they show is lost.
    """
    t, n = features.shape[1:3]
    kept = max(1, min(t, count // n))
    part = torch.arange(t) * kept // t
    lengths = torch.bincount(part)
    frames = (lengths.cumsum(0) - lengths + lengths // 2).to(features.device)
    size = lengths.to(features)
    stands_for = (part[:, None] * n + torch.arange(n)).flatten().to(features.device)
    return VisualTokens(
        features=features[:, frames].flatten(1, 2),
        size=size[None, :, None].expand(len(features), kept, n).flatten(1),
        centre=position[:, frames].flatten(1, 2),
        duration=duration,
        assignment=stands_for.repeat(len(features), 1) if trace else None,
    )


def pool_places(
    features: Float[Tensor, "b t n c"],
    position: Float[Tensor, "b t n 3"],
    duration: Float[Tensor, " b"],
    count: int,
    *,
    trace: bool = False,
) -> VisualTokens:
    """Average each frame's patches over a coarser grid, all frames over the same.

    The grid has the most cells that leave at most `count` tokens, the squarest of those; where not
    even one cell a frame is left, frames are averaged with their neighbours as well.
    """
    b, t = features.shape[:2]
    rows, columns = _grid(position[0, 0])
    down, across = _cells(count // t, rows, columns)
    y = torch.arange(rows).repeat_interleave(columns) * down // rows
    x = torch.arange(columns).repeat(rows) * across // columns
    moments = max(1, min(t, count))
    when = torch.arange(t) * moments // t
    cell = (when[:, None] * (down * across) + y * across + x).flatten().to(features.device)
    size = torch.bincount(cell, minlength=moments * down * across).to(features)

    def mean(values: Float[Tensor, "b t n d"]) -> Float[Tensor, "b m d"]:
        summed = values.new_zeros(b, len(size), values.shape[-1])
        return summed.index_add(1, cell, values.flatten(1, 2)) / size[:, None]

    return VisualTokens(
        features=mean(features),
        size=size.expand(b, -1),
        centre=mean(position),
        duration=duration,
        assignment=cell.repeat(b, 1) if trace else None,
    )


def _grid(position: Float[Tensor, "n 3"]) -> tuple[int, int]:
    """Rows and columns of a frame's patches, which come row by row."""
    rows = len(position[:, 1].unique())
    return rows, len(position) // rows


def _cells(count: int, rows: int, columns: int) -> tuple[int, int]:
    """The most cells that are at most `count`, the squarest grid of those."""
    grids = [
        (down, across)
        for down in range(1, rows + 1)
        for across in range(1, columns + 1)
        if down * across <= max(1, count)
    ]
    return max(grids, key=lambda grid: (grid[0] * grid[1], -abs(grid[0] - grid[1])))
