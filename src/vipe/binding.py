"""Stage 5 of the flow, beside the slots' heads: what is known of each part, as outer products.

A layer's update is an associative memory: `B A x` compares what the language model asks (its code
`A x`, r numbers) with keys, and writes the values of those that match. Here the gists of a video
and of its parts are the items of that memory, after fast weights (Schlag, Irie and Schmidhuber, "Linear
Transformers Are Secretly Fast Weight Programmers", ICML 2021, eq. 4) and what is known of how facts
lie in a language model (Meng et al., "Locating and Editing Factual Associations in GPT", NeurIPS
2022, §3.1):

- a key of what a part holds, with the part itself as value: "is there a dog?", "where is it?";
- the key of a part, with what it holds as value: "what is on the left?", "what comes last?";
- a key of what one part holds, with what another holds as value: "what follows the dog?".

A head that turns one vector into B has no products of two contents, and every layer would need its
own to hear names by its own code (docs/decisions/0006). B is still a sum over items, so adapters of
segments add.

Dimensions: b videos, s slots, g gists, d width, r rank, o output features of a target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Binding(nn.Module):
    """Gists → what B holds of them, slot by slot; exactly zero at initialisation.

    Args:
        outputs: o of each slot, in order.
        kinds: The kind of module of each slot; one map writes contents for all of a kind.
        width: d.
        rank: r.
        gists: g.
    """

    def __init__(
        self, outputs: Sequence[int], kinds: Sequence[str], *, width: int, rank: int, gists: int
    ) -> None:
        super().__init__()
        slots = len(outputs)
        self.places: Mapping[str, list[int]] = {
            kind: [place for place, other in enumerate(kinds) if other == kind]
            for kind in dict.fromkeys(kinds)
        }
        # What a slot's keys are of a content, of each part, and of the contents of other parts.
        self.content = nn.Parameter(torch.randn(slots, rank, width) * width**-0.5)
        self.part = nn.Parameter(torch.zeros(slots, gists, rank))
        self.across = nn.Parameter(torch.zeros(slots, gists, gists))
        # The values: of a part itself, and of what it holds.
        self.tag = nn.ParameterDict(
            {
                kind: nn.Parameter(torch.zeros(len(places), gists, outputs[places[0]]))
                for kind, places in self.places.items()
            }
        )
        self.gain = nn.Parameter(1.0 + torch.randn(slots, width))
        self.said = nn.ModuleDict(
            {
                kind: nn.Linear(width, outputs[places[0]], bias=False)
                for kind, places in self.places.items()
            }
        )

    def forward(self, gists: Float[Tensor, "b g d"]) -> dict[int, Float[Tensor, "b o r"]]:
        """Return what to add to B, by slot."""
        keys = torch.einsum("srd,bgd->bsgr", self.content, gists)
        asked = self.part + torch.einsum("sgh,bshr->bsgr", self.across, keys)
        held = torch.einsum("bsgr,bgd->bsrd", asked, gists) * self.gain[:, None]
        found: dict[int, Tensor] = {}
        for kind, places in self.places.items():
            tagged = torch.einsum("bsgr,sgo->bsor", keys[:, places], self.tag[kind])
            said = self.said[kind](held[:, places]).transpose(-1, -2)
            found |= dict(zip(places, (tagged + said).unbind(1), strict=True))
        return found
