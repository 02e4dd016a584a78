"""Questions: /v1/chat/completions, at once or piece by piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from vipe.chat import prompt_ids
from vipe.errors import StoreError
from vipe.serving.server.engine import Done, Engine, Event, Question
from vipe.serving.server.refusals import GONE, Refusal, as_refusal, body
from vipe.serving.server.schema import ChatRequest, Reply, Url, usage
from vipe.serving.server.together import together
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from vipe.serving.server.app import Service

LONGEST = 256  # tokens of an answer, where the request leaves it open
LETTERS = 100  # a token has fewer: beyond that, a prompt is not worth counting

router = APIRouter()
_T = TypeVar("_T")


@router.post("/v1/chat/completions")
async def complete(asked: ChatRequest, request: Request) -> Response:
    """Answer a question about a video, or two together."""
    service: Service = request.app.state.service
    service.check_name(asked.model)
    turns = asked.conversation()
    if sum(len(turn["content"]) for turn in turns) > LETTERS * service.context:
        raise Refusal(400, "the prompt is too long", code="context_length_exceeded")
    prompt = prompt_ids(service.tokenizer, turns)
    room = service.context - len(prompt)
    longest = min(LONGEST, room) if asked.longest is None else asked.longest
    if longest > room or room < 1:
        raise Refusal(
            400,
            f"the prompt has {len(prompt)} tokens: with an answer of {max(1, longest)} that is "
            f"more than the {service.context} that the language model reads",
            param="messages",
            code="context_length_exceeded",
        )
    seen = [await _seen(service, source) for source in asked.sources()]
    frames = sum(int(weights.metadata.get("frames", 0)) for _, weights in seen)
    weights = await asyncio.to_thread(together, service.model, [weights for _, weights in seen])
    cost = service.costs.of(len(prompt), weights, frames)
    answer = Answer(service, asked, prompt, weights, longest, cost)
    answer.start()
    reply = Reply(service.name, [key for key, _ in seen])
    try:
        if not asked.stream:
            text, done = await _unless_gone(request, answer.whole())
            return JSONResponse(reply.whole(text, done.reason, answer.usage(done)))
        # The first event is awaited: what fails at once has its own status.
        first = await _unless_gone(request, answer.next())
    except BaseException:
        answer.question.cancelled = True
        raise
    counted = asked.stream_options is not None and asked.stream_options.include_usage
    return StreamingResponse(
        _pieces(answer, reply, first, counted=counted), media_type="text/event-stream"
    )


class Answer:
    """One question in the engine, as seen from the event loop.

    Args:
        service: Has the engine.
        asked: What is asked.
        prompt: Its token ids.
        weights: Of its video.
        longest: The longest answer, in tokens.
        cost: What it takes of the language model, as `Costs` counts it.
    """

    def __init__(
        self,
        service: Service,
        asked: ChatRequest,
        prompt: list[int],
        weights: PerceptualWeights,
        longest: int,
        cost: dict[str, Any],
    ) -> None:
        self._engine: Engine = service.engine
        self._metrics, self._cost = service.metrics, cost
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        generator = torch.Generator()
        if asked.seed is None:
            generator.seed()
        else:
            generator.manual_seed(asked.seed % 2**63)
        self.question = Question(
            prompt=prompt,
            weights=weights,
            temperature=asked.temperature or 0.0,
            top_p=1.0 if asked.top_p is None else asked.top_p,
            generator=generator,
            most=longest,
            stop=asked.stops,
            tell=self._tell,
        )
        self._began = 0.0
        self._waits = True  # for the first piece

    def start(self) -> None:
        """Let it wait for its turn.

        Raises:
            Busy: Too many wait already.
        """
        self._began = monotonic()
        self._engine.submit(self.question)

    async def next(self) -> str | Done:
        """Wait for the next piece of text, or the end.

        Raises:
            Exception: The answer failed.
        """
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        if self._waits:
            self._metrics.first_token_seconds.observe(monotonic() - self._began)
            self._waits = False
        if isinstance(event, Done):
            self._metrics.prompt_tokens.inc(len(self.question.prompt))
            self._metrics.generated_tokens.inc(event.tokens)
        return event

    async def whole(self) -> tuple[str, Done]:
        """Wait for all of it.

        Raises:
            Exception: The answer failed.
        """
        text = ""
        while not isinstance(event := await self.next(), Done):
            text += event
        return text, event

    def usage(self, done: Done) -> dict[str, Any]:
        """Count its tokens, and what they cost."""
        cost = {"first_token_seconds": round(self.question.first - self._began, 4), **self._cost}
        return usage(len(self.question.prompt), done.tokens, done.visual_tokens, cost)

    def _tell(self, event: Event) -> None:
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop has ended, and with it who asked
            self.question.cancelled = True


async def _seen(service: Service, source: Url | str) -> tuple[str, PerceptualWeights]:
    """Return a video's id and weights, having looked at it if need be."""
    try:
        key = source if isinstance(source, str) else (await service.seeing.see_url(source.url)).key
        kept = service.library.at_hand(key)
        if kept is None:
            kept = await asyncio.to_thread(service.library.weights, key)
        return key, kept
    except StoreError as error:
        if not isinstance(source, str):
            raise
        raise Refusal(
            404, f"no video {source[:40]!r} was seen here", code="video_not_found", param="video"
        ) from error


async def _unless_gone(request: Request, wanted: Coroutine[Any, Any, _T]) -> _T:
    """Wait for something, unless the client goes away meanwhile.

    Raises:
        Refusal: It did.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    work, leaving = asyncio.create_task(wanted), asyncio.create_task(gone())
    try:
        await asyncio.wait([work, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Refusal(GONE, "the client is gone")
        return await work
    finally:
        work.cancel()
        leaving.cancel()


async def _pieces(
    answer: Answer, reply: Reply, event: str | Done, *, counted: bool
) -> AsyncIterator[str]:
    """Yield an answer as server-sent events; closing it gives the answer up."""
    try:
        yield _event(reply.piece({"role": "assistant", "content": ""}))
        while not isinstance(event, Done):
            yield _event(reply.piece({"content": event}))
            event = await answer.next()
        yield _event(reply.piece({}, event.reason))
        if counted:
            yield _event(reply.counts(answer.usage(event)))
        yield "data: [DONE]\n\n"
    except Exception as error:  # the status is sent already
        yield _event(body(as_refusal(error)))
    finally:
        answer.question.cancelled = True


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
