"""Videos: /v1/videos takes them in, lists what was seen, forgets it, and gives adapters away."""

from __future__ import annotations

import asyncio
import os
import tarfile
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.datastructures import UploadFile

from vipe.entry import Entry
from vipe.errors import StoreError
from vipe.serving.server import progress
from vipe.serving.server.merge_map import MergeMap
from vipe.serving.server.refusals import Refusal
from vipe.serving.server.schema import video_object
from vipe.serving.server.spool import SpoolFile

if TYPE_CHECKING:
    from vipe.serving.server.app import Service

_PIECE = 2**20

router = APIRouter(prefix="/v1/videos")


@router.post("", status_code=201)
async def upload(request: Request, *, stream: bool = False) -> Response:
    """See an uploaded video: a form with one file, named "file".

    With `stream`, how that goes on is told, and a merge map is made.
    """
    service: Service = request.app.state.service
    if stream:
        return await progress.told(request, _received(request))
    async with _received(request) as file:
        entry = await service.seeing.see(file)
    return JSONResponse(video_object(entry), 201)


@asynccontextmanager
async def _received(request: Request) -> AsyncIterator[SpoolFile]:
    """Receive an uploaded video, which stays for as long as the block."""
    service: Service = request.app.state.service
    async with (
        service.seeing.place(),  # before the body is read: what finds no place costs nothing
        request.form(max_files=1, max_fields=4, max_part_size=1024) as form,
    ):
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Refusal(400, "a form with one file, named 'file', is needed", param="file")
        with service.seeing.spool.file(file.filename or "video") as spooled:
            while piece := await file.read(_PIECE):
                await asyncio.to_thread(spooled.write, piece)
            spooled.finish()
            yield spooled


@router.get("")
async def seen(request: Request) -> dict[str, Any]:
    """List what was seen, the first first."""
    service: Service = request.app.state.service
    entries = await asyncio.to_thread(service.library.entries)
    return {"object": "list", "data": [video_object(entry) for entry in entries]}


@router.get("/{key}")
async def about(key: str, request: Request) -> dict[str, Any]:
    """Say what is known of a video."""
    return video_object(await _entry(request, key))


@router.delete("/{key}")
async def forget(key: str, request: Request) -> dict[str, Any]:
    """Forget a video: its adapter is removed."""
    service: Service = request.app.state.service
    await _entry(request, key)
    await asyncio.to_thread(service.library.forget, key)
    service.maps.forget(key)
    return {"id": key, "object": "video", "deleted": True}


@router.get("/{key}/map")
async def merge_map(key: str, request: Request) -> dict[str, Any]:
    """Tell which token each patch of a video went into, where that was watched."""
    return {"video": key, **_map(key, request).as_json()}


@router.get("/{key}/frames/{number}")
async def frame(key: str, number: int, request: Request) -> Response:
    """Give a frame of a merge map, as the model saw it."""
    pictures = _map(key, request).pictures
    if not 0 <= number < len(pictures):
        raise Refusal(404, f"there is no frame {number} of {len(pictures)}", code="no_frame")
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return Response(pictures[number], media_type="image/jpeg", headers=headers)


@router.get("/{key}/adapter")
async def adapter(
    key: str,
    request: Request,
    archive: Annotated[Literal["zip", "tar"], Query(alias="format")] = "zip",
) -> Response:
    """Give a video's adapter away: a PEFT LoRA folder, as a zip or a tar."""
    entry = await _entry(request, key)
    file = await asyncio.to_thread(_packed, entry, archive)
    return StreamingResponse(
        _pieces(file),
        media_type=f"application/{'zip' if archive == 'zip' else 'x-tar'}",
        headers={
            "Content-Disposition": f'attachment; filename="{key}.{archive}"',
            "Content-Length": str(os.fstat(file.fileno()).st_size),
        },
    )


def _map(key: str, request: Request) -> MergeMap:
    service: Service = request.app.state.service
    if (made := service.maps.get(key)) is None:
        raise Refusal(
            404, f"no merge map of {key[:40]!r} is kept: upload the video again, with stream=true",
            code="map_not_found",
        )  # fmt: skip
    return made


async def _entry(request: Request, key: str) -> Entry:
    service: Service = request.app.state.service
    try:
        return await asyncio.to_thread(service.library.get, key)
    except StoreError as error:
        raise Refusal(
            404, f"no video {key[:40]!r} was seen here", code="video_not_found"
        ) from error


def _packed(entry: Entry, archive: str) -> IO[bytes]:
    """Put an adapter's files into one, below a folder of the entry's name; nothing is compressed.

    Weights hardly shrink.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed when it is sent
    with _folder_of(entry) as folder:
        paths = sorted(folder.iterdir())
        if archive == "zip":
            with zipfile.ZipFile(file, "w") as packed:
                for path in paths:
                    packed.write(path, f"{entry.key}/{path.name}")
        else:
            with tarfile.open(fileobj=file, mode="w") as packed_tar:
                for path in paths:
                    packed_tar.add(path, f"{entry.key}/{path.name}", filter=_nobody)
    file.flush()
    file.seek(0)
    return file


@contextmanager
def _folder_of(entry: Entry) -> Iterator[Path]:
    """Give an adapter's folder, for a while one of this machine where it lies at an address."""
    if isinstance(entry.path, Path):
        yield entry.path
        return
    with tempfile.TemporaryDirectory() as folder:
        entry.load().save(Path(folder) / entry.key)
        yield Path(folder) / entry.key


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out whose file it is on this machine."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE):
            yield piece
