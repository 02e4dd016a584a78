"""Stage 5 of the flow, beside the binding: what was recognised in the frames, as outer products.

`vipe.binding` writes what parts of a video hold as far as the merged tokens tell. Of a long video
they tell little of what was seen once. What was recognised frame by frame (`vipe.recognition`) is
written besides, into the same associative memory: for each of some *kinds* of questions ("what
animal …?") a key, with what answers it as value. A kind attends to the concepts that were seen: by
what they are called in the language model's own embeddings, so that what is alike is asked for
alike, by how surely, when and how often they were seen; or to none. Of hundreds of concepts so
comes one answer, where a sum over all of them would drown it (docs/decisions/0010).

Where much was seen, what the merged tokens tell counts less: they are of no one thing then.

Dimensions: b videos, k concepts, n of them that were seen, q kinds, s slots, r rank, o output
features of a target, e features of what a concept is said by, a of how it was seen (`SEEN`).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.binding import Binding
from vipe.recognition import Recognised

KINDS = 48
"""q, at most as many as are learned."""
SEEN = 4
"""a: what a kind asks beside what a thing is: how surely, when first, when last, how often."""

_LEAST = 0.05
"""Share of a frame below which nothing was seen."""
_SURE = 4.0
"""Log-odds beyond which nothing is surer."""
_FEW = 8.0
"""Concepts up to which merged tokens tell of all that was seen."""
_QUIETER = -0.7
"""How much less they count with each doubling beyond, before softplus."""


class Recollection(nn.Module):
    """Recognised → what B holds of it, slot by slot; exactly zero at initialisation.

    What was recognised is taken as it is: nothing here teaches to recognise.

    Args:
        binding: Of the same perception, whose values of concepts it uses.
    """

    def __init__(self, binding: Binding) -> None:
        super().__init__()
        sizes = {kind: said.shape[1] for kind, said in binding.said.items()}
        self.named = max(sizes, key=lambda kind: (sizes[kind], kind))
        slots, rank = binding.concept.shape[1:]
        # What each kind asks for, how it weighs how that was seen, and when it asks for nothing.
        self.asks = nn.Parameter(torch.randn(KINDS, sizes[self.named]))
        self.weighs = nn.Parameter(torch.tensor([1.0] + [0.0] * (SEEN - 1)).repeat(KINDS, 1))
        self.none = nn.Parameter(torch.zeros(KINDS))
        self.key = nn.Parameter(torch.zeros(KINDS, slots, rank))
        self.quieter = nn.Parameter(torch.tensor([_QUIETER]))

    def forward(
        self, recognised: Recognised, length: Float[Tensor, " b"], binding: Binding
    ) -> dict[int, Float[Tensor, "b o r"]]:
        """Return what to add to B, by slot."""
        which, odds, there = self._seen(recognised)
        first, last, times = (
            part.gather(1, which) for part in (recognised.first, recognised.last, recognised.times)
        )
        whole = length[:, None].clamp_min(1e-3)
        asked = torch.stack([odds, first / whole, last / whole, times.clamp_min(1).log()], dim=-1)
        attention = self._attention(which, asked, there, binding)
        found: dict[int, Tensor] = {}
        for kind, places in binding.places.items():
            answers = attention @ binding.said[kind][which]
            part = torch.einsum("qsr,bqo->bsor", self.key[:, places], answers)
            found |= dict(zip(places, part.unbind(1), strict=True))
        return found

    def trust(self, recognised: Recognised) -> Float[Tensor, " b"]:
        """Return how much what the merged tokens tell of each video counts: all of it in a clip.

        The more was seen, the less of it they hold, and what they tell is of no one thing.
        """
        _, odds, there = self._seen(recognised)
        crowd = (torch.sigmoid(2 * odds) * there).sum(dim=1)
        return 1 / (1 + F.softplus(self.quieter) * torch.log2((crowd / _FEW).clamp_min(1)))

    def _seen(
        self, recognised: Recognised
    ) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Which concepts were seen in any video of the batch, how surely, and whether in this."""
        share = recognised.share.float().clone()
        share[:, -1] = 0  # the concept of nothing
        count = share.shape[1]
        if not share.is_meta:  # where there are no numbers, all might have been seen
            count = int((share > _LEAST).sum(dim=1).amax().clamp_min(1))
        share, which = share.topk(count, dim=1)
        odds = torch.logit(share.clamp(1e-4, 1 - 1e-4)).clamp(-_SURE, _SURE)
        return which, odds, (share > _LEAST).to(odds)

    def _attention(
        self,
        which: Int[Tensor, "b n"],
        asked: Float[Tensor, "b n a"],
        there: Float[Tensor, "b n"],
        binding: Binding,
    ) -> Float[Tensor, "b q n"]:
        """How much of what was seen answers each kind; what is left of 1 goes to nothing."""
        names = binding.said[self.named].detach()
        alike = (names - _mean(names)) @ self.asks.T
        scores = alike[which].transpose(1, 2) + torch.einsum("bna,qa->bqn", asked, self.weighs)
        scores = scores.float() + there.log()[:, None]
        none = self.none.float()[None, :, None].expand(len(scores), -1, 1)
        return torch.cat([scores, none], dim=-1).softmax(dim=-1)[..., :-1]

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A model folder of before has none of it."""
        for name, parameter in self.named_parameters():
            state.setdefault(prefix + name, parameter.detach().clone())
        super()._load_from_state_dict(state, prefix, *rest)


def _mean(of_concepts: Float[Tensor, "k ..."]) -> Float[Tensor, ...]:
    """The mean over concepts that stand for something: what is alike for all of them.

    Of hundreds of concepts that were seen it would be all that is left.
    """
    used = of_concepts.detach()
    some = used.flatten(1).abs().amax(dim=1) > 0
    return used[some].mean(dim=0) if not used.is_meta and some.any() else used.mean(dim=0)
