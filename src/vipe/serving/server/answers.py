"""Tokens → text, piece by piece, and where an answer stops.

The pieces join to what `ViPE.ask` returns: no white space at either end, no special token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HALF = "\ufffd"  # what the bytes of half a character decode to


class AnswerText:
    """The text of one answer while its tokens come.

    Args:
        tokenizer: Decodes the tokens.
        stop: Texts at which the answer ends, before them.

    Attributes:
        stopped: Whether one of them came.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: Sequence[str] = ()) -> None:
        self._tokenizer, self._stop = tokenizer, [text for text in stop if text]
        self.stopped = False
        self._tokens: list[int] = []
        # Only the last tokens are decoded again: how one is written can depend on the one before.
        self._from, self._to = 0, 0
        self._held = ""
        self._begun = False

    def push(self, token: int) -> str:
        """Take the next token; return the text that is certain now."""
        self._tokens.append(token)
        new = self._decode(self._from, None)
        if not new.endswith(_HALF):
            self._held += new[len(self._decode(self._from, self._to)) :]
            self._from, self._to = self._to, len(self._tokens)
        return self._give()

    def end(self) -> str:
        """Nothing more comes; return what was held back. Half a character stays one."""
        if not self.stopped:
            new = self._decode(self._from, None)
            self._held += new[len(self._decode(self._from, self._to)) :]
            self._to = self._from = len(self._tokens)
            self._cut()
        rest, self._held = self._held, ""
        return (rest if self._begun else rest.lstrip()).rstrip()

    def _decode(self, start: int, end: int | None) -> str:
        tokens = self._tokens[start:end]
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def _cut(self) -> None:
        found = [at for text in self._stop if (at := self._held.find(text)) >= 0]
        if found:
            self._held, self.stopped = self._held[: min(found)], True

    def _give(self) -> str:
        """Return all but what may be the beginning of a stop, and white space that may be last."""
        self._cut()
        if self.stopped:
            return ""
        if not self._begun and not any(text[0].isspace() for text in self._stop):
            self._held = self._held.lstrip()
        kept = max((_overlap(self._held, text) for text in self._stop), default=0)
        sure = self._held[: len(self._held) - kept].rstrip()
        self._held = self._held[len(sure) :]
        if not self._begun:
            sure = sure.lstrip()
        self._begun = self._begun or bool(sure)
        return sure


def _overlap(text: str, stop: str) -> int:
    """Return how many letters at the end of `text` are the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
