"""Files → frames, by a process of its own: the worst that a hostile file can do is to end that.

The process is another program (`vipe.serving.server.decoder`), not a fork; it is given none of the
server's secrets. What it says is read in sizes known beforehand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Lock, Timer
from time import monotonic
from typing import IO

import torch

import vipe
from vipe.errors import VideoError
from vipe.frames import Frames
from vipe.serving.server import decoder
from vipe.serving.server.limits import Limits

# What a Python process needs to start; VIPE_API_KEY and others' secrets stay here.
_ENVIRONMENT = (
    "PATH", "LD_LIBRARY_PATH", "PYTHONHOME", "VIRTUAL_ENV", "HOME", "TMPDIR", "TEMP", "TMP",
    "SYSTEMROOT", "LANG", "LC_ALL", "OMP_NUM_THREADS",
)  # fmt: skip

_START_SECONDS = 300.0  # to import what decodes; not counted as decoding


class Decoder:
    """The decoding process, started anew when it ended; for one file at a time.

    Args:
        limits: What a file may be, and what it may take.
        size: Pixels a side of the frames that come out.
    """

    def __init__(self, limits: Limits, size: int) -> None:
        self.limits, self.size = limits, size
        self._alone = Lock()
        self._closed = self._is_ready = False
        self._process = self._start()

    @property
    def process(self) -> int:
        """The id of the process that is there now."""
        return self._process.pid

    def frames(self, path: Path, name: str, *, frames: int) -> Iterator[Frames]:
        """Yield frames of a file, sampled evenly, as they are decoded.

        Args:
            path: Where it lies.
            name: What errors call it.
            frames: How many.

        Raises:
            VideoError: It is no video, above a limit, or took too long; or the process ended.
        """
        limits = self.limits
        job = decoder.Job(
            path=str(path),
            frames=frames,
            size=self.size,
            pixels=limits.pixels,
            most_frames=limits.frames,
            seconds=limits.seconds,
            # Of all its threads.
            cpu_seconds=limits.decode_seconds * (os.cpu_count() or 1),
        )
        with self._alone:
            reply = _Reply(self._ready(name), limits.decode_seconds, name)
            ended = False
            try:
                reply.ask(job)
                duration = 0.0
                while (tag := reply.read(1)) != decoder.END:
                    if tag == decoder.LENGTH:
                        duration = reply.number()
                    elif tag == decoder.FRAME:
                        yield self._frame(reply, duration)
                    else:
                        text = reply.text() if tag == decoder.ERROR else f"{path} cannot be decoded"
                        ended = tag == decoder.ERROR
                        raise VideoError(text.replace(str(path), name))
                ended = True
            finally:
                if not ended:  # it is in the midst of something
                    self._end()
                    if not self._closed:
                        self._process = self._start()

    def close(self) -> None:
        """End the process."""
        self._closed = True
        self._end()

    def _frame(self, reply: _Reply, duration: float) -> Frames:
        second = reply.number()
        pixels = reply.read(3 * self.size**2)
        return Frames(
            pixels=torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(
                1, 3, self.size, self.size
            ),
            seconds=torch.tensor([second]),
            duration=duration,
        )

    def _ready(self, name: str) -> subprocess.Popen[bytes]:
        if self._closed:
            raise VideoError("the server is about to end")
        if self._process.poll() is not None:
            self._end()
            self._process = self._start()
        if not self._is_ready:
            if _Reply(self._process, _START_SECONDS, name).read(1) != decoder.READY:
                raise VideoError(f"{name} cannot be decoded: the decoder does not start")
            self._is_ready = True
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(Path(vipe.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
        )
        self._is_ready = False
        return subprocess.Popen(
            [sys.executable, "-m", decoder.__name__, str(self.limits.decode_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class _Reply:
    """What the process says of one file, within its time; waiting for the reader does not count."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float | int, name: str) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._left, self._name = process, seconds, name
        self._allowed = seconds
        self._in: IO[bytes] = process.stdin
        self._out: IO[bytes] = process.stdout

    def ask(self, job: decoder.Job) -> None:
        """Send the request."""
        try:
            self._in.write(json.dumps(asdict(job)).encode() + b"\n")
            self._in.flush()
        except OSError as error:
            raise self._died() from error

    def read(self, size: int) -> bytes:
        """Read so many bytes; the process is ended if that takes longer than it has left.

        Raises:
            VideoError: It took too long, or the process ended.
        """
        start = monotonic()
        timer = Timer(max(0.0, self._left), self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            given = self._out.read(size)
        finally:
            timer.cancel()
            self._left -= monotonic() - start
        if len(given) < size:
            raise self._died()
        return given

    def number(self) -> float:
        """Read a number."""
        return float(decoder.NUMBER.unpack(self.read(decoder.NUMBER.size))[0])

    def text(self) -> str:
        """Read a text."""
        (length,) = decoder.SHORT.unpack(self.read(decoder.SHORT.size))
        return self.read(length).decode(errors="replace")

    def _died(self) -> VideoError:
        if self._left <= 0:
            return VideoError(f"{self._name} takes longer than {self._allowed:g} s to decode")
        return VideoError(f"{self._name} cannot be decoded: the decoder ended")
