"""Stage 5 of the flow, beside the binding: when things were seen, character by character.

A language model says "125" in three tokens. Where each is due, in an answer to "when does the dog
appear?", late layers read which thing was asked for: a code of a few numbers, which rows of A give.
B maps the codes of the things that were seen to the characters of the seconds in which they were
first seen, or last. The map is that of least squares: with few things it is exact, whatever their
codes have in common (the pseudo-inverse memory: Kohonen, "Correlation Matrix Memories", IEEE
Transactions on Computers, 1972). Of a video of many things those that kinds of questions attend to
are kept: the surest of each group.

The length of the video needs no code: a row of its own for each character. Nor do the words around
a number, "from", "at".

Of a video of few things nothing is written: "where is the dog?" is answered there, and what is due
in "at the top" is too near to what is due in "at 12 seconds".

Dimensions: b videos, n concepts that were seen, k concepts, d numbers of a code, c characters, q
rows of A, i and o the features that a target reads and writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.clock import SIGNS, said_signs
from vipe.seen import Seen
from vipe.static_lora import key_rows
from vipe.targets import kind_of

CODE = 14
"""d."""
LENGTHS = 4
"""Characters of the length that are written."""
WORDS = 6
"""Tokens around numbers that are written."""


class Role(NamedTuple):
    """What is due at a place of an answer.

    Attributes:
        number: "start" or "end", of when a thing was seen; "length", of the video.
        character: Which character of the number, from 0 on.
    """

    number: str
    character: int


ROLES: tuple[tuple[Role, Role], ...] = (
    (Role("end", 1), Role("end", 2)),
    (Role("end", 0), Role("end", 1)),
    (Role("start", 0), Role("end", 0)),
    (Role("start", 0), Role("start", 1)),
    (Role("start", 0), Role("start", 2)),
    (Role("start", 1), Role("start", 3)),
    (Role("start", 1), Role("start", 2)),
)
"""What each late layer writes, in turns; more would make the rank still larger."""

_PER = len(ROLES[0])
_SIZES = 20.0
"""What is written is learned in so large units."""
_SLACK = 1.0
"""Of least squares, in units of a code's mean square length."""


class Seconds(nn.Module):
    """Seen → the columns of B for when things were seen; exactly zero at initialisation.

    Args:
        targets: (in, out) features of each late target, by its full name.
        concepts: k.

    Attributes:
        roles: What each late target writes.
    """

    count = WORDS + LENGTHS + _PER * CODE

    def __init__(self, targets: Mapping[str, tuple[int, int]], *, concepts: int) -> None:
        super().__init__()
        self.roles = _roles(len(targets))
        self.rows = key_rows(self.count, targets)
        self.code = nn.Parameter(torch.randn(len(targets), _PER, concepts, CODE) * CODE**-0.5)
        sizes = {kind_of(target): size[1] for target, size in targets.items()}
        self.sign = nn.ParameterDict(
            {
                kind: nn.Parameter(torch.randn(SIGNS, size) * size**-0.5)
                for kind, size in sizes.items()
            }
        )
        self.word = nn.ParameterDict(
            {
                kind: nn.Parameter(torch.randn(WORDS, size) * size**-0.5)
                for kind, size in sizes.items()
            }
        )
        self.size = nn.Parameter(torch.zeros(len(targets), WORDS + LENGTHS + _PER))

    def keys(self, target: str) -> Float[Tensor, "q i"]:
        """Return the rows of A that a late target has for seconds."""
        return self.rows[target.replace(".", "-")]

    def forward(
        self, seen: Seen, attention: Float[Tensor, "b kinds n"]
    ) -> dict[str, Float[Tensor, "b o q"]]:
        """Return the columns of B; of a video of few things, zeros.

        Args:
            seen: What was seen, when.
            attention: Of kinds of questions to it.
        """
        length = seen.length[:, None]
        half = seen.every[:, None] / 2  # a frame stands for the time around it
        signs = {
            "start": said_signs((seen.first - half).clamp_min(0), length),
            "end": said_signs(torch.minimum(seen.last + half, length), length),
        }
        lasts = said_signs(length, length)
        kept = torch.maximum(1 - seen.crowded[:, None], attention.amax(dim=1)) * seen.sure
        found: dict[str, Tensor] = {}
        for place, (key, roles) in enumerate(zip(self.rows, self.roles, strict=True)):
            target = key.replace("-", ".")
            sign = self.sign[kind_of(target)]
            sizes = _SIZES * self.size[place]
            words, lengths, things = sizes.split([WORDS, LENGTHS, _PER])
            word = (self.word[kind_of(target)].mT * words).expand(len(length), -1, -1)
            parts = [word, sign[lasts[:, 0, :LENGTHS]].mT * lengths]
            for number, role in enumerate(roles):
                values = sign[signs[role.number][..., role.character]]
                code = self.code[place, number][seen.which]
                parts.append(things[number] * _least_squares(code, values, kept))
            found[target] = torch.cat(parts, dim=-1) * seen.crowded[:, None, None]
        return found


def _roles(layers: int) -> list[tuple[Role, ...]]:
    """What each of some late layers writes: the last ones, where there are fewer."""
    return [ROLES[place % len(ROLES)] for place in range(-layers, 0)]


def _least_squares(
    codes: Float[Tensor, "b n d"], values: Float[Tensor, "b n o"], kept: Float[Tensor, "b n"]
) -> Float[Tensor, "b o d"]:
    """Return the smallest map of codes to values that is right where they are kept, nearly."""
    codes, values = codes.float(), values.float()
    weighted = (codes * kept[..., None]).mT
    slack = _SLACK * torch.eye(codes.shape[-1], device=codes.device)
    return torch.linalg.solve(weighted @ codes + slack, weighted @ values).mT
