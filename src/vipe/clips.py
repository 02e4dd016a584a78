"""Between stages 1 and 2: frames as they come, in pieces of any length → clips of one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch

from vipe.frames import Frames


def in_clips(pieces: Iterable[Frames], count: int) -> Iterator[Frames]:
    """Put pieces of a video together to clips of `count` frames; the last may be shorter.

    The clips depend on the frames alone, not on how they were cut into pieces, except that a clip
    knows of the video's length only what its own pieces say.

    Args:
        pieces: Consecutive frames; none of them may be later than those of the next piece.
        count: Frames of a clip.

    Raises:
        ValueError: The pieces are of different heights or widths.
    """
    clips = Clips(count)
    for piece in pieces:
        yield from clips.push(piece)
    if (rest := clips.rest()) is not None:
        yield rest


class Clips:
    """The clip that is being put together.

    Args:
        count: Frames of a clip.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._parts: list[Frames] = []
        self._room = count

    def push(self, piece: Frames) -> Iterator[Frames]:
        """Add the next piece, and yield the clips that are whole now.

        Raises:
            ValueError: It is of another height or width than the one before.
        """
        start = 0
        while start < len(piece):
            part = slice(start, start + self._room)
            self._parts.append(
                Frames(
                    pixels=piece.pixels[part], seconds=piece.seconds[part], duration=piece.duration
                )
            )
            start += len(self._parts[-1])
            self._room -= len(self._parts[-1])
            if not self._room:
                clip = _joined(self._parts)
                self._parts, self._room = [], self.count
                yield clip

    def rest(self) -> Frames | None:
        """Return the frames of the clip that is not whole yet, and keep them; None without any."""
        return _joined(self._parts) if self._parts else None


def _joined(parts: Sequence[Frames]) -> Frames:
    sizes = {(part.pixels.shape[2], part.pixels.shape[3]) for part in parts}
    if len(sizes) > 1:
        one, other = sorted(sizes)[:2]
        raise ValueError(f"frames of {one} and of {other} pixels in one video")
    seconds = torch.cat([part.seconds for part in parts])
    return Frames(
        pixels=torch.cat([part.pixels for part in parts]),
        seconds=seconds,
        # A video is at least as long as what was seen of it.
        duration=max(*(part.duration for part in parts), seconds[-1].item()),
    )
