"""Many questions about many videos, answered together: a thread that takes one step after another.

At each step those that wait join as far as there is room, so that none waits for others' ends.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING, Literal

from vipe.errors import ViPEError
from vipe.serving.server.answers import AnswerText
from vipe.serving.server.batch import Batch, Row

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_log = logging.getLogger(__name__)


class Busy(ViPEError):
    """There is no room to wait.

    Args:
        what: What there is no room for.
        seconds: After which it is worth another try.
    """

    def __init__(self, what: str, seconds: float | int) -> None:
        super().__init__(f"too many {what} wait already: try again later")
        self.seconds = max(1, round(seconds))


@dataclass(frozen=True, kw_only=True)
class Done:
    """The end of an answer.

    Attributes:
        reason: Why, in OpenAI's words: it stopped, or had as many tokens as it may.
        tokens: How many it has.
        visual_tokens: Positions before the answer that were not tokens of the prompt.
    """

    reason: Literal["stop", "length"]
    tokens: int
    visual_tokens: int


Event = str | Done | Exception


@dataclass(eq=False, kw_only=True)
class Question(Row):
    """A question with what becomes of its answer.

    Attributes:
        most: The longest answer, in tokens.
        stop: Texts at which it ends.
        tell: Is called from the engine's thread with each piece of text, and at last with how it
            ended; it must return at once, and not fail.
        cancelled: Set when nobody wants the rest.
        first: When the first token was there, of `time.monotonic`.
    """

    most: int
    stop: Sequence[str] = ()
    tell: Callable[[Event], None]
    cancelled: bool = False
    tokens: int = field(default=0, init=False)
    first: float = field(default=0.0, init=False)
    text: AnswerText | None = field(default=None, init=False)


class Engine:
    """The thread that answers.

    Args:
        model: The language model, from now on this thread's alone.
        tokenizer: Its own, this thread's alone, too.
        batch: Questions that are answered at once.
        waiting: Questions that may wait.
        on_step: Is called after each step with the number of rows it had.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch: int,
        waiting: int,
        on_step: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self._tokenizer, self._most, self._room = tokenizer, batch, waiting
        self._on_step = on_step
        end = tokenizer.eos_token_id
        self._ends = set(end if isinstance(end, list) else [end])
        self._batch = Batch(model, tokenizer.pad_token_id or 0)
        self._waiting: deque[Question] = deque()
        self._changed = Condition()
        self._closed = False
        self._took = 0.0  # seconds that an answer takes, lately
        self._thread = Thread(target=self._run, name="vipe-engine", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Questions that wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Questions that are being answered."""
        return len(self._batch.rows)

    @property
    def alive(self) -> bool:
        """Whether answers can be had."""
        return self._thread.is_alive()

    def submit(self, question: Question) -> None:
        """Let a question wait for its turn.

        Raises:
            Busy: Too many wait already, or the engine is closed.
        """
        with self._changed:
            if self._closed or len(self._waiting) >= self._room:
                raise Busy("questions", self._took * len(self._waiting) / self._most)
            self._waiting.append(question)
            self._changed.notify_all()

    def close(self) -> None:
        """End the thread; what is not answered by then is told so."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._batch.rows or self._closed)
                if self._closed:
                    break
                fresh = self._admitted()
            start = monotonic()
            try:
                self._turn(fresh)
            except Exception as error:
                _log.exception("a step failed")
                for question in dict.fromkeys([*self._batch.rows, *fresh]):
                    if not question.cancelled:
                        question.tell(error)
                self._batch.keep([])
            self._took += 0.02 * (64 * (monotonic() - start) - self._took)  # of some 64 tokens
        for question in [*self._batch.rows, *self._waiting]:
            question.tell(Busy("questions", 1))
        self._batch.keep([])

    def _admitted(self) -> list[Question]:
        fresh: list[Question] = []
        while self._waiting and len(self._batch.rows) + len(fresh) < self._most:
            question = self._waiting.popleft()
            if not question.cancelled:
                fresh.append(question)
        return fresh

    def _turn(self, fresh: list[Question]) -> None:
        """Take a step, let new questions join, and let those leave that are answered."""
        if self._batch.rows:
            tokens = self._batch.step()
            for question, token in zip(self._batch.rows, tokens, strict=True):
                self._take(question, token)
        if fresh:
            self._join(fresh)
        self._on_step(len(self._batch.rows))
        rows = self._batch.rows
        places = [place for place, question in enumerate(rows) if not question.cancelled]
        if len(places) < len(rows):
            self._batch.keep(places)

    def _join(self, fresh: list[Question]) -> None:
        for question in fresh:
            question.text = AnswerText(self._tokenizer, question.stop)
        try:
            tokens = self._batch.join(fresh)
        except Exception as error:
            if len(fresh) > 1:  # one of them is at fault, and must not be the others' end
                for question in fresh:
                    self._join([question])
                return
            if not isinstance(error, ViPEError):
                _log.exception("a question failed")
            fresh[0].tell(error)
            fresh[0].cancelled = True
            return
        for question, token in zip(fresh, tokens, strict=True):
            self._take(question, token)

    def _take(self, question: Question, token: int) -> None:
        """Hand on what a token adds to an answer, and how it ended, if it did."""
        assert question.text is not None
        question.tokens += 1
        question.first = question.first or monotonic()
        reason: Literal["stop", "length"] | None = None
        if token in self._ends:
            reason = "stop"
        else:
            if piece := question.text.push(token):
                question.tell(piece)
            if question.text.stopped:
                reason = "stop"
            elif question.tokens >= question.most:
                reason = "length"
        if reason is None:
            return
        if rest := question.text.end():
            question.tell(rest)
        visual = question.positions - len(question.prompt)
        question.tell(Done(reason=reason, tokens=question.tokens, visual_tokens=visual))
        question.cancelled = True  # nothing more is wanted of it
