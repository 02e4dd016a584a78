"""Tiny test videos whose every frame says its own number, so that a test can read it back.

A frame carries its number as eight black or white blocks in its upper half (they survive lossy
codecs and resizing) and a smooth colour ramp in its lower half.
"""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import cycle
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from torch import Tensor

SIZE = (48, 96)
"""Height and width of the frames, unless said otherwise."""


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The frame with this number (0 … 255), (H, W, 3) uint8."""
    height, width = size
    pixels = np.zeros((height, width, 3), np.uint8)
    bits = [number >> bit & 1 for bit in range(8)]
    columns = np.arange(width) * 8 // width
    pixels[: height // 2] = np.array(bits, np.uint8)[columns][None, :, None] * 255
    pixels[height // 2 :, :, 0] = np.linspace(0, 255, width)
    pixels[height // 2 :, :, 2] = np.linspace(0, 255, height - height // 2)[:, None]
    return pixels


def number(pixels: Tensor) -> int:
    """The number that a frame (3, H, W) carries."""
    _, height, width = pixels.shape
    row = pixels[:, height // 8 : height * 3 // 8].float().mean((0, 1))
    blocks = [row[int((i + 0.3) * width / 8) : int((i + 0.7) * width / 8) + 1] for i in range(8)]
    return sum((block.mean().item() > 127) << bit for bit, block in enumerate(blocks))


def video(
    path: Path,
    *,
    frames: int = 30,
    rate: int = 30,
    milliseconds: list[int] | None = None,
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    key_every: int = 12,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    matrix: list[int] | None = None,
    start: float = 0.0,
    sound: float = 0.0,
    cover: bool = False,
) -> Path:
    """Render a video; the name's suffix says the container.

    Args:
        path: Where.
        frames: How many (unless `milliseconds` says).
        rate: Frames a second.
        milliseconds: When each frame is shown, for a variable frame rate.
        size: Height and width as stored.
        codec: FFmpeg's name for the encoder.
        pixel_format: FFmpeg's name.
        key_every: Frames from one key frame to the next.
        options: For the encoder.
        container: For the container.
        matrix: The display matrix, nine numbers as stored in the file.
        start: Seconds by which all times are late.
        sound: Seconds of silence beside it.
        cover: Attach a cover picture, before the video stream.
    """
    times = (
        [round(1000 * i / rate) for i in range(frames)] if milliseconds is None else milliseconds
    )
    clock = Fraction(1, rate) if milliseconds is None else Fraction(1, 1000)
    with av.open(str(path), "w", options=container or {}) as out:
        if cover:
            image = out.add_stream("png", rate=1)
            image.width, image.height, image.pix_fmt = 32, 32, "rgb24"
            image.disposition = av.stream.Disposition.attached_pic
        stream: Any = out.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = clock
        stream.codec_context.gop_size = key_every
        if matrix is not None:
            stream.set_display_matrix(matrix)
        silence = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        if cover:
            blank = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 77, np.uint8))
            out.mux(image.encode(blank) + image.encode())
        for i, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(i % 256, size))
            frame.pts = round((time / 1000 + start) / clock)
            frame.time_base = clock
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if silence is not None:
            _add_silence(out, silence, sound)
    return path


def sound(path: Path, *, seconds: float = 1.0, cover: bool = False) -> Path:
    """Render a file without a video stream (mp4: AAC), with a cover picture if wanted."""
    with av.open(str(path), "w") as out:
        silence = out.add_stream("aac", rate=16000, layout="mono")
        if cover:
            image = out.add_stream("png", rate=1)
            image.width, image.height, image.pix_fmt = 32, 32, "rgb24"
            image.disposition = av.stream.Disposition.attached_pic
            out.mux(image.encode(av.VideoFrame.from_ndarray(picture(7, (32, 32)))) + image.encode())
        _add_silence(out, silence, seconds)
    return path


def cut(path: Path, share: float) -> Path:
    """Cut a file off after this share of its bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def _add_silence(out: Any, stream: Any, seconds: float) -> None:
    for start in range(0, int(seconds * 16000), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        out.mux(stream.encode(frame))
    out.mux(stream.encode())


def photographs(path: Path, names: Sequence[str]) -> Path:
    """A tar of captioned photographs in plain colours, `NAME.jpg` and `NAME.json`."""
    captions = ["A dog runs on the grass .", "Two men sit on a bench ."]
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, colour in zip(names, cycle(["green", "navy", "brown"]), strict=False):
            picture = io.BytesIO()
            Image.new("RGB", (80, 60), colour).save(picture, "JPEG")
            text = json.dumps({"captions": captions}).encode()
            for suffix, content in ((".jpg", picture.getvalue()), (".json", text)):
                member = tarfile.TarInfo(name + suffix)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


@contextmanager
def served(content: bytes, share: float = 1.0) -> Iterator[str]:
    """Serve some bytes on loopback, of which only the first share comes; gives host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: int(len(content) * share)])

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
