"""The decoding process: `python -m vipe.serving.server.decoder`, which a server starts and may end.

It reads requests from stdin, a line of JSON each, and writes records to stdout: a tag of one byte
and what belongs to it, in fixed sizes that the server knows beforehand. Nothing of it is unpickled.

    R  ready, once
    L  length   the video's seconds, one double
    F  frame    its second, one double, and its pixels, 3 · size · size bytes
    E  end
    X  error    the text's length, two bytes, and the text

What a file states of itself is held against the limits before any of it is decoded.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
from PIL import Image

from vipe.errors import VideoError
from vipe.frames import Uniform, iter_frames, probe
from vipe.frames.pictures import identify

READY, LENGTH, FRAME, END, ERROR = b"R", b"L", b"F", b"E", b"X"
NUMBER, SHORT = struct.Struct("<d"), struct.Struct("<H")
LONGEST_TEXT = 2000

PILLOW_PLAYS = ("WEBP", "TIFF", "MPO")  # other animations go to FFmpeg

# Self-contained formats. A playlist (HLS, DASH, ffconcat, SDP) would have FFmpeg open what it
# names: other files of this machine, or addresses.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,apng,flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,"
    "asf,ogg,ivf,mjpeg,mxf,webp,webp_pipe"
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One file to decode.

    Attributes:
        path: Where it lies.
        frames: How many to sample evenly.
        size: Pixels a side of what comes out.
        pixels: Of one frame, at most.
        most_frames: In the whole video, at most.
        seconds: Its length, at most.
        cpu_seconds: What it may take.
    """

    path: str
    frames: int
    size: int
    pixels: int
    most_frames: int
    seconds: float | int
    cpu_seconds: float | int


def check(job: Job) -> None:
    """Hold what a file's header states against the limits.

    Raises:
        VideoError: It is above one, is no video or picture, or is of a format that names others.
    """
    name = Path(job.path)
    with name.open("rb") as stream:
        picture = identify(stream, str(name))
        if picture is not None:
            _check(name, job, picture.size, getattr(picture, "n_frames", 1), 0.0)
            if not getattr(picture, "is_animated", False) or picture.format in PILLOW_PLAYS:
                return
    try:
        with av.open(
            f"file:{name}",
            options={"format_whitelist": FORMATS, "protocol_whitelist": "file"},
            metadata_errors="ignore",
        ) as container:
            for video in container.streams.video:
                seconds = max(
                    (container.duration or 0) / av.time_base,
                    float((video.duration or 0) * (video.time_base or 0)),
                )
                frames = video.frames or round(seconds * float(video.average_rate or 0))
                _check(name, job, (video.width, video.height), frames, seconds)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"{name} is not a video or picture that can be read") from error


def _check(name: Path, job: Job, size: tuple[int, int], frames: int, seconds: float | int) -> None:
    for what, has, limit in (
        ("pixels a frame", size[0] * size[1], job.pixels),
        ("frames", frames, job.most_frames),
        ("seconds", seconds, job.seconds),
    ):
        if has > limit:
            raise VideoError(f"{name} has {has:.10g} {what}, more than the {limit:.10g} allowed")


def decode(job: Job, out: BinaryIO) -> None:
    """Write a file's frames as records, as many as are sampled.

    Raises:
        VideoError: It cannot be read, or is above a limit.
    """
    check(job)
    length = probe(job.path).duration
    if length > job.seconds:  # measured, where the header does not state it
        raise VideoError(f"{job.path} has {length:.10g} seconds, more than {job.seconds:.10g}")
    out.write(LENGTH + NUMBER.pack(length))
    for second, pixels in iter_frames(job.path, Uniform(job.frames), size=job.size):
        out.write(FRAME + NUMBER.pack(second) + pixels.numpy().tobytes())
        out.flush()
    out.write(END)


def confine(memory: int) -> None:
    """Take from this process what decoding does not need: files to write, memory beyond measure."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = Path("/proc/self/statm")
    if pages.exists():
        now = int(pages.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow(cpu_seconds: float | int) -> None:
    """Let the system end this process after so much more work, though the server be gone."""
    try:
        import resource
    except ImportError:
        return
    spent = sum(os.times()[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent + cpu_seconds) + 1, hard))


def main() -> None:
    """Decode what stdin asks for, until it ends."""
    # What libraries print must not get between the records.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    warnings.simplefilter("ignore")
    av.logging.set_level(None)
    confine(int(sys.argv[1]))
    out.write(READY)
    out.flush()
    for line in sys.stdin.buffer:
        job = Job(**json.loads(line))
        Image.MAX_IMAGE_PIXELS = job.pixels
        allow(job.cpu_seconds)
        try:
            decode(job, out)
        except VideoError as error:
            _fail(out, str(error))
        except Exception as error:  # whatever a hostile file brings about is the file's fault
            _fail(out, f"{job.path} cannot be read: {type(error).__name__}")
        out.flush()


def _fail(out: BinaryIO, text: str) -> None:
    encoded = text.encode(errors="replace")[:LONGEST_TEXT]
    out.write(ERROR + SHORT.pack(len(encoded)) + encoded)


if __name__ == "__main__":
    main()
