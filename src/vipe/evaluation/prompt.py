"""Evaluation, cost: what is asked while answers are timed, as token ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vipe.chat import prompt_around, prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is asked, as token ids.

    Attributes:
        ids: All of them.
        around: Those before and after the place of visual tokens.
        end: The token that ends answers.
    """

    ids: list[int]
    around: tuple[list[int], list[int]]
    end: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, question: str) -> Prompt:
        """Return the prompt of a question."""
        end: Any = tokenizer.eos_token_id
        return cls(
            ids=prompt_ids(tokenizer, question), around=prompt_around(tokenizer, question), end=end
        )

    @classmethod
    def random(cls, tokens: int, *, vocabulary: int) -> Prompt:
        """Return a prompt of so many random tokens, the same every time.

        Args:
            tokens: At least 1; visual tokens have their place behind the first one.
            vocabulary: How many tokens there are.
        """
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(vocabulary, (tokens,), generator=generator).tolist()
        return cls(ids=ids, around=(ids[:1], ids[1:]), end=0)
