"""Stages 1 and 2 together, video → PatchFeatures, clip by clip: what comes before any merge."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from time import perf_counter
from typing import Protocol, runtime_checkable

from vipe.addresses import last_part
from vipe.ahead import read_ahead
from vipe.clips import in_clips
from vipe.encoders import Encoder, PatchFeatures
from vipe.frames import Frames, Sampling
from vipe.pieces import Video, pieces_of
from vipe.visual_tokens import VisualTokens


@runtime_checkable
class Witness(Protocol):
    """Is told how looking at a video goes on, from the thread that looks."""

    def encoded(self, frames: int) -> None:
        """So many frames of it are encoded."""

    def merged(self, tokens: VisualTokens) -> None:
        """That is what the merge left of it; its `assignment` says of which patches."""


class Watch:
    """The patch features of a video in clips; the last may be shorter. To be gone through once.

    A thread decodes ahead while clips are encoded. No more than a clip of frames wait for that, and
    two are held while a clip is put together (more only if frames come in longer pieces, which are
    held whole).

    Args:
        encoder: Encodes the frames.
        video: As of `pieces_of`.
        sampling: As of `pieces_of`.
        clip: Frames of a clip.
        spent: Gets the seconds of "decode" (those that frames were waited for) and "encode", and
            as "see" those that its user took with each clip; None if nobody asks.
        strict: Whether a file that is seen to be cut off gives no frame at all; else the error
            comes after the frames that are left.
        until: The second of the video from which on nothing counts; None for all of it.

    Raises:
        VideoError: The sampling of a live video needs its length.

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
        until: float | None = None,
    ) -> None:
        self.encoder, self.video, self.clip = encoder, video, clip
        self.spent: dict[str, float] = {} if spent is None else spent
        self.frames, self.duration = 0, 0.0
        self._source = pieces_of(video, sampling, encoder.image_size, strict=strict, until=until)
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
            noted["video"] = last_part(self.video)
        return noted
