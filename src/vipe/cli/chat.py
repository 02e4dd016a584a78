"""`vipe chat`: several turns about a video or an adapter."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from vipe.addresses import last_part
from vipe.cli import options
from vipe.cli.ask import answer_to
from vipe.cli.live import STDIN, Look
from vipe.cli.source import open_source
from vipe.progress import progress

if TYPE_CHECKING:
    from vipe.chat import Message


def chat(
    source: options.Source,
    model: options.Model = None,
    frames: options.FrameCount = None,
    merge_ratio: options.MergeRatio = None,
    rate: options.Rate = None,
    until: options.Until = None,
    follow: options.Follow = None,
    max_new_tokens: options.MaxNewTokens = 64,
    temperature: options.Temperature = 0.0,
) -> None:
    """Talk about a video.

    A question a line, until Ctrl-D; earlier questions and answers stay in the conversation. The
    video is seen once. It may be a picture, a folder of pictures, or an adapter.
    """
    if source == STDIN:
        raise typer.BadParameter("-: questions come from stdin, so the video cannot")
    look = Look(frames=frames, merge_ratio=merge_ratio, rate=rate, until=until, follow=follow)
    with progress() as bar:
        opened = open_source(source, look, model=model, bar=bar)
    from vipe.generation import Decoding

    decoding = Decoding(max_new_tokens=max_new_tokens, temperature=temperature)
    messages: list[Message] = []
    for question in _questions(f"Ask about {last_part(source)}. Ctrl-D ends."):
        messages.append({"role": "user", "content": question})
        answer = answer_to(opened, messages, decoding, shown=True)
        messages.append({"role": "assistant", "content": answer.text})


def _questions(greeting: str) -> Iterator[str]:
    """Yield the lines of stdin; on a terminal, with a prompt on stderr."""
    interactive = sys.stdin.isatty()
    if interactive:
        print(greeting, file=sys.stderr)
    while True:
        if interactive:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            break
        if question := line.strip():
            yield question
    if interactive:
        print(file=sys.stderr)
