"""Stages 1 and 2 together, video → PatchFeatures, clip by clip: what comes before any merge."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter

import torch

from vipe.ahead import read_ahead
from vipe.clips import in_clips
from vipe.encoders import Encoder, PatchFeatures
from vipe.frames import Frames, Sampling, Uniform, iter_frames, probe
from vipe.frames.reading import Readable
from vipe.frames.values import ByteStream

Video = Readable | Frames


class Watch:
    """The patch features of a video in clips; the last may be shorter. To be gone through once.

    A thread decodes ahead while clips are encoded. No more than a clip of frames wait for that, and
    two are held while a clip is put together (more only if frames come in longer pieces, which are
    held whole).

    Args:
        encoder: Encodes the frames.
        video: A path, an open binary file, `Frames`, or `Frames` that come in pieces.
        sampling: How many frames to sample evenly, or another sampling. Of no effect on frames
            that are already decoded.
        clip: Frames of a clip.
        spent: Gets the seconds of "decode" (those that frames were waited for) and "encode", and
            as "see" those that its user took with each clip; None if nobody asks.
        strict: Whether a file that is seen to be cut off gives no frame at all; else the error
            comes after the frames that are left.

    Attributes:
        frames: How many were seen so far.
        duration: The video's in seconds, as far as it is known.
    """

    def __init__(
        self,
        encoder: Encoder,
        video: Video | Iterable[Frames],
        sampling: int | Sampling,
        *,
        clip: int,
        spent: dict[str, float] | None = None,
        strict: bool = True,
    ) -> None:
        self.encoder, self.video, self.clip = encoder, video, clip
        self.spent: dict[str, float] = {} if spent is None else spent
        self.frames, self.duration = 0, 0.0
        self._source = _pieces(encoder, video, sampling, strict)
        self.spent.update(decode=0.0, encode=0.0, see=0.0)

    def __iter__(self) -> Iterator[PatchFeatures]:
        """Yield the features of clip after clip.

        Raises:
            VideoError: The video cannot be read.
        """
        with closing(self.pieces()) as pieces:
            for frames in in_clips(pieces, self.clip):
                features = self.encode(frames)
                del frames  # else it is held while the next clip is put together
                with self.timed("see"):
                    yield features

    def pieces(self) -> Generator[Frames]:
        """Yield the frames as they come.

        Raises:
            VideoError: The video cannot be read.
        """
        with closing(read_ahead(self._source, self.clip)) as pieces:
            while True:
                with self.timed("decode"):
                    piece = next(pieces, None)
                if piece is None:
                    return
                if len(piece):
                    self.frames += len(piece)
                    self.duration = max(self.duration, piece.duration, piece.seconds[-1].item())
                    yield piece

    def encode(self, frames: Frames) -> PatchFeatures:
        """Encode some of the frames, on the clock."""
        with self.timed("encode"):
            return self.encoder.encode(frames)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the seconds of a block to those spent."""
        start = perf_counter()
        yield
        self.spent[name] += perf_counter() - start

    @property
    def about(self) -> dict[str, str]:
        """What is noted of the video with what was seen of it."""
        noted = {"frames": str(self.frames), "seconds": f"{self.duration:.3f}"}
        if isinstance(self.video, str | os.PathLike):
            noted["video"] = Path(self.video).name
        return noted


def _pieces(
    encoder: Encoder, video: Video | Iterable[Frames], sampling: int | Sampling, strict: bool
) -> Iterable[Frames]:
    if isinstance(video, Frames):
        return [video]
    if isinstance(video, str | os.PathLike | ByteStream):
        return _decoded(encoder, video, sampling, strict)
    return video


def _decoded(
    encoder: Encoder, video: Readable, sampling: int | Sampling, strict: bool
) -> Iterator[Frames]:
    """Yield the sampled frames of a file one by one, as the encoder wants them."""
    chosen = Uniform(sampling) if isinstance(sampling, int) else sampling
    duration = probe(video, strict=strict).duration
    for second, image in iter_frames(video, chosen, size=encoder.image_size, strict=strict):
        yield Frames(pixels=image[None], seconds=torch.tensor([second]), duration=duration)
