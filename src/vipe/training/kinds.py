"""Training, where recollection comes in: what its kinds ask for, and are asked with.

A kind of question ("what animal …?") has to find, among hundreds of concepts, those that answer it,
and to match what the language model's layers ask with where such an answer is written. Both are
there before the first step: which things are animals the generator's table of pictures says, and by
one ridge regression on the names of things, in the language model's embeddings, also what is like
an animal; and the codes of a question can be read off it (as `vipe.training.keys` does for things).

Dimensions: q kinds, n things, e the embeddings' size, s slots, r rank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.perception import Perception
from vipe.recollection import KINDS, SEEN
from vipe.training.keys import matching_keys
from vipe.training.language import TrainingLanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WAYS: tuple[tuple[tuple[str, ...], tuple[float, ...]], ...] = (
    # How a group is asked for, and what counts: how surely, when first, when last, how often.
    (("What {} is in the video?", "What {} can you see in the video?"), (1.0, 0.0, 0.0, 0.0)),
    (("Which {} comes first?", "Which {} appears first?"), (1.0, -8.0, 0.0, 0.0)),
    (("Which {} comes last?", "Which {} appears last?"), (1.0, 0.0, 8.0, 0.0)),
)
_BEGUN = ("", "a")
"""How an answer begins where its name is still to come."""
_MEMBER, _NONE = 16.0, 7.0
"""Scores of what is of a group, and of nothing; what is not has none."""
_FEWEST = 9
"""Things of a group that is asked for."""
_SIZE = 0.1
"""Of a key, in units that match with 1."""
_SLACK = 1e-3


@torch.no_grad()
def start_of_kinds(
    perception: Perception,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    things: Sequence[str],
) -> dict[str, Tensor]:
    """Return what a recollection's kinds start from; those that no group needs stay as they are.

    Args:
        perception: With a recollection.
        language: The frozen language model.
        tokenizer: Its own.
        things: What the first concepts stand for.

    Returns:
        Parameters of the perception, by name.
    """
    recollection, binding = perception.recollection, perception.binding
    if recollection is None or binding is None:
        raise ValueError("a perception without recollection has no kinds")
    members = groups_of(things)
    groups = list(members)[: KINDS // len(_WAYS)]
    if not groups:
        return {}
    asks = _asked_for(binding.said[recollection.named][: len(things)], [members[g] for g in groups])
    wordings = [
        [(text.replace("{}", group), group, begun) for text in texts for begun in _BEGUN]
        for texts, _ in _WAYS
        for group in groups
    ]
    keys = matching_keys(perception, language, tokenizer, wordings)
    found = {
        name: recollection.get_parameter(name).detach().clone()
        for name in ("asks", "weighs", "none", "key")
    }
    count = len(wordings)
    found["asks"][:count] = asks.repeat(len(_WAYS), 1)
    weighs = torch.tensor([weights for _, weights in _WAYS]).reshape(-1, SEEN)
    found["weighs"][:count] = weighs.repeat_interleave(len(groups), dim=0)
    found["none"][:count] = _NONE
    units = binding.concept.square().mean(dim=0).sqrt().clamp_min(1e-6)
    found["key"][:count] = _SIZE * keys.to(units) / units
    return {f"recollection.{name}": value for name, value in found.items()}


def groups_of(things: Sequence[str]) -> dict[str, list[bool]]:
    """Return which things are of each of the larger groups of the generator's pictures."""
    from vipe.data.pictures import pictures

    of = {picture.phrase: picture.group for picture in pictures().values()}
    sizes = Counter(of[thing] for thing in things if thing in of)
    return {
        group: [of.get(thing) == group for thing in things]
        for group, size in sorted(sizes.items())
        if size >= _FEWEST
    }


def _asked_for(
    names: Float[Tensor, "n e"], members: Sequence[Sequence[bool]]
) -> Float[Tensor, "q e"]:
    """Return directions along which what is of a group, less what all share, has a score."""
    own = (names - names.mean(dim=0)).double()
    wanted = _MEMBER * torch.tensor(members, dtype=own.dtype)
    alike = own @ own.T
    alike += _SLACK * alike.diagonal().mean() * torch.eye(len(own), dtype=own.dtype)
    return (torch.linalg.solve(alike, wanted.T).T @ own).to(names)
