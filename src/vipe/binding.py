"""Stage 5 of the flow, beside the slots' heads: what is known of each part, as outer products.

A layer's update is an associative memory: `B A x` compares what the language model asks (its code
`A x`, r numbers) with keys, and writes the values of those that match. Here the gists of a video
and of its parts are the items of that memory, after fast weights (Schlag, Irie and Schmidhuber,
"Linear Transformers Are Secretly Fast Weight Programmers", ICML 2021, eq. 4) and what is known of
how facts lie in a language model (Meng et al., "Locating and Editing Factual Associations in GPT",
NeurIPS 2022, §3.1):

- a key of what a part holds, with the part itself as value: "is there a dog?", "where is it?";
- the key of a part, with what it holds as value: "what is on the left?", "what comes last?";
- a key of what one part holds, with what another holds as value: "what follows the dog?".

What a part holds is a distribution over concepts: a sum of keys of unsure contents would match
everything a little, and what matches is only heard where the rest does not (docs/decisions/0006).
B is still a sum over items, so adapters of segments add.

Dimensions: b videos, s slots, g gists, d width, k concepts, r rank, o output features of a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.clock import FromTime
from vipe.layers import linear

_PARTS = 8.0
"""Keys of parts are learned in so large units that they grow as fast as what the heads write."""


class Binding(nn.Module):
    """Gists → what B holds of them, slot by slot; exactly zero at initialisation.

    Args:
        outputs: o of each slot, in order.
        kinds: The kind of module of each slot.
        width: d.
        rank: r.
        gists: g.
        concepts: k.
        clock: Whether tags say the second of a part, too.
    """

    def __init__(
        self,
        outputs: Sequence[int],
        kinds: Sequence[str],
        *,
        width: int,
        rank: int,
        gists: int,
        concepts: int,
        clock: bool = False,
    ) -> None:
        super().__init__()
        slots = len(outputs)
        self.places: Mapping[str, list[int]] = {
            kind: [place for place, other in enumerate(kinds) if other == kind]
            for kind in dict.fromkeys(kinds)
        }
        sizes = {kind: outputs[places[0]] for kind, places in self.places.items()}
        self.recognise = nn.Sequential(linear(width, width), nn.GELU(), linear(width, concepts))
        # What a slot's keys are of a concept, of each part, and of what other parts hold.
        self.concept = nn.Parameter(torch.randn(concepts, slots, rank))
        self.part = nn.Parameter(torch.zeros(slots, gists, rank))
        self.across = nn.Parameter(torch.zeros(gists, gists))
        # The values: of a part itself, and of a concept. Layers write into one residual stream,
        # so they share them; what a tag says is so learned from all layers at once.
        self.shared_tag = nn.ParameterDict(
            {kind: nn.Parameter(torch.zeros(gists, size)) for kind, size in sizes.items()}
        )
        self.tag = nn.ParameterDict(
            {
                kind: nn.Parameter(torch.zeros(len(places), gists, sizes[kind]))
                for kind, places in self.places.items()
            }
        )
        # A tag of a moment says which of the moments it is, and this at which second.
        self.second = (
            nn.ModuleDict({kind: FromTime(size) for kind, size in sizes.items()}) if clock else None
        )
        self.said = nn.ParameterDict(
            {
                kind: nn.Parameter(torch.randn(concepts, size) * size**-0.5)
                for kind, size in sizes.items()
            }
        )

    def forward(
        self, gists: Float[Tensor, "b g d"], times: Float[Tensor, "b g f"] | None = None
    ) -> dict[int, Float[Tensor, "b o r"]]:
        """Return what to add to B, by slot."""
        held = self.concepts(gists)
        keys = torch.einsum("bgk,ksr->bsgr", held, self.concept)
        # Slots differ in how large their codes are: parts are in units of their keys of concepts.
        units = _PARTS * self.concept.detach().square().mean(dim=0).sqrt()
        asked = self.part * units[:, None] + torch.einsum("gh,bshr->bsgr", self.across, keys)
        found: dict[int, Tensor] = {}
        for kind, places in self.places.items():
            tags = self.shared_tag[kind] + self.tag[kind]
            tagged = torch.einsum("bsgr,sgo->bsor", keys[:, places], tags)
            if self.second is not None and times is not None:
                seconds = self.second[kind](times)
                tagged = tagged + torch.einsum("bsgr,bgo->bsor", keys[:, places], seconds)
            said = torch.einsum("bsgr,bgo->bsor", asked[:, places], held @ self.said[kind])
            found |= dict(zip(places, (tagged + said).unbind(1), strict=True))
        return found

    def concepts(self, gists: Float[Tensor, "... d"]) -> Float[Tensor, "... k"]:
        """Return what each part holds, as shares that sum to 1."""
        return self.recognise(gists).float().softmax(dim=-1)
