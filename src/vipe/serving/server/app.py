"""Puts the parts of a server together: one model, its videos, and the routes to them."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vipe import __version__
from vipe.errors import ServeError, ViPEError
from vipe.seer import Seer
from vipe.serving.server import chat, page, videos
from vipe.serving.server.access import Access
from vipe.serving.server.cost import Costs
from vipe.serving.server.decoding import Decoder
from vipe.serving.server.engine import Engine
from vipe.serving.server.fetching import Fetcher
from vipe.serving.server.library import Library
from vipe.serving.server.limits import Limits
from vipe.serving.server.merge_map import Maps
from vipe.serving.server.metrics import Metrics
from vipe.serving.server.refusals import Refusal, handle
from vipe.serving.server.seeing import Seeing
from vipe.serving.server.spool import Spool
from vipe.store import Store


class Service:
    """The parts of a server, which its routes use.

    Args:
        seer: The model.
        store: Where seen videos are kept.
        limits: How much is taken from anyone.
        frames: Frames to sample evenly from a video; the model's number unless given.
        merge_ratio: Share of tokens merged away; the model's unless given.
        allowed_folder: Below which `file:` URLs may read; None for nowhere.
        private_addresses: Whether URLs of addresses that are not public may be fetched.

    Attributes:
        model: The model; its language model is the engine's alone.
        name: What requests call it.
        context: Tokens that the language model reads, prompt and answer together.
        tokenizer: For the event loop alone; the engine has its own.

    Raises:
        ModelError: The model is missing or damaged.
        ServeError: The allowed folder is none.
    """

    def __init__(
        self,
        seer: Seer,
        store: Store,
        *,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        frames: int | None = None,
        merge_ratio: float | None = None,
        allowed_folder: Path | None = None,
        private_addresses: bool = False,
    ) -> None:
        if allowed_folder is not None and not allowed_folder.is_dir():
            raise ServeError(f"{allowed_folder}: no such folder")
        self.model = model = seer.model
        self.name, self.limits, self.created = seer.name, limits, int(time.time())
        self.context = int(getattr(model.language_model.config, "max_position_embeddings", 2**31))
        self.tokenizer = copy.deepcopy(model.tokenizer)
        self.metrics = Metrics()
        self.decoder = Decoder(limits, model.encoder.image_size)
        self.library = Library(
            store, seer, self.decoder,
            frames=frames, merge_ratio=merge_ratio, room=limits.adapter_bytes,
        )  # fmt: skip
        self.costs = Costs(model.language_model, patches=model.encoder.patches)
        self.maps = Maps(limits.map_bytes)
        self._spool = Spool(limits.bytes)
        fetcher = Fetcher(
            limits, allowed_folder=allowed_folder, private_addresses=private_addresses
        )
        self.seeing = Seeing(
            self.library, self._spool, fetcher, self.maps,
            places=limits.videos, metrics=self.metrics,
        )  # fmt: skip
        self.engine = Engine(
            model.language_model,
            model.tokenizer,
            batch=limits.batch,
            waiting=limits.waiting,
            on_step=lambda rows: self.metrics.batch_rows.observe(rows),
        )
        watch = self.metrics.watch
        watch("vipe_waiting_questions", "Questions that wait.", lambda: self.engine.waiting)
        watch("vipe_running_questions", "Questions being answered.", lambda: self.engine.running)
        watch("vipe_open_videos", "Videos received, waiting or looked at.",
              lambda: self.seeing.taken)  # fmt: skip
        watch("vipe_kept_adapters", "Adapters in memory.", lambda: self.library.kept)
        watch("vipe_kept_adapter_bytes", "Their bytes.", lambda: self.library.kept_bytes)
        watch("vipe_kept_map_bytes", "Bytes of merge maps.", lambda: self.maps.nbytes)

    def check_name(self, name: str | None) -> None:
        """Check that a request is for the model that is here.

        Raises:
            Refusal: It is for another.
        """
        if name is not None and name != self.name:
            raise Refusal(
                404, f"the model {name[:80]!r} is not served here, but {self.name!r}",
                code="model_not_found", param="model",
            )  # fmt: skip

    def close(self) -> None:
        """End all threads and the decoding process."""
        self.engine.close()
        self.decoder.close()
        self.seeing.close()
        self._spool.close()


def create_app(service: Service, *, api_key: str | None = None) -> FastAPI:
    """Return the application of a service, which ends with it.

    Args:
        service: What it serves.
        api_key: What requests have to bring; None for nothing.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    # The pages with the API's description load scripts from elsewhere: the description is enough.
    app = FastAPI(
        title="ViPE", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service = service
    app.add_middleware(Access, api_key=api_key, limits=service.limits, metrics=service.metrics)
    for kind in (ViPEError, HTTPException, RequestValidationError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, handle)
    app.include_router(chat.router)
    app.include_router(videos.router)
    app.include_router(page.router(needs_key=api_key is not None))
    app.add_api_route("/v1/models", _models)
    app.add_api_route("/health", _health)
    app.add_api_route("/metrics", _metrics)
    return app


async def _models(request: Request) -> dict[str, Any]:
    """List the one model."""
    service: Service = request.app.state.service
    model = {
        "id": service.name,
        "object": "model",
        "created": service.created,
        "owned_by": "vipe",
        "max_model_len": service.context,
    }
    return {"object": "list", "data": [model]}


async def _health(request: Request) -> JSONResponse:
    """Tell whether answers can be had."""
    service: Service = request.app.state.service
    alive = service.engine.alive
    return JSONResponse({"status": "ok" if alive else "down"}, 200 if alive else 503)


async def _metrics(request: Request) -> Response:
    """Give the figures to Prometheus."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")
