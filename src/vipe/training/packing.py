"""Training, step 2: questions and answers → token rows, several to a row.

The turns of one clip share one row and its chat prefix, but do not see one another: a token
attends to the prefix and to its own turn, and its position is what it would be alone. A row of k
turns therefore gives the very logits of k rows of one turn, for fewer tokens. Where visual tokens
are read, the turns share them too.

Dimensions: b rows (clips), l tokens of a row, m visual tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vipe.chat import Message, prompt_ids
from vipe.errors import DataError, RecipeError
from vipe.training.alignment import AskedWords, Bag

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE = -100
_PREFIX, _PADDING = 0, -1


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One question with the answer that is trained, and what was said before it.

    `answers` are all that would be right, where that is known.
    """

    question: str
    answer: str
    kind: str
    before: tuple[tuple[str, str], ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PackedRows:
    """A batch of rows.

    Attributes:
        input_ids: `(b, l)`.
        position_ids: `(b, l)`.
        labels: `(b, l)`, the token that should come **next**; `IGNORE` where none is trained.
        turn: `(b, l)`, 1, 2, … for the turns, 0 for the prefix, -1 for padding.
        turns: The turns of each row, in order.
    """

    input_ids: Int[Tensor, "b l"]
    position_ids: Int[Tensor, "b l"]
    labels: Int[Tensor, "b l"]
    turn: Int[Tensor, "b l"]
    turns: tuple[tuple[Turn, ...], ...]

    def mask(self) -> Bool[Tensor, "b 1 l l"]:
        """Whether a token (third axis) attends to another (fourth)."""
        length = self.turn.shape[1]
        reader, read = self.turn[:, :, None], self.turn[:, None, :]
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        return (((read == reader) | (read == _PREFIX)) & causal)[:, None]

    @property
    def first(self) -> int:
        """Where the turns begin: the length of the prefix."""
        return int((self.turn[0] == _PREFIX).sum()) if len(self.turn) else 0

    def with_visual(self, present: Bool[Tensor, "b m"]) -> PackedRows:
        """Make places for visual tokens between the prefix and the turns, which all attend to them.

        Args:
            present: False where a video has fewer tokens than others; no position is lost to it.
        """
        first, there = self.first, present.long()

        def around(value: Tensor, between: Tensor) -> Tensor:
            return torch.cat([value[:, :first], between, value[:, first:]], dim=1)

        positions = self.position_ids.clone()
        positions[:, first:] += there.sum(dim=1, keepdim=True)
        return replace(
            self,
            input_ids=around(self.input_ids, torch.zeros_like(there)),
            position_ids=around(positions, (first + there.cumsum(1) - 1).clamp_min(0)),
            labels=around(self.labels, torch.full_like(there, IGNORE)),
            turn=around(self.turn, torch.where(present, _PREFIX, _PADDING)),
        )

    def weight(self) -> Float[Tensor, " n"]:
        """Return what each of the n trained tokens counts, row by row; sums to 1.

        An answer of k tokens counts √k: were every token alike, a "yes" would count a sixth of a
        caption, and "yes" and "no" are learned last.
        """
        answer = self.answered()
        weight = torch.bincount(answer)[answer].float().rsqrt()
        return weight / weight.sum()

    def answered(self) -> Int[Tensor, " n"]:
        """Return the turn that each of the n trained tokens answers, counted over all rows."""
        first = torch.tensor([0, *map(len, self.turns)]).cumsum(0)[:-1]
        return (first[:, None] + self.turn - 1)[self.labels != IGNORE]


class Packer:
    """Packs turns into rows of a fixed length.

    Args:
        tokenizer: With a chat template.
        length: Tokens of a row.

    Raises:
        RecipeError: A row is too short to hold any question.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
        self.tokenizer, self.length = tokenizer, length
        self._eos = int(tokenizer.eos_token_id)
        one, other = (prompt_ids(tokenizer, question) for question in ("What?", "Is there a dog?"))
        shared = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
        self.prefix = one[:shared]
        if shared >= length:
            raise RecipeError(
                f"row_tokens: {length} hold no question, the chat template's beginning has {shared}"
            )
        self._prompt = lru_cache(maxsize=100_000)(self._tokenise_prompt)
        self._answer = lru_cache(maxsize=100_000)(self._tokenise_answer)

    def _tokenise_prompt(
        self, question: str, before: tuple[tuple[str, str], ...]
    ) -> tuple[int, ...]:
        said = [text for exchange in before for text in exchange]
        messages = [
            Message(role=role, content=text)
            for role, text in zip(cycle(("user", "assistant")), [*said, question], strict=False)
        ]
        ids = prompt_ids(self.tokenizer, messages)
        if ids[: len(self.prefix)] != self.prefix:
            raise DataError(f"question {question!r}: its first letters join the chat template's")
        return tuple(ids[len(self.prefix) :])

    def _tokenise_answer(self, answer: str) -> tuple[int, ...]:
        ids = self.tokenizer(answer, add_special_tokens=False).input_ids
        return (*ids, self._eos)

    def pack(self, candidates: Sequence[Sequence[Turn]]) -> PackedRows:
        """Put as many turns of each clip into its row as fit, in the order given.

        A turn that does not fit is left out, and the next is tried.
        """
        shape = (len(candidates), self.length)
        empty = PackedRows(
            input_ids=torch.full(shape, self._eos),
            position_ids=torch.zeros(shape, dtype=torch.long),
            labels=torch.full(shape, IGNORE),
            turn=torch.full(shape, _PADDING),
            turns=(),
        )
        packed = [self._pack_row(empty, i, turns) for i, turns in enumerate(candidates)]
        return replace(empty, turns=tuple(packed))

    def bags(self, candidates: Sequence[Sequence[Turn]]) -> tuple[Bag, ...]:
        """Return the words of all answers about each clip, but "yes" and "no", as token ids."""
        return tuple(
            tuple(dict.fromkeys(t for turn in turns for t in self._words(turn))) or (self._eos,)
            for turns in candidates
        )

    def asked(self, candidates: Sequence[Sequence[Turn]]) -> tuple[AskedWords, ...]:
        """Return every question about each clip with the words of its answer."""
        return tuple(
            AskedWords(
                video=video,
                question=tuple(self.tokenizer(turn.question).input_ids),
                answer=tuple(dict.fromkeys(self._answer(" " + turn.answer)[:-1])) or (self._eos,),
            )
            for video, turns in enumerate(candidates)
            for turn in turns
        )

    def _words(self, turn: Turn) -> tuple[int, ...]:
        # With the space before it, a word is the token that it is within an answer.
        return () if turn.kind == "presence" else self._answer(" " + turn.answer)[:-1]

    def _pack_row(self, rows: PackedRows, row: int, turns: Sequence[Turn]) -> tuple[Turn, ...]:
        first = len(self.prefix)
        rows.input_ids[row, :first] = torch.tensor(self.prefix)
        rows.position_ids[row, :first] = torch.arange(first)
        rows.turn[row, :first] = _PREFIX
        at, packed = first, []
        for turn in turns:
            prompt, answer = self._prompt(turn.question, turn.before), self._answer(turn.answer)
            ids = torch.tensor(prompt + answer[:-1])
            end = at + len(ids)
            if end > self.length:
                continue
            packed.append(turn)
            rows.input_ids[row, at:end] = ids
            rows.position_ids[row, at:end] = torch.arange(first, first + len(ids))
            rows.turn[row, at:end] = len(packed)
            rows.labels[row, end - len(answer) : end] = torch.tensor(answer)
            at = end
        return tuple(packed)
