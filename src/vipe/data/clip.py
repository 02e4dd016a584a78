"""What a data source hands to training: a clip (which frames, when) and what is asked about it.

A clip is made of *shots*. A shot names an entry of frames that is rendered and encoded **once**
(its ``key`` is the cache key), and says which of those frames are shown and at what second. One
photograph rendered once can so be a still of eight frames, or one half of a sequence, at no
further cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from vipe.frames import Frames


@dataclass(frozen=True, kw_only=True, slots=True)
class Shot:
    """Frames of one rendered entry, and when they are seen.

    Attributes:
        key: Names the entry's pixels for ever (the same key, the same pixels).
        index: Which of the entry's frames are shown, in order; repeats are allowed. Empty where
            all are, at their own times: a file's are known once it is decoded.
        seconds: When each is shown, from the clip's start; non-decreasing, as long as `index`.
    """

    key: str
    index: tuple[int, ...] = ()
    seconds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.index) != len(self.seconds):
            raise ValueError(f"{len(self.index)} frames but {len(self.seconds)} times")


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question about a clip.

    Attributes:
        text: What is asked.
        answers: Full answers, each of them right; training draws one.
        kind: What the question is about: "presence", "direction", "caption", …
        accept: For evaluation, words of which any one in an answer makes it right
            ("yes" and "no" must come first). Empty for captions that are scored by references.
        before: The turns of the conversation before it, questions and answers.
        about: The thing whose presence is asked for, as the question names it; else empty.
        seconds: For evaluation, (start, end) of the time that is asked for, of a moment twice the
            same; None where none is.
        length: How long the video is, in seconds, where a time is asked for.
    """

    text: str
    answers: tuple[str, ...]
    kind: str
    accept: tuple[str, ...] = ()
    before: tuple[tuple[str, str], ...] = ()
    about: str = ""
    seconds: tuple[float, float] | None = None
    length: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """A thing that a clip shows, and when and where, as far as that is known.

    Attributes:
        thing: As a question would name it: "a dog".
        start: When it is first seen, as a share of the clip's length.
        end: When it is last seen.
        centre: Where it is on average (y, x), as shares of the frame; None if that is not known.
    """

    thing: str
    start: float = 0.0
    end: float = 1.0
    centre: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A short video and what is asked about it.

    Attributes:
        shots: What is shown, one after another.
        questions: What is asked.
        sightings: What is seen, when and where, where a source knows it; none is no claim.
        cuts: The frames, by number, with which another video begins: each is seen by itself, and
            what is written of them is composed.
        passing: Shots of the same time line that are only recognised: a long video would take too
            long to merge in every step of training. Times are the clip's own; they may lie between
            those of `shots`.
    """

    shots: tuple[Shot, ...]
    questions: tuple[Question, ...]
    sightings: tuple[Sighting, ...] = ()
    cuts: tuple[int, ...] = ()
    passing: tuple[Shot, ...] = ()


@runtime_checkable
class ClipSource(Protocol):
    """A source of clips. All of it is deterministic: the same arguments give the same clip."""

    def __len__(self) -> int:
        """The number of clips of one pass."""
        ...

    def clip(self, index: int, epoch: int = 0) -> Clip:
        """The `index`-th clip; a source may vary it (and its questions) from pass to pass."""
        ...

    def keys(self) -> list[str]:
        """The keys of every entry that any clip of any pass may show."""
        ...

    def render(self, key: str) -> Frames:
        """The pixels of one entry, `(T, 3, H, W)` uint8 of the source's size."""
        ...
