"""Stage 7 of the flow, language model + weights → answer: decoding, by transformers' `generate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How an answer is decoded.

    Attributes:
        max_new_tokens: The longest answer.
        temperature: 0 for the likeliest token each time, else what the logits are divided by.
        top_p: Of sampling, the share of probability that is kept.
        num_beams: Beams of beam search; 1 for none.
        length_penalty: What power of its length a beam's log-probability is divided by: the less,
            the shorter the answers that are found.
        seed: Of sampling; None leaves torch's generator as it is.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    num_beams: int = 1
    length_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.num_beams < 1:
            raise ValueError("max_new_tokens and num_beams must be at least 1")
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError("temperature must be at least 0, top_p above 0 and at most 1")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of transformers' `generate`."""
        sampled = self.temperature > 0
        return {
            "max_new_tokens": self.max_new_tokens,
            "num_beams": self.num_beams,
            "length_penalty": self.length_penalty if self.num_beams > 1 else None,
            "do_sample": sampled,
            "temperature": self.temperature if sampled else None,
            "top_p": self.top_p if sampled else None,
            "top_k": None,
            # What a model's own settings would add: greedy is to be the likeliest token.
            "repetition_penalty": 1.0,
        }


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    *,
    streamer: Any = None,
    logits_processor: Sequence[Any] | None = None,
) -> list[str]:
    """Decode the answers to a batch of prompts (token ids), padded on the left.

    Args:
        model: With the weights of each prompt's video attached.
        tokenizer: The model's own.
        prompts: Token ids of each prompt.
        decoding: How.
        streamer: As transformers': gets the tokens of a single prompt as they come.
        logits_processor: As transformers': each changes the logits of the next tokens.
    """
    if not prompts:
        return []
    longest = max(map(len, prompts))
    pad = _padding(tokenizer)
    ids = torch.tensor([[pad] * (longest - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    given: dict[str, Any] = {
        "input_ids": ids.to(model.device),
        "attention_mask": mask.to(model.device),
    }
    given |= {"streamer": streamer, "logits_processor": logits_processor}
    output = _decode(model, tokenizer, decoding, **given)
    answers = tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def generate_after(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Float[Tensor, "_ e"]],
    decoding: Decoding,
    *,
    streamer: Any = None,
    logits_processor: Sequence[Any] | None = None,
) -> list[str]:
    """Decode the answers to prompts that are given as embeddings, padded on the left.

    Args:
        model: The language model.
        tokenizer: The model's own.
        prompts: Embeddings of each prompt, `(t, e)`, t of any length.
        decoding: How.
        streamer: As transformers': gets the tokens of a single prompt's answer as they come.
        logits_processor: As transformers': each changes the logits of the next tokens.
    """
    if not prompts:
        return []
    longest = max(map(len, prompts))
    rows = [F.pad(prompt, (0, 0, longest - len(prompt), 0)) for prompt in prompts]
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    given: dict[str, Any] = {
        "inputs_embeds": torch.stack(rows).to(model.dtype),
        "attention_mask": mask.to(model.device),
    }
    given |= {"streamer": streamer, "logits_processor": logits_processor}
    output = _decode(model, tokenizer, decoding, **given)
    answers = tokenizer.batch_decode(output, skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def _decode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, decoding: Decoding, **given: Any
) -> Tensor:
    if decoding.seed is not None:
        torch.manual_seed(decoding.seed)
    run: Any = model.generate
    with torch.inference_mode():
        return run(
            **given,
            pad_token_id=_padding(tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            **decoding.arguments(),
        )


def _padding(tokenizer: PreTrainedTokenizerBase) -> Any:
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


class TextStream:
    """Hands the text of an answer on as it is decoded: a streamer for `generate`.

    The pieces join to what `generate` returns: no white space at either end.

    Args:
        tokenizer: Decodes the tokens.
        on_text: Is called with each new piece of text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, on_text: Callable[[str], None]) -> None:
        self.tokenizer, self.on_text = tokenizer, on_text
        self._tokens: list[int] | None = None
        self._given = ""

    def put(self, value: Tensor) -> None:
        """Take the prompt (the first call), then token by token."""
        if self._tokens is None:
            self._tokens = []
            return
        self._tokens.extend(value.flatten().tolist())
        text = self._text()
        if not text.endswith("\ufffd"):  # else in the middle of a character
            self._give(text)

    def end(self) -> None:
        """Nothing more comes: half a character stays one."""
        self._give(self._text())

    def _text(self) -> str:
        return str(self.tokenizer.decode(self._tokens or [], skip_special_tokens=True)).strip()

    def _give(self, text: str) -> None:
        if len(text) > len(self._given):
            self.on_text(text[len(self._given) :])
            self._given = text


class _Stopped(Exception):
    """Nobody wants the rest."""


def iterate(run: Callable[[Callable[[str], None]], Any]) -> Iterator[str]:
    """Run `run(on_text)` in a thread and yield what it hands on; its error is raised here.

    Closing the iterator before its end stops the run at its next piece, and waits for that.
    """
    pieces: SimpleQueue[str | BaseException | None] = SimpleQueue()
    stopped = Event()

    def on_text(text: str) -> None:
        if stopped.is_set():
            raise _Stopped
        pieces.put(text)

    def work() -> None:
        try:
            run(on_text)
            pieces.put(None)
        except BaseException as error:
            pieces.put(error)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        stopped.set()
        thread.join()
