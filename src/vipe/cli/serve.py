"""`vipe serve`: a server that speaks OpenAI's protocol."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from vipe.cli import options, startup
from vipe.errors import ServeError
from vipe.progress import progress

_GRACE = 10  # seconds that open requests have when the server is asked to end


def serve(
    model: options.Model = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Store of seen videos. One that ends with the server unless given.",
            show_default=False,
        ),
    ] = None,
    frames: options.FrameCount = None,
    merge_ratio: options.MergeRatio = None,
    dtype: Annotated[
        options.Dtype, typer.Option(help="What the language model computes in.")
    ] = options.Dtype.float32,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="Where the model is: cpu, cuda, cuda:1 …")
    ] = "cpu",
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="VIPE_API_KEY",
            metavar="KEY",
            help="What clients have to send. Better given by the environment: arguments are seen "
            "by all users of a machine.",
            show_default=False,
        ),
    ] = None,
    allowed_folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Below which file:// URLs may read. Nowhere unless given.",
            show_default=False,
        ),
    ] = None,
    allow_private_addresses: Annotated[
        bool,
        typer.Option(
            "--allow-private-addresses",
            help="Also fetch URLs of this machine and its networks.",
        ),
    ] = False,
    max_batch: Annotated[
        int, typer.Option(metavar="N", min=1, help="Questions that are answered at once.")
    ] = 16,
    max_waiting: Annotated[
        int, typer.Option(metavar="N", min=1, help="Questions that may wait; then 429.")
    ] = 64,
    max_videos: Annotated[
        int,
        typer.Option(metavar="N", min=1, help="Videos that may come in or wait; then 429."),
    ] = 8,
    max_megabytes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of a video, in 2^20 bytes.")
    ] = 256,
    max_megapixels: Annotated[
        float, typer.Option(metavar="X", min=0.0, help="Of a frame, in millions.")
    ] = 40.0,
    max_video_frames: Annotated[
        int, typer.Option(metavar="N", min=1, help="Of a whole video.")
    ] = 500_000,
    max_video_seconds: Annotated[
        float, typer.Option(metavar="S", min=0.0, help="A video's length.")
    ] = 14_400.0,
    decode_seconds: Annotated[
        float, typer.Option(metavar="S", min=0.0, help="What decoding a video may take.")
    ] = 60.0,
    adapter_megabytes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Seen videos kept in memory, in 2^20 bytes.")
    ] = 512,
) -> None:
    """Serve a model to OpenAI's clients.

    /v1/chat/completions answers questions about videos (video_url and image_url parts, as vLLM
    takes them, or the ids of such as were seen), /v1/videos takes uploads and lists what was seen,
    and at / is a page on which to watch a video being seen, and to ask.
    Questions about different videos are answered together. The address goes to stdout when the
    server is ready; Ctrl-C ends it. Needs the extra `serve`: pip install 'vipe[serve]'.
    """
    try:
        import fastapi  # noqa: F401
        import httpcore2  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise ServeError("vipe serve needs its extra: pip install 'vipe[serve]'") from error
    limits: dict[str, Any] = {
        "bytes": max_megabytes * 2**20,
        "pixels": round(max_megapixels * 1e6),
        "frames": max_video_frames,
        "seconds": max_video_seconds,
        "decode_seconds": decode_seconds,
        "waiting": max_waiting,
        "batch": max_batch,
        "videos": max_videos,
        "adapter_bytes": adapter_megabytes * 2**20,
    }
    with (
        _listening(host, port) as listener,
        tempfile.TemporaryDirectory(prefix="vipe-store-") as temporary,
    ):
        with progress() as bar:
            bar.show("loading the model")
            startup.lean_imports()
            import torch

            from vipe.model import ViPE
            from vipe.seer import Seer
            from vipe.serving.server.app import Service, create_app
            from vipe.serving.server.limits import Limits
            from vipe.store import Store

            try:
                torch.empty(0, device=device)
            except (RuntimeError, AssertionError) as error:
                reason = str(error).splitlines()[0]
                raise ServeError(f"the device {device!r} cannot be used: {reason}") from error

            def load(name: str) -> ViPE:
                return ViPE.from_pretrained(name, device=device, dtype=getattr(torch, dtype.value))

            service = Service(
                Seer.named(model, load=load),
                Store(store or temporary),
                limits=Limits(**limits),
                frames=frames,
                merge_ratio=merge_ratio,
                allowed_folder=allowed_folder,
                private_addresses=allow_private_addresses,
            )
        config = uvicorn.Config(
            create_app(service, api_key=api_key or None),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_GRACE,
            server_header=False,
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}"
        print(f"{address}/v1", flush=True)
        print(f"vipe: the page is at {address}/", file=sys.stderr, flush=True)
        # As Ctrl-C: folders of its own are removed.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """Take an address before anything is loaded; connections wait until the server is ready.

    Raises:
        ServeError: It cannot be had.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ServeError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}"
        ) from error
