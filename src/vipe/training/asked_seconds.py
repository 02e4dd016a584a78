"""Training, where recollection comes in: where which second of which thing is due.

That the first character of when the dog appears is due, is for all things together a linear
function of what a late layer reads; rows of A give a code of the thing that is asked for there, and
nothing elsewhere. They are found by ridge regressions to which thing it is, of which the directions
are kept that tell most things apart (reduced rank regression: Izenman, Journal of Multivariate
Analysis, 1975).

Dimensions: t tokens of answers, n things, d numbers of a code, e the embeddings' size, i a target's
inputs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vipe.clock import NOTHING, POINT, SIGNS
from vipe.data.scene_wordings import bare
from vipe.seconds import CODE, LENGTHS, Role, Seconds
from vipe.training.asked import Answers, Ridge

_OWN, _OTHERS, _SLACK = 20_000.0, 20_000.0, 3000.0
"""What the tokens of a role count, those of other roles, and how small rows are kept."""
_SIZE = 4.0
"""How much all late layers together write of a character, in units of `vipe.seconds`."""
_FEWEST = 50
"""Tokens of a role from which it is learned."""
_SURE = 4.0
"""Tokens of a thing from which its code is more its own than what its name lets expect."""

_DUE = re.compile(r"(?:|.* )(?P<number>[\d.]*)", re.DOTALL)
_LENGTH = re.compile(r"\bhow long is the video\b|\bseconds does the video last\b")
_FROM_TO = re.compile(r"^from when to when\b|^when (?:is|are) .* shown\b")
_END = re.compile(r"\b(?:disappear|gone)\b")
_START = re.compile(r"\bappear\b")


def role_of(question: str, before: str) -> Role | None:
    """Return what is due in an answer: "start", "end" or "length", and which character.

    Args:
        question: What is asked.
        before: The answer so far: "from 3 to 1".
    """
    due = _DUE.fullmatch(before)
    if due is None:
        return None
    text, place = question.lower(), len(due["number"])
    if _LENGTH.search(text):
        return Role("length", place)
    if before == due["number"]:  # "at" is, or "from"
        return None
    if _FROM_TO.search(text):
        return Role("end" if " to " in before else "start", place)
    if _END.search(text):
        return Role("end", place)
    return Role("start", place) if _START.search(text) else None


@torch.no_grad()
def start_seconds(
    seconds: Seconds,
    answers: Answers,
    *,
    names: Float[Tensor, "n e"],
    things: Sequence[str],
    embeddings: Float[Tensor, "v e"],
    tokenizer: Any,
) -> Counter[Role]:
    """Let seconds start: where they are due, the codes of things, and how much is written.

    Args:
        seconds: What starts.
        answers: Of rows in which times are asked for.
        names: What things are said by.
        things: What the first concepts stand for.
        embeddings: The language model's.
        tokenizer: Its.

    Returns:
        From how many tokens of answers each role was learned, of fewer than fifty none.
    """
    roles = [role_of(said.question, said.before) for said in answers.said]
    thing = _things_of([said.question for said in answers.said], things)
    at: dict[Role, Tensor] = {}
    for role in dict.fromkeys(role for role in roles if role is not None):
        own = torch.tensor([other == role for other in roles])
        own &= (thing >= 0) | (role.number == "length")
        if int(own.sum()) >= _FEWEST:
            at[role] = own
    for sign in seconds.sign.values():
        if at and sign.shape[1] == embeddings.shape[1]:
            sign.copy_(_signs(embeddings, tokenizer))
    any_of_them = torch.stack([*at.values(), thing < -1]).any(dim=0)
    layers = Counter(role for own in seconds.roles for role in own)
    seconds.size.zero_()
    for place, (target, own_roles) in enumerate(zip(answers.read, seconds.roles, strict=True)):
        ridge = Ridge(answers.read[target], slack=_SLACK)
        keys = seconds.keys(target)

        def rows(role: Role, wanted: Tensor, ridge: Ridge = ridge) -> Tensor:
            own = at[role]
            return ridge.rows(wanted, own, any_of_them & ~own, weights=(_OWN, _OTHERS))

        for number in range(LENGTHS):
            if (role := Role("length", number)) in at:
                keys[number] = rows(role, torch.ones(len(thing), 1))[0]
                seconds.size[place, number] = _SIZE / len(seconds.roles)
        for number, role in enumerate(own_roles):
            if role not in at:
                continue
            of_things = F.one_hot(thing.clamp_min(0), len(things)).float()
            found = rows(role, of_things)
            code, turn = _codes(
                answers.read[target][at[role]].float() @ found.T, thing[at[role]], names
            )
            first = LENGTHS + number * CODE
            keys[first : first + CODE] = turn.T @ found
            seconds.code[place, number, : len(things)] = code
            seconds.size[place, LENGTHS + number] = _SIZE / layers[role]
    return Counter({role: int(own.sum()) for role, own in at.items()})


def _things_of(questions: Sequence[str], things: Sequence[str]) -> Int[Tensor, " t"]:
    """Which thing each question names, by its number; -1 where it names none."""
    numbers = {bare(phrase): number for number, phrase in enumerate(things)}
    longest = sorted(numbers, key=len, reverse=True)
    pattern = re.compile(rf"\bthe ({'|'.join(map(re.escape, longest))})\b")
    named = {
        question: numbers[found[1]] if (found := pattern.search(question)) else -1
        for question in set(questions)
    }
    return torch.tensor([named[question] for question in questions])


def _codes(
    given: Float[Tensor, "t n"], thing: Int[Tensor, " t"], names: Float[Tensor, "n e"]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Return each thing's code, and the directions that codes are of.

    Args:
        given: What rows for things give where they are asked.
        thing: Which is asked for.
        names: What things are said by: what is asked for seldom has a code like those of its likes.
    """
    turn = torch.linalg.svd(given, full_matrices=False).Vh[:CODE].T
    turn = F.pad(turn, (0, CODE - turn.shape[1]))
    codes = given @ turn
    often = torch.zeros(len(names)).index_add(0, thing, torch.ones(len(thing)))
    sums = torch.zeros(len(names), CODE).index_add(0, thing, codes)
    mean = sums / often.clamp_min(1)[:, None]
    own = F.normalize((names - names.mean(dim=0)).float(), dim=1)
    alike = own @ own.T
    known = often > 0
    noise = torch.diag(1 / often[known])
    expected = alike[:, known] @ torch.linalg.solve(alike[known][:, known] + noise, mean[known])
    share = (often / (often + _SURE))[:, None]
    code = share * mean + (1 - share) * expected
    unit = code[known].square().sum(dim=1).mean().rsqrt()
    return unit * code, unit * turn


def _signs(embeddings: Float[Tensor, "v e"], tokenizer: Any) -> Float[Tensor, "signs e"]:
    """What says each character and nothing else: its embedding, less what all have in common."""
    texts = [str(digit) for digit in range(10)] + ["", ""]
    texts[POINT], texts[NOTHING] = ".", " seconds"
    tokens = [tokenizer(text, add_special_tokens=False).input_ids[-1] for text in texts]
    assert len(tokens) == SIGNS
    own = embeddings[tokens].detach().float().cpu()
    return F.normalize(own - own.mean(dim=0), dim=1)
