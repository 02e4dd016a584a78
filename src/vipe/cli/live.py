"""How a command looks at a video as a stream: what is live, and files of which that is asked."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vipe.addresses import is_live, last_part, without_secrets
from vipe.errors import ModelError, VideoError

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights

STDIN = "-"
_FOREVER = 1e18  # seconds


@dataclass(frozen=True, kw_only=True)
class Look:
    """How videos are looked at.

    Attributes:
        frames: How many frames are sampled evenly; None for the model's number.
        merge_ratio: Share of tokens merged away; None for the model's.
        rate: Frames a second, in place of `frames`.
        until: The second at which to end.
        follow: For a file that is being written: seconds without growth after which it is whole.
        every: Seconds from one adapter to the next.

    Raises:
        BadParameter: Both `frames` and `rate` are given.
    """

    frames: int | None = None
    merge_ratio: float | None = None
    rate: float | None = None
    until: float | None = None
    follow: float | None = None
    every: float | None = None

    def __post_init__(self) -> None:
        if self.frames is not None and self.rate is not None:
            raise typer.BadParameter("give either --frames or --rate")

    def streams(self, name: str) -> bool:
        """Whether a video is seen as a stream: it is live, or some option asks for it."""
        asked = (self.rate, self.until, self.follow, self.every)
        return comes_once(name) or any(value is not None for value in asked)

    def see(
        self, model: Any, name: str, *, seconds: dict[str, float] | None = None
    ) -> Iterator[PerceptualWeights]:
        """Look at a video as a stream, and note its name; see `ViPE.see_stream`.

        Raises:
            VideoError: It cannot be read and nothing was seen of it.
            ModelError: The model reads tokens.
        """
        from vipe.frames import Rate

        if not hasattr(model, "see_stream"):
            raise ModelError(f"{shown(name)}: a model that reads tokens cannot see a stream")
        if self.frames is not None and (comes_once(name) or self.follow is not None):
            raise VideoError(f"{shown(name)}: its length is not known: give --rate, not --frames")
        for seen in model.see_stream(
            self._opened(name),
            every=self.every or _FOREVER,
            frames=self.frames if self.rate is None else Rate(self.rate),
            merge_ratio=self.merge_ratio,
            until=self.until,
            seconds=seconds,
        ):
            yield replace(seen, metadata=seen.metadata | {"video": last_part(shown(name))})

    def _opened(self, name: str) -> Any:
        if name == STDIN:
            if sys.stdin.isatty():
                raise VideoError("-: no video comes from a terminal; pipe one in")
            return sys.stdin.buffer
        if self.follow is None or is_live(name):
            return name
        from vipe.frames.following import Following

        return Following(name, self.follow)


def comes_once(name: str) -> bool:
    """Whether a video is live: stdin, or what its name says."""
    return name == STDIN or is_live(name)


def shown(name: str) -> str:
    """Return a video's name for a message."""
    return "stdin" if name == STDIN else without_secrets(name)


def stem(name: str) -> str:
    """Return what a folder for a video is called."""
    if name == STDIN:
        return "stdin"
    if is_live(name):
        last = last_part(name)
        return Path(last).stem or last
    path = Path(name)
    return (path.resolve() if path.is_dir() else path.with_suffix("")).name


def paths_of(names: Sequence[str], look: Look) -> list[Path]:
    """Return the names as paths, where all of them are files or folders.

    Raises:
        BadParameter: One is live, or is to be looked at as a stream.
    """
    for name in names:
        if look.streams(name):
            raise typer.BadParameter(
                f"{shown(name)}: a store keeps whole files; give --output for a stream"
            )
    return [Path(name) for name in names]
