"""Stage 5 of the flow, beside the binding: kinds of questions, and what answers them.

A kind ("what animal is in the video?") attends to the concepts that were seen: by what they are
called in the language model's own embeddings, so that what is alike is asked for alike, by how
surely, when and how often they were seen; or to none. Of hundreds of concepts so comes one answer,
where a sum over all of them would drown it (docs/decisions/0010). Names are said token by token, so
each layer has values of its own: the first of two tokens is due where the second is not
(docs/decisions/0015).

Dimensions: b videos, k concepts, n that were seen, q kinds, l late targets, i and o the features
that a target reads and writes, e features of what a concept is said by, a of how it was seen
(`ASPECTS`).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.binding import Binding
from vipe.seen import Seen
from vipe.static_lora import key_rows
from vipe.targets import kind_of

KINDS = 18
"""q, at most as many as are learned."""
ASPECTS = 4
"""a: what a kind asks beside what a thing is: how surely, when first, when last, how often."""

_SIZES = 20.0
"""What is written is learned in so large units."""


class Kinds(nn.Module):
    """Seen → the columns of B for kinds of questions; exactly zero at initialisation.

    Args:
        binding: Of the same perception: what it says of concepts is what they are asked for by.
        targets: (in, out) features of each late target, by its full name.
    """

    count = KINDS

    def __init__(self, binding: Binding, targets: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        sizes = {kind: said.shape[1] for kind, said in binding.said.items()}
        self.named = max(sizes, key=lambda kind: (sizes[kind], kind))
        # What each kind asks for, how it weighs how that was seen, and when it asks for nothing.
        self.asks = nn.Parameter(torch.randn(KINDS, sizes[self.named]))
        self.weighs = nn.Parameter(torch.tensor([1.0] + [0.0] * (ASPECTS - 1)).repeat(KINDS, 1))
        self.none = nn.Parameter(torch.zeros(KINDS))
        # Where each kind is asked, what each layer says of a concept there, and how much of it.
        self.rows = key_rows(KINDS, targets)
        self.said = nn.ParameterDict(
            {key: nn.Parameter(said.clone()) for key, said in self.start(binding).items()}
        )
        self.size = nn.Parameter(torch.zeros(len(targets), KINDS))

    def start(self, binding: Binding) -> dict[str, Float[Tensor, "k o"]]:
        """Return what layers say of concepts at the start: what the binding does."""
        return {key: binding.said[kind_of(key.replace("-", "."))].detach() for key in self.rows}

    def keys(self, target: str) -> Float[Tensor, "q i"]:
        """Return the rows of A that a late target has for kinds."""
        return self.rows[target.replace(".", "-")]

    def forward(
        self, seen: Seen, attention: Float[Tensor, "b q n"]
    ) -> dict[str, Float[Tensor, "b o q"]]:
        """Return the columns of B; of a video of few things, nothing."""
        found: dict[str, Tensor] = {}
        for place, key in enumerate(self.rows):
            target = key.replace("-", ".")
            answers = attention @ self.said[key][seen.which]
            sizes = _SIZES * seen.crowded[:, None] * self.size[place]
            found[target] = (answers * sizes[..., None]).mT
        return found

    def attention(self, seen: Seen, binding: Binding) -> Float[Tensor, "b q n"]:
        """How much of what was seen answers each kind; what is left of 1 goes to nothing."""
        names = binding.said[self.named].detach()
        alike = (names - _mean(names)) @ self.asks.T
        whole = seen.length[:, None].clamp_min(1e-3)
        often = seen.times.clamp_min(1).log()
        aspects = torch.stack([seen.odds, seen.first / whole, seen.last / whole, often], dim=-1)
        scores = alike[seen.which].transpose(1, 2)
        scores = scores + torch.einsum("bna,qa->bqn", aspects, self.weighs)
        scores = scores.float() + seen.there.log()[:, None]
        none = self.none.float()[None, :, None].expand(len(scores), -1, 1)
        return torch.cat([scores, none], dim=-1).softmax(dim=-1)[..., :-1]


def _mean(of_concepts: Float[Tensor, "k ..."]) -> Float[Tensor, ...]:
    """The mean over concepts that stand for something: what is alike for all of them.

    Of hundreds of concepts that were seen it would be all that is left.
    """
    used = of_concepts.detach()
    some = used.flatten(1).abs().amax(dim=1) > 0
    return used[some].mean(dim=0) if not used.is_meta and some.any() else used.mean(dim=0)
