"""Training, where recollection comes in: what its kinds ask for, and where they are asked.

A kind of question ("what animal …?") has to find, among hundreds of concepts, those that answer it,
and to be told apart from all else that is asked, where the name is to be said. Neither needs a step
of training. Which things are animals the generator's table of pictures says, and by one ridge
regression on the names of things, in the language model's embeddings, also what is like an animal.
And that the name of an animal is due is a linear function of what a late layer reads, found by
another ridge regression over rows of the run. The codes of a slot, eight numbers for all that it is
used for, do not tell kinds apart well enough (docs/decisions/0010): so a few late slots are given
over to kinds, with rows of A of their own, and write nothing else.

Dimensions: q kinds, n things, e the embeddings' size, i a target's inputs, t tokens of answers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.perception import Perception
from vipe.training.packing import IGNORE

if TYPE_CHECKING:
    from vipe.training.batches import Batch
    from vipe.training.methods import WritesWeights
    from vipe.training.run import Run

_GROUPS = ("animal", "clothing", "food", "instrument", "object", "person", "tool", "vehicle")
_LATE = (21, 22, 23, 24)
"""Of thirty layers, those whose last slot is given over; in proportion of others."""
_OF = 30
_BATCHES = 24
_MEMBER, _NONE = 16.0, 7.0
"""Scores of what is of a group, and of nothing; what is not has none."""
_FEWEST = 8
"""Answers of a kind from which it is learned."""
_OWN, _OTHERS, _SLACK = 1000.0, 3000.0, 3000.0
"""What a kind's tokens count, those of other kinds, and how small rows are kept."""
_SIZE = 37.5
"""How much a slot writes of an answer."""
_ASKS_ELSE = re.compile(r"\b(after|before|colou?r|how|right|first|last)\b")


def kind_of(question: str, groups: Sequence[str] = _GROUPS) -> int | None:
    """Return which group's name a question asks for, by its number; None for another question."""
    text = question.lower()
    if not text.startswith(("what ", "which ")) or _ASKS_ELSE.search(text):
        return None
    words = text.split()[1:5]
    found = [number for number, group in enumerate(groups) if group in words]
    return found[0] if found and re.search(r"\b(video|see|shown)\b", text) else None


def groups_of(things: Sequence[str]) -> list[list[bool]]:
    """Return which things are of each group, by the table of the generator's pictures."""
    from vipe.data.pictures import pictures

    of = {picture.phrase: picture.group for picture in pictures().values()}
    return [[of.get(thing) == group for thing in things] for group in _GROUPS]


def given_over(perception: Perception) -> list[int]:
    """Return the slots that kinds have: the last ones of some late layers."""
    numbers = [
        next(int(part) for part in target.split(".") if part.isdigit())
        for target in perception.targets
    ]
    layers = 1 + max(numbers)
    late = {round(layer * layers / _OF) for layer in _LATE}
    return [max(s for s, n in enumerate(numbers) if n == layer) for layer in late & set(numbers)]


@torch.no_grad()
def give_over(run: Run, method: WritesWeights) -> Counter[str]:
    """Give some slots over to kinds, and let them start; what they wrote before is gone.

    Args:
        run: Has rows in which kinds are asked for.
        method: Its method, of a perception with recollection and a static A.

    Returns:
        From how many tokens of answers each group was learned, of fewer than eight none; where
        there is no group, nothing is given over.
    """
    perception, things = method.module.perception, method.things.names
    recollection, binding = perception.recollection, perception.binding
    if recollection is None or binding is None:
        raise ValueError("a perception without recollection has no kinds")
    slots = sorted(given_over(perception))
    names = list(perception.targets)
    read, asked = _answers(run, method, [names[slot] for slot in slots])
    often = asked.sum(dim=0)
    members = groups_of(things)
    kinds = [g for g in range(len(_GROUPS)) if often[g] >= _FEWEST and any(members[g])]
    kinds = kinds[: perception.config.rank]
    if not kinds:
        return Counter()
    said = binding.said[recollection.named][: len(things)]
    recollection.key.zero_()
    for place, group in enumerate(kinds):
        recollection.asks[place] = _asked_for(said, members[group])
        recollection.weighs[place] = torch.tensor([1.0, 0.0, 0.0, 0.0])
        recollection.none[place] = _NONE
        recollection.key[place, slots, place] = _SIZE
    for slot, x in zip(slots, read, strict=True):
        rows = torch.zeros_like(perception.static[names[slot].replace(".", "-")])
        rows[: len(kinds)] = _rows(x, asked[:, kinds]).to(rows)
        perception.static[names[slot].replace(".", "-")].copy_(rows)
        _silence(perception, slot)
    return Counter({_GROUPS[group]: int(often[group]) for group in kinds})


def _answers(
    run: Run, method: WritesWeights, targets: Sequence[str]
) -> tuple[list[Float[Tensor, "t i"]], Float[Tensor, "t g"]]:
    """What targets read where each token of an answer is said, and which group it names."""
    tokenizer: Any = run.train.packer.tokenizer
    articles = {tokenizer(text, add_special_tokens=False).input_ids[0] for text in ("a", "an")}
    last = tokenizer.eos_token_id
    read: list[list[Tensor]] = [[] for _ in targets]
    asked: list[Tensor] = []
    method.eval()
    for step in range(_BATCHES):
        batch = run.train[step]
        for found, inputs in zip(read, method.reads(batch, targets), strict=True):
            found.append(inputs.half())
        asked.append(_named(batch, {*articles, last}))
    return [torch.cat(found) for found in read], torch.cat(asked)


def _named(batch: Batch, but: set[int]) -> Float[Tensor, "t g"]:
    rows = batch.rows
    row, column = (rows.labels != IGNORE).nonzero(as_tuple=True)
    found = torch.zeros(len(row), len(_GROUPS))
    for token, (at, place) in enumerate(zip(row.tolist(), column.tolist(), strict=True)):
        turn = int(rows.turn[at, place])
        kind = kind_of(rows.turns[at][turn - 1].question)
        if kind is not None and int(rows.labels[at, place]) not in but:
            found[token, kind] = 1.0
    return found


def _rows(x: Float[Tensor, "t i"], asked: Float[Tensor, "t q"]) -> Float[Tensor, "q i"]:
    """Rows that are 1 where a kind's answer is said and 0 elsewhere, as nearly as they can be."""
    unit = x.double()
    spread = unit.square().mean(dim=0).sqrt().clamp_min(1e-6)
    unit = unit / spread
    every = unit.T @ unit + _SLACK * torch.eye(unit.shape[1], dtype=unit.dtype)
    of_any = asked.any(dim=1)
    found = []
    for column in asked.T:
        own, others = column > 0, of_any & (column == 0)
        weighted = [
            (part, weight / max(1, int(part.sum())))
            for part, weight in ((own, _OWN), (others, _OTHERS))
        ]
        moments = every + sum(w * unit[part].T @ unit[part] for part, w in weighted)
        found.append(torch.linalg.solve(moments, weighted[0][1] * unit[own].sum(dim=0)))
    return torch.stack(found) / spread


def _silence(perception: Perception, slot: int) -> None:
    """Let a slot write nothing by itself: its A reads something else now."""
    binding, heads = perception.binding, perception.heads_B
    assert binding is not None
    assert heads is not None
    target = list(perception.targets)[slot]
    kind = next(kind for kind, places in binding.places.items() if slot in places)
    width = perception.config.width
    own = slice(slot * width, (slot + 1) * width)
    perception.norm.norm.weight[own] = 0
    perception.norm.norm.bias[own] = 0
    binding.concept[:, slot] = 0
    binding.part[slot] = 0
    bias: Any = heads[kind].bias
    shift = perception.shift[f"B-{target.replace('.', '-')}"]
    shift.copy_(-bias.view_as(shift))


def _asked_for(names: Float[Tensor, "n e"], members: Sequence[bool]) -> Float[Tensor, " e"]:
    """Return the direction along which what is of a group, less what all share, has a score."""
    own = (names - names.mean(dim=0)).double()
    wanted = _MEMBER * torch.tensor(members, dtype=own.dtype)
    alike = own @ own.T
    alike += 1e-3 * alike.diagonal().mean() * torch.eye(len(own), dtype=own.dtype)
    return (torch.linalg.solve(alike, wanted) @ own).to(names)
