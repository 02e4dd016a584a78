"""Chats whose turns have parts, as transformers and OpenAI write them → words and videos."""

from __future__ import annotations

import base64
import binascii
import io
import os
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.request import urlopen

import torch
from PIL import Image

from vipe.addresses import without_secrets
from vipe.chat import Message
from vipe.encoders.encoder import resize
from vipe.errors import VideoError
from vipe.frames import Frames, Rate, Sampling
from vipe.frames.reading import Readable
from vipe.frames.values import ByteStream
from vipe.pieces import pieces_of

Turn = Mapping[str, Any]

_PATIENCE = 60.0  # seconds that an address may take to say anything
_OF_PNG = ("1", "L", "LA", "P", "RGB", "RGBA")  # modes of pictures that it keeps as they are

# Where a part says what it shows, by its type; "…_url" are OpenAI's.
_SOURCES = {
    "video": ("video", "path", "url"),
    "image": ("image", "path", "url", "base64"),
    "video_url": ("video_url",),
    "image_url": ("image_url",),
}


class Conversation(NamedTuple):
    """The words of a chat, turn by turn, and what it is about, in order."""

    turns: list[Message]
    shown: list[Any]


def read(conversation: Sequence[Turn]) -> Conversation:
    """Part a chat into words and videos; a turn's texts are joined by line breaks.

    Raises:
        ValueError: A part is of another type.
    """
    turns: list[Message] = []
    shown: list[Any] = []
    for turn in conversation:
        content = turn.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        words = []
        for part in parts:
            kind = part["type"]
            if kind == "text":
                words.append(part["text"])
            elif kind in _SOURCES:
                shown.extend(_source(part, key) for key in _SOURCES[kind] if key in part)
            else:
                raise ValueError(f"a part of a turn is text, video or image, got {kind!r}")
        turns.append(Message(role=turn["role"], content="\n".join(words)))
    return Conversation(turns, shown)


def look(video: Any, sampling: Sampling, side: int) -> Frames:
    """Decode what a video, picture or address shows, as `ViPE.see` does.

    Args:
        video: A path, an address, an open binary file, a picture of Pillow's, or `Frames`.
        sampling: Which frames; of no effect on `Frames`.
        side: Pixels a side of the squares that frames become.

    Raises:
        VideoError: It cannot be read, or is none of these.
    """
    if isinstance(video, Image.Image):
        video = _as_file(video)
    elif isinstance(video, str) and video.startswith(("http://", "https://")):
        if not isinstance(sampling, Rate):  # else it is read as it comes
            video = _fetched(video)
    elif not isinstance(video, str | os.PathLike | ByteStream | Frames):
        raise VideoError(
            f"a video is a path, an address, a binary file, a picture or vipe.Frames, "
            f"not a {type(video).__name__}"
        )
    pieces = list(pieces_of(video, sampling, side))
    return Frames(
        pixels=torch.cat([resize(piece.pixels, side).byte() for piece in pieces]),
        seconds=torch.cat([piece.seconds for piece in pieces]),
        duration=max(piece.duration for piece in pieces),
    )


def _source(part: Turn, key: str) -> Any:
    value = part[key]
    if key.endswith("_url"):  # a mapping with the address, or the address
        value = value["url"] if isinstance(value, Mapping) else value
    if key == "base64" or (isinstance(value, str) and value.startswith("data:")):
        try:
            return io.BytesIO(base64.b64decode(value.rpartition(",")[2], validate=True))
        except binascii.Error as error:
            raise VideoError(f"a picture in base64 cannot be read: {error}") from error
    return value


def _as_file(picture: Any) -> Readable:
    """Write a picture of Pillow's as a file in memory: one way of reading for all."""
    file = io.BytesIO()
    plain = picture if picture.mode in _OF_PNG else picture.convert("RGB")
    plain.save(file, "PNG", exif=picture.getexif())
    file.seek(0)
    return file


def _fetched(address: str) -> Readable:
    try:
        with urlopen(address, timeout=_PATIENCE) as answer:
            return io.BytesIO(answer.read())
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise VideoError(f"{without_secrets(address)}: cannot be fetched ({reason})") from error
