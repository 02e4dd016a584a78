"""`vipe ask`: one question about a video or an adapter."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vipe.cli import options
from vipe.cli.live import Look
from vipe.cli.source import Opened, open_source
from vipe.progress import progress

if TYPE_CHECKING:
    from torch import nn

    from vipe.answering import Question
    from vipe.generation import Decoding


def ask(
    source: options.Source,
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="What to ask.", show_default=False)
    ],
    model: options.Model = None,
    frames: options.FrameCount = None,
    merge_ratio: options.MergeRatio = None,
    rate: options.Rate = None,
    until: options.Until = None,
    follow: options.Follow = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object: the answer, and what it took.")
    ] = False,
    max_new_tokens: options.MaxNewTokens = 64,
    temperature: options.Temperature = 0.0,
) -> None:
    """Ask a question about a video.

    The video may be a picture, a folder of pictures, or an adapter that `vipe see` wrote. What is
    live is seen to its end, or up to --until; what was seen of a stream that breaks off counts, and
    the second at which it did goes to stderr. The answer alone goes to stdout. With --json,
    `seconds` says what took how long: to load the program and the model (load), to decode, encode
    and see the video, and after that to the first token and to the end of the answer; where the
    answer states a time, `span` is its start and end in seconds.
    """
    look = Look(frames=frames, merge_ratio=merge_ratio, rate=rate, until=until, follow=follow)
    with progress() as bar:
        opened = open_source(source, look, model=model, bar=bar)
    from vipe.generation import Decoding

    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature)
    answer = answer_to(opened, question, decoding, shown=not as_json)
    if as_json:
        from vipe.evaluation.when import span_in

        span = span_in(answer.text)
        result = {
            "answer": answer.text,
            **({} if span is None else {"span": list(span)}),
            "visual_tokens_in_prompt": answer.positions - answer.text_tokens,
            "prompt_tokens": answer.text_tokens,
            "frames": opened.frames,
            **opened.stream,
            "seconds": {
                name: round(value, 3)
                for name, value in {
                    **opened.seconds,
                    "first_token": answer.first_token,
                    "answer": answer.seconds,
                }.items()
            },
        }
        print(json.dumps(result))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer and what it took.

    Attributes:
        text: The answer.
        text_tokens: Tokens of the prompt's text.
        positions: Positions that the language model was given before the answer; those that are
            not text would be visual tokens.
        first_token: Seconds to the first token.
        seconds: Seconds to the end.
    """

    text: str
    text_tokens: int
    positions: int
    first_token: float
    seconds: float


def answer_to(opened: Opened, question: Question, decoding: Decoding, *, shown: bool) -> Answer:
    """Answer a question; where it is shown, on stdout, and on a terminal word by word."""
    from vipe.chat import prompt_ids

    streamed = shown and sys.stdout.isatty()
    start = perf_counter()
    first_token, text = 0.0, ""
    with _prompt_positions(opened.model.language_model) as positions:
        for piece in opened.model.stream(opened.seen, question, decoding=decoding):
            first_token = first_token or perf_counter() - start
            if streamed:
                sys.stdout.write(piece if text.strip() else piece.lstrip())
                sys.stdout.flush()
            text += piece
    seconds = perf_counter() - start
    if shown:
        print("" if streamed else text.strip(), flush=True)
    return Answer(
        text=text.strip(),
        text_tokens=len(prompt_ids(opened.model.tokenizer, question)),
        positions=positions[0],
        first_token=first_token,
        seconds=seconds,
    )


@contextmanager
def _prompt_positions(language_model: nn.Module) -> Iterator[list[int]]:
    """Count what really enters the language model: the first entry is the prompt's length."""
    lengths: list[int] = []

    def count(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        given = named.get("inputs_embeds")
        if given is None:
            given = named["input_ids"] if "input_ids" in named else arguments[0]
        lengths.append(given.shape[1])

    handle = language_model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield lengths
    finally:
        handle.remove()
