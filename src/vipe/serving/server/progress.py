"""An upload in view: how looking at a video goes on, as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from vipe.serving.server.merge_map import Looking, Progress
from vipe.serving.server.refusals import as_refusal, body
from vipe.serving.server.schema import video_object

_working: set[asyncio.Task[None]] = set()  # the event loop itself holds none

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from vipe.serving.server.app import Service
    from vipe.serving.server.spool import SpoolFile


async def told(
    request: Request, received: AbstractAsyncContextManager[SpoolFile]
) -> StreamingResponse:
    """Receive a video and look at it, telling how that goes on from when it has come.

    It is looked at to the end, also where the client goes away meanwhile.

    Args:
        request: The upload.
        received: Gives its file, for as long as it is looked at.

    Raises:
        Exception: The video did not come as it should: that has a status of its own.
    """
    service: Service = request.app.state.service
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Progress | Exception] = asyncio.Queue()

    def tell(event: Progress) -> None:
        try:
            loop.call_soon_threadsafe(events.put_nowait, event)
        except RuntimeError:  # the loop has ended, and with it who listened
            return

    async def look() -> None:
        try:
            async with received as file:
                tell({"stage": "received", "bytes": file.size})
                looking = Looking(service.library.sampled, tell)
                entry = await service.seeing.see(file, looking)
            tell({"stage": "seen", "video": video_object(entry)})
        except Exception as error:
            loop.call_soon(events.put_nowait, error)

    work = asyncio.create_task(look())
    _working.add(work)
    work.add_done_callback(_working.discard)
    try:
        first = await events.get()
    except asyncio.CancelledError:
        work.cancel()
        raise
    if isinstance(first, Exception):
        raise first
    return StreamingResponse(_events(events, first), media_type="text/event-stream")


async def _events(
    events: asyncio.Queue[Progress | Exception], event: Progress
) -> AsyncIterator[str]:
    yield _line(event)
    while event["stage"] != "seen":
        got = await events.get()
        if isinstance(got, Exception):  # the status is sent already
            yield _line(body(as_refusal(got)))
            return
        event = got
        yield _line(event)


def _line(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"
