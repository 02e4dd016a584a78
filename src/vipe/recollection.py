"""Stage 5 of the flow, beside the binding: what was recognised in the frames, as outer products.

`vipe.binding` writes what parts of a video hold as far as the merged tokens tell. Of a long video
they tell little of what was seen once, and of any when it was. What was recognised frame by frame
(`vipe.recognition`) is written besides, into the same associative memory, with keys that are rows
of A of their own in some late layers, where the rank is larger for them: what is due, the name of
an animal, the first digit of the second in which the dog appears, is a direction of what these
layers read (docs/decisions/0010).

- `vipe.kinds`: a kind of question ("what animal …?"), with what answers it as value;
- `vipe.seconds`: a thing, with when it was seen as value.

A clip of a few things is told by its merged tokens alone: nothing of this is written. The more was
seen, the more of it is, and the less what the merged tokens tell counts: they are of no one thing.

Dimensions: b videos, k concepts, n of them that were seen, q keys, i and o the features that a
target reads and writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.binding import Binding
from vipe.kinds import Kinds
from vipe.seconds import Seconds
from vipe.seen import Seen
from vipe.targets import kind_of

_LATE = (16, 18, 20, 22, 24, 26, 28)
_OF = 30
"""Of so many layers, those that have rows of A for this; in proportion of others."""
_QUIETER = -0.7
"""How much less merged tokens count with each doubling of what was seen, before softplus."""


class Recollection(nn.Module):
    """Seen → what B holds of it; exactly zero at initialisation.

    Args:
        binding: Of the same perception, whose values of concepts it starts from.
        targets: (in, out) features of each slot, by its full name, in order.

    Attributes:
        late: The targets that have rows for it.
        sight: The gist of a single frame → logits of what it holds. It starts as what says that of
            a video's parts, which have more frames and other mistakes.
    """

    def __init__(self, binding: Binding, targets: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.late = late(list(targets))
        own = {target: targets[target] for target in self.late}
        self.sight = deepcopy(binding.recognise)
        self.kinds = Kinds(binding, own)
        self.seconds = Seconds(own, concepts=binding.concept.shape[0])
        self.quieter = nn.Parameter(torch.tensor([_QUIETER]))

    @property
    def rank(self) -> int:
        """q, by how much the rank of a late target is larger."""
        return sum(part.count for part in (self.kinds, self.seconds))

    def keys(self) -> dict[str, Float[Tensor, "q i"]]:
        """Return the rows of A that each late target has for it."""
        return {
            target: torch.cat([part.keys(target) for part in (self.kinds, self.seconds)])
            for target in self.late
        }

    def of_binding(self) -> dict[str, str]:
        """Return the names of what starts as a part of the binding is, each with that part's."""
        sight = {f"sight.{name}": f"recognise.{name}" for name, _ in self.sight.named_parameters()}
        said = {
            f"kinds.said.{key}": f"said.{kind_of(key.replace('-', '.'))}" for key in self.kinds.said
        }
        return sight | said

    def forward(self, seen: Seen, binding: Binding) -> dict[str, Float[Tensor, "b o q"]]:
        """Return the columns of B that late targets have for it."""
        attention = self.kinds.attention(seen, binding)
        kinds = self.kinds(seen, attention)
        seconds = self.seconds(seen, attention)
        return {target: torch.cat([kinds[target], seconds[target]], dim=-1) for target in self.late}

    def beside(self, B: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return B of the late targets with these columns beside; of none, zeros."""
        return {
            target: torch.cat([B[target], own[target].to(B[target])], dim=-1)
            if target in own
            else F.pad(B[target], (0, self.rank))
            for target in self.late
        }

    def trust(self, seen: Seen) -> Float[Tensor, " b"]:
        """Return how much what the merged tokens tell of each video counts: all of it in a clip.

        The more was seen, the less of it they hold, and what they tell is of no one thing.
        """
        return 1 / (1 + F.softplus(self.quieter) * seen.doublings.clamp_min(0))

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A model folder of before has none of it."""
        for name, parameter in self.named_parameters():
            state.setdefault(prefix + name, parameter.detach().clone())
        super()._load_from_state_dict(state, prefix, *rest)


def late(targets: Sequence[str]) -> list[str]:
    """Return the targets that have rows for it: the last ones of some late layers."""
    numbers = [
        next(int(part) for part in target.split(".") if part.isdigit()) for target in targets
    ]
    layers = 1 + max(numbers)
    wanted = {round(layer * layers / _OF) for layer in _LATE}
    last = dict(zip(numbers, targets, strict=True))
    return [last[layer] for layer in sorted(wanted & set(numbers))]
