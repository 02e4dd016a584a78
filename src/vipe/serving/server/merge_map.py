"""What the merge made of a video: its frames as pictures, and which token each patch went into.

It is made while a video is looked at, where somebody wants to watch that, and is kept in memory for
a while: nothing of it is needed to answer.
"""

from __future__ import annotations

import io
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from vipe.frames import Frames
from vipe.merging import VisualTokens

MOST_FRAMES = 256  # that a map shows; of a video of more, every second, third … frame
_QUALITY = 80  # of the pictures, as JPEG: some eight kB each at 224 pixels a side

Progress = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MergeMap:
    """The merge of one video.

    Attributes:
        pictures: The frames as the model saw them, JPEG.
        seconds: When each is shown.
        every: Which of the frames that were looked at are here: each, every second …
        assignment: `(frames, patches)` int32, the token of each patch, row by row.
        size: `(tokens,)`, patches that each token stands for, of all frames.
        centre: `(tokens, 3)`, their mean (second, y, x).
    """

    pictures: list[bytes]
    seconds: list[float]
    every: int
    assignment: np.ndarray
    size: np.ndarray
    centre: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        arrays = (self.assignment, self.size, self.centre)
        return sum(map(len, self.pictures)) + sum(array.nbytes for array in arrays)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, without the pictures."""
        return {
            "object": "video.map",
            "grid": math.isqrt(self.assignment.shape[1]),
            "seconds": [round(second, 3) for second in self.seconds],
            "every": self.every,
            "assignment": self.assignment.tolist(),
            "size": self.size.astype(int).tolist(),
            "centre": self.centre.round(4).tolist(),
        }


class Looking:
    """A `vipe.watching.Witness` of one video: tells how it goes on, and makes its map.

    Args:
        frames: How many are to be sampled, at most.
        tell: Is called with what is going on, from the threads that do it; it must return at once.

    Attributes:
        map: The merge, once it is done.
    """

    def __init__(self, frames: int, tell: Callable[[Progress], None]) -> None:
        self.map: MergeMap | None = None
        self._of, self._tell = frames, tell
        self._every = math.ceil(frames / MOST_FRAMES)
        self._pictures: list[bytes] = []
        self._seconds: list[float] = []
        self._decoded = 0

    def decoding(self, pieces: Iterable[Frames]) -> Iterator[Frames]:
        """Pass frames on as they are decoded; each piece is one frame."""
        self._pictures, self._seconds, self._decoded = [], [], 0
        self._say("decoding", 0)
        for piece in pieces:
            if self._decoded % self._every == 0:
                self._pictures.append(_jpeg(piece))
                self._seconds.append(piece.seconds.item())
            self._decoded += 1
            if not piece.duration:  # a picture
                self._of = self._decoded
            self._say("decoding", self._decoded)
            yield piece
        if self._decoded != self._of:  # a short video has fewer
            self._of = self._decoded
            self._say("decoding", self._decoded)

    def encoded(self, frames: int) -> None:
        """So many frames are encoded."""
        self._say("encoding", frames)

    def merged(self, tokens: VisualTokens) -> None:
        """That is what the merge left."""
        assert tokens.assignment is not None
        patches = tokens.assignment.shape[1] // self._decoded
        of_frames = tokens.assignment[0].view(self._decoded, patches)[:: self._every]
        self.map = MergeMap(
            pictures=self._pictures,
            seconds=self._seconds,
            every=self._every,
            assignment=of_frames.cpu().numpy().astype(np.int32),
            size=tokens.size[0].cpu().numpy(),
            centre=tokens.centre[0].cpu().numpy(),
        )
        self._tell({"stage": "merged", "patches": self._decoded * patches, "tokens": tokens.count})

    def _say(self, stage: str, done: int) -> None:
        if done >= self._of or done % math.ceil(self._of / 100) == 0:  # at most some hundred times
            self._tell({"stage": stage, "done": done, "of": self._of})


class Maps:
    """Merge maps by the keys of their videos. For several threads.

    Args:
        room: Bytes to keep; the least lately asked for go first.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: OrderedDict[str, MergeMap] = OrderedDict()
        self._lock = Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._kept

    def keep(self, key: str, made: MergeMap) -> None:
        """Keep a map, for as long as there is room; the last one always."""
        with self._lock:
            self._kept[key] = made
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and self.nbytes > self._room:
                self._kept.popitem(last=False)

    def get(self, key: str) -> MergeMap | None:
        """Return a video's map; None where it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def forget(self, key: str) -> None:
        """Remove a video's map."""
        with self._lock:
            self._kept.pop(key, None)

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return sum(made.nbytes for made in self._kept.values())


def _jpeg(frame: Frames) -> bytes:
    out = io.BytesIO()
    pixels = frame.pixels[0].permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
