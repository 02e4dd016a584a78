"""Training, between the gist's steps and the language model's: what tags start from, and who reads.

What is written where a thing is named in a question has to come to where the answer is written,
and a frozen language model carries next to nothing of it (docs/decisions/0006 and 0007). So the
tags of a video's parts start as directions at right angles to one another, which can be told apart,
and the static LoRA of the modules that read the residual stream starts by reading what tags differ
in: its B, still zero, has a gradient for the first answer on.

Dimensions: g gists, o features of the residual stream, r rank.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.perception import Perception

_SIZE = 0.1
"""Of a tag: what all slots write of it together is then a tenth of the stream or so."""
_SEED = 5


@torch.no_grad()
def start_of_tags(perception: Perception) -> dict[str, Tensor]:
    """Return what the tags of parts start from, and the static LoRA's A, where it reads them.

    Tags of a kind of module all lie along the same directions where its outputs are as wide as the
    residual stream is; a static target whose inputs are as wide reads them.

    Args:
        perception: With a binding.

    Returns:
        Parameters of the perception, by name.
    """
    binding = perception.binding
    if binding is None:
        raise ValueError("a perception without concepts has no tags")
    generator = torch.Generator().manual_seed(_SEED)
    found: dict[str, Tensor] = {}
    directions: dict[int, Tensor] = {}
    for kind, tag in binding.shared_tag.items():
        parts, width = tag.shape
        if width not in directions:
            directions[width] = _orthonormal(parts, width, generator)
        found[f"binding.shared_tag.{kind}"] = _SIZE * directions[width].to(tag)
    for name, A in perception.static_lora.A.items():
        rank, width = A.shape
        if width in directions:
            read = _differences(directions[width], rank)
            turned = _orthonormal(len(read), len(read), generator) @ read
            started = A.clone()
            started[: len(read)] = A.norm(dim=1).mean() * turned.to(A)
            found[f"static_lora.A.{name}"] = started
    return found


def _orthonormal(
    rows: int, columns: int, generator: torch.Generator
) -> Float[Tensor, "rows columns"]:
    """Draw unit vectors at right angles to one another, as far as there are so many."""
    drawn = torch.randn(columns, rows, generator=generator)
    if rows > columns:
        return torch.nn.functional.normalize(drawn.T, dim=1)
    return torch.linalg.qr(drawn)[0].T


def _differences(directions: Float[Tensor, "g o"], rank: int) -> Float[Tensor, "n o"]:
    """Return up to r unit vectors that span most of what sets the directions apart."""
    apart = directions - directions.mean(dim=0)
    _, sizes, found = torch.linalg.svd(apart, full_matrices=False)
    return found[: min(rank, int((sizes > 1e-4).sum()))]
