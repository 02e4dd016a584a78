"""Training, where recollection comes in: what its kinds ask for, and where they are asked.

A kind of question ("what animal …?") has to find, among hundreds of concepts, those that answer it,
and to be told apart from all else that is asked, where the name is to be said. Neither needs a step
of training. Which things are animals the generator's table of pictures says, and by one ridge
regression on the names of things, in the language model's embeddings, also what is like an animal.
And that the name of an animal is due is a linear function of what a late layer reads, found by
another ridge regression over rows of the run. The codes of a slot, eight numbers for all that it
is used for, do not tell kinds apart well enough (docs/decisions/0010): so kinds have rows of A of
their own, in some late layers.

Dimensions: q kinds, n things, e the embeddings' size, i a target's inputs, t tokens of answers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.kinds import Kinds
from vipe.training.asked import Answers, Ridge

_GROUPS = ("animal", "clothing", "food", "instrument", "object", "person", "tool", "vehicle")
_WHICH = {
    "any": (1.0, 0.0, 0.0, 0.0),
    "first": (3.0, -20.0, 0.0, 0.0),
    "last": (3.0, 0.0, 20.0, 0.0),
}
"""Which of a group is asked for, and how that weighs how surely, when and how often it was seen."""
_MEMBER, _NONE = 16.0, 7.0
"""Scores of what is of a group, and of nothing; what is not has none."""
_FEWEST = 8
"""Answers of a kind from which it is learned."""
_OWN, _OTHERS, _SLACK = 6000.0, 12_000.0, 3000.0
"""What a kind's tokens count, those of other kinds, and how small rows are kept."""
_SIZE = 7.5
"""How much all late layers together write of an answer, in a recollection's units."""
_ASKS_ELSE = re.compile(r"\b(after|before|colou?r|how|right|part)\b")
_VERBS = {"any": r"\b(video|see|shown)\b", "first": r"\bfirst\b", "last": r"\blast\b"}


class Kind(NamedTuple):
    """What a question asks for: the name of one of a group.

    Attributes:
        group: "animal".
        which: "any", "first" or "last".
    """

    group: str
    which: str


KINDS = tuple(Kind(group, which) for which in _WHICH for group in _GROUPS)


def kind_of(question: str) -> Kind | None:
    """Return which of which group a question asks for; None for another question."""
    text = question.lower()
    if not text.startswith(("what ", "which ")) or _ASKS_ELSE.search(text):
        return None
    group = next((word for word in text.split()[1:5] if word in _GROUPS), None)
    found = [which for which in reversed(_WHICH) if re.search(_VERBS[which], text)]
    return Kind(group, found[0]) if group and found else None


def groups_of(things: Sequence[str]) -> dict[str, list[bool]]:
    """Return which things are of each group, by the table of the generator's pictures."""
    from vipe.data.pictures import pictures

    of = {picture.phrase: picture.group for picture in pictures().values()}
    return {group: [of.get(thing) == group for thing in things] for group in _GROUPS}


@torch.no_grad()
def start_kinds(
    kinds: Kinds,
    answers: Answers,
    *,
    names: Float[Tensor, "n e"],
    things: Sequence[str],
    says: Mapping[str, Tensor],
    articles: Container[int],
) -> Counter[Kind]:
    """Let kinds start: what they ask for, where they are asked, and how much is written.

    Args:
        kinds: What starts.
        answers: Of rows in which kinds are asked for.
        names: What things are said by.
        things: What the first concepts stand for.
        says: What each layer says of concepts.
        articles: Tokens of answers that name nothing.

    Returns:
        From how many tokens of answers each kind was learned, of fewer than eight none; where
        there is no kind, nothing is written.
    """
    asked = torch.full((len(answers.said),), -1)
    for row, said in enumerate(answers.said):
        kind = kind_of(said.question)
        if kind is not None and said.token not in articles:
            asked[row] = KINDS.index(kind)
    often = [int((asked == number).sum()) for number in range(len(KINDS))]
    members = groups_of(things)
    chosen = [
        number
        for number, kind in enumerate(KINDS)
        if often[number] >= _FEWEST and any(members[kind.group])
    ][: len(kinds.asks)]
    kinds.size.zero_()
    for target, own in says.items() if chosen else ():
        kinds.said[target].copy_(own)
    for place, number in enumerate(chosen):
        kind = KINDS[number]
        kinds.asks[place] = _asked_for(names, members[kind.group])
        kinds.weighs[place] = torch.tensor(_WHICH[kind.which])
        kinds.none[place] = _NONE
        kinds.size[:, place] = _SIZE / len(kinds.rows)
    for target, x in answers.read.items() if chosen else ():
        ridge = Ridge(x, asked, weights=(_OWN, _OTHERS), slack=_SLACK)
        for place, number in enumerate(chosen):
            kinds.keys(target)[place] = ridge.rows(number, torch.ones(often[number], 1))[0]
    return Counter({KINDS[number]: often[number] for number in chosen})


def _asked_for(names: Float[Tensor, "n e"], members: Sequence[bool]) -> Float[Tensor, " e"]:
    """Return the direction along which what is of a group, less what all share, has a score."""
    own = (names - names.mean(dim=0)).double()
    wanted = _MEMBER * torch.tensor(members, dtype=own.dtype)
    alike = own @ own.T
    alike += 1e-3 * alike.diagonal().mean() * torch.eye(len(own), dtype=own.dtype)
    return (torch.linalg.solve(alike, wanted) @ own).to(names)
