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

import math
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from vipe.clock import NOTHING, POINT, SIGNS
from vipe.data.pictures import pictures
from vipe.data.scene_wordings import bare, fill
from vipe.data.time_questions import APPEARS, FROM_TO, GOES, said
from vipe.seconds import CODE, LENGTHS, WORDS, Role, Seconds
from vipe.training.asked import Answers, Ridge
from vipe.training.packing import Turn

_OWN, _OTHERS, _SLACK = 20_000.0, 20_000.0, 3000.0
"""What the tokens of a role count, those of other roles, and how small rows are kept."""
_SIZE = 4.0
"""How much all late layers together write of a character, in units of `vipe.seconds`."""
_FEWEST = 50
"""Tokens of a role from which it is learned."""
_SURE = 4.0
"""Tokens of a thing from which its code is more its own than what its name lets expect."""

_LENGTHS = 4.0, 6000.0
_TIMES = (
    (APPEARS, "at {start} seconds"),
    (GOES, "at {end} seconds"),
    (FROM_TO, "from {start} to {end} seconds"),
)
_DUE = re.compile(r"(?:|.* )(?P<number>[\d.]*)", re.DOTALL)
_LENGTH = re.compile(r"\bhow long is the video\b|\bseconds does the video last\b")
_FROM_TO = re.compile(r"^from when to when\b|^when (?:is|are) .* shown\b")
_LASTS = re.compile(r"^how long (?:is|are)\b|^for how many seconds\b")
_END = re.compile(r"\b(?:disappear|gone)\b")
_START = re.compile(r"\bappear\b")


def role_of(question: str, before: str) -> Role | None:
    """Return what is due in an answer, and which character: "duration", too, which none writes.

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
    if _LASTS.search(text):
        return Role("duration", place)
    if _END.search(text):
        return Role("end", place)
    return Role("start", place) if _START.search(text) else None


def asks_for_times(things: Sequence[str], rng: random.Random) -> Iterator[Turn]:
    """Yield questions for the times of all things in turn, with any times for answers, for ever.

    Which thing is asked for, and which character is due, does not depend on what a video shows.
    """
    known = {picture.phrase: picture for picture in pictures().values()}
    shown = [known[thing] for thing in things if thing in known]
    while shown:
        for picture in rng.sample(shown, len(shown)):
            for texts, answer in _TIMES:
                length = math.exp(rng.uniform(*map(math.log, _LENGTHS)))
                start, end = sorted(rng.uniform(0, length) for _ in range(2))
                times = {"start": said(start, length), "end": said(end, length)}
                question = fill(rng.choice(texts), the=f"the {picture.name}", many=picture.many)
                yield Turn(question=question, answer=answer.format(**times), kind="when")


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
    at: dict[Any, Tensor] = {}
    for role in dict.fromkeys(role for role in roles if role is not None):
        own = torch.tensor([other == role for other in roles])
        own &= (thing >= 0) | (role.number == "length")
        if int(own.sum()) >= _FEWEST:
            at[role] = own
    learned = Counter({role: int(own.sum()) for role, own in at.items()})
    seconds.size.zero_()
    if not at:
        return learned
    words = _words(answers)
    for kind, sign in seconds.sign.items():
        if sign.shape[1] == embeddings.shape[1]:
            sign.copy_(_signs(embeddings, tokenizer))
            spoken = embeddings[list(words)].detach().float().cpu()
            seconds.word[kind][: len(words)] = F.normalize(spoken, dim=1)
    at |= words
    number_of = {what: number for number, what in enumerate(at)}
    asked = torch.full_like(thing, -1)
    for what, own in at.items():
        asked[own] = number_of[what]
    layers = Counter(role for own_roles in seconds.roles for role in own_roles)
    for place, (target, own_roles) in enumerate(zip(answers.read, seconds.roles, strict=True)):
        ridge = Ridge(answers.read[target], asked, weights=(_OWN, _OTHERS), slack=_SLACK)
        keys, size = seconds.keys(target), seconds.size[place]
        alike: list[Any] = [*words, *(Role("length", character) for character in range(LENGTHS))]
        columns = [*range(len(words)), *range(WORDS, WORDS + LENGTHS)]
        for column, what in zip(columns, alike, strict=True):
            if what in at:
                keys[column] = ridge.rows(number_of[what], torch.ones(int(at[what].sum()), 1))[0]
                size[column] = _SIZE / len(seconds.roles)
        for number, role in enumerate(own_roles):
            if role not in at:
                continue
            own = thing[at[role]]
            found = ridge.rows(number_of[role], F.one_hot(own, len(things)).float())
            given = answers.read[target][at[role]].float() @ found.T
            code, turn = _codes(given, own, names)
            first = WORDS + LENGTHS + number * CODE
            keys[first : first + CODE] = turn.T @ found
            seconds.code[place, number, : len(things)] = code
            size[WORDS + LENGTHS + number] = _SIZE / layers[role]
    return learned


def _words(answers: Answers) -> dict[int, Bool[Tensor, " t"]]:
    """Where the commonest tokens around numbers are due, by token."""
    around = [
        any(role_of(said.question, before) for before in ("", "at "))
        and role_of(said.question, said.before) is None
        for said in answers.said
    ]
    tokens = torch.tensor([said.token for said in answers.said])
    where = torch.tensor(around)
    common = Counter(tokens[where].tolist()).most_common(WORDS)
    return {token: where & (tokens == token) for token, often in common if often >= _FEWEST}


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
    texts: list[tuple[str, ...]] = [(str(digit),) for digit in range(10)] + [(), ()]
    texts[POINT], texts[NOTHING] = (".",), (" seconds", " to")  # after a number
    own = torch.stack(
        [
            torch.stack([_embedded(embeddings, tokenizer, text) for text in some]).mean(dim=0)
            for some in texts
        ]
    )
    assert len(own) == SIGNS
    return F.normalize(own - own.mean(dim=0), dim=1)


def _embedded(embeddings: Float[Tensor, "v e"], tokenizer: Any, text: str) -> Float[Tensor, " e"]:
    token = tokenizer(text, add_special_tokens=False).input_ids[-1]
    return embeddings[token].detach().float().cpu()
