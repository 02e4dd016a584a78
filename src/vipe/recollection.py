"""Stage 5 of the flow, beside the binding: what was recognised in the frames, as outer products.

`vipe.binding` writes what parts of a video hold as far as the merged tokens tell. Of a long video
they tell little of what was seen once. What was recognised frame by frame (`vipe.recognition`) is
written besides, into the same associative memory, with an item for each concept that was seen:

- its key, with when it was seen first and last, and how often, as value: "is there a dog?",
  "when does the dog appear?", "how many times?";
- a key of what kind of thing it is and when it was seen, with the thing itself as value: "what
  animal is in the video?", "which animal comes first?". This key is a linear map of what is said of
  the concept, its name in the language model's own embeddings, so that what is alike is asked for
  alike, and holds for concepts that no question was about.

Both are zero at the start. B is a sum over the items.

Dimensions: b videos, k concepts, n of them that were seen, s slots, r rank, o output features of a
target, f features of when and how often, e those of what a concept is said by, j of `_SPANS`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vipe.binding import Binding
from vipe.clock import FEATURES, time_features
from vipe.recognition import Recognised

_LEAST = 0.05
"""Share of a frame below which nothing was seen."""
_COUNTS = 5
"""Numbers of times that are told apart; the last is so many or more."""
_SPANS = 3
"""What a key of a kind is made for: whenever it was seen, how late first, and how late last."""


class Recollection(nn.Module):
    """Recognised → what B holds of it, slot by slot; exactly zero at initialisation.

    Args:
        binding: Of the same perception, whose keys and values of concepts it uses.
    """

    def __init__(self, binding: Binding) -> None:
        super().__init__()
        sizes = {kind: said.shape[1] for kind, said in binding.said.items()}
        features = 2 * FEATURES + 2 + _COUNTS
        self.named = max(sizes, key=lambda kind: (sizes[kind], kind))
        slots, rank = binding.concept.shape[1:]
        # How surely a concept has to be seen to count: the slope and the offset of its log-odds.
        self.sure = nn.Parameter(torch.tensor([2.0, 0.0]))
        self.seen = nn.ParameterDict(
            {kind: nn.Parameter(torch.zeros(size)) for kind, size in sizes.items()}
        )
        self.when = nn.ParameterDict(
            {kind: nn.Parameter(torch.zeros(features, size)) for kind, size in sizes.items()}
        )
        self.kind = nn.Parameter(torch.zeros(sizes[self.named], _SPANS * slots * rank))

    def forward(
        self, recognised: Recognised, length: Float[Tensor, " b"], binding: Binding
    ) -> dict[int, Float[Tensor, "b o r"]]:
        """Return what to add to B, by slot."""
        slots, rank = binding.concept.shape[1:]
        which, held = self._held(recognised)
        first, last, times = (
            part.gather(1, which) for part in (recognised.first, recognised.last, recognised.times)
        )
        whole = length[:, None].clamp_min(1e-3)
        spans = torch.stack([torch.ones_like(first), first / whole, last / whole], dim=-1)
        counts = times.long().clamp(1, _COUNTS) - 1
        about = torch.cat(
            [
                time_features(first, whole),
                time_features(last, whole),
                spans[..., 1:],
                torch.nn.functional.one_hot(counts, _COUNTS).to(spans),
            ],
            dim=-1,
        )
        keys = held[..., None, None] * binding.concept[which]
        kinds = self._kinds(binding, which).unflatten(-1, (_SPANS, slots, rank))
        kinds = torch.einsum("bn,bnj,bnjsr->bnsr", held, spans.to(kinds), kinds)
        # Slots differ in how large their codes are.
        kinds = kinds * binding.concept.detach().square().mean(dim=0).sqrt()
        found: dict[int, Tensor] = {}
        for kind, places in binding.places.items():
            values = self.seen[kind] + about @ self.when[kind]
            said = binding.said[kind][which]
            part = torch.einsum("bnsr,bno->bsor", keys[:, :, places], values)
            part = part + torch.einsum("bnsr,bno->bsor", kinds[:, :, places], said)
            found |= dict(zip(places, part.unbind(1), strict=True))
        return found

    def _held(self, recognised: Recognised) -> tuple[Int[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Which concepts were seen in any video of the batch, and how much each counts."""
        share = recognised.share.float().clone()
        share[:, -1] = 0  # the concept of nothing
        count = share.shape[1]
        if not share.is_meta:  # where there are no numbers, all might have been seen
            count = int((share > _LEAST).sum(dim=1).amax().clamp_min(1))
        share, which = share.topk(count, dim=1)
        slope, offset = self.sure
        odds = torch.logit(share.clamp(1e-4, 1 - 1e-4))
        return which, torch.sigmoid(slope * odds + offset) * (share > _LEAST)

    def _kinds(self, binding: Binding, which: Int[Tensor, "b n"]) -> Float[Tensor, "b n x"]:
        """Keys of the kind of each concept, `(j, s, r)` flattened; of all at once where cheaper."""
        said = binding.said[self.named].detach()
        if which.numel() < len(said):
            return said[which] @ self.kind
        return (said @ self.kind)[which]

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A model folder of before has none of it."""
        for name, parameter in self.named_parameters():
            state.setdefault(prefix + name, parameter.detach().clone())
        super()._load_from_state_dict(state, prefix, *rest)
