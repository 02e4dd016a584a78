"""Training data in files as clips: each record shows videos or pictures, and asks about them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vipe.data.clip import Clip, Question, Shot
from vipe.data.media import Medium
from vipe.errors import DataError, VideoError, ViPEError
from vipe.frames import Frames

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is shown, one after another, and what is asked about it.

    Attributes:
        where: Its place in the data set, which messages name.
        media: One video, or pictures that are shown for a second each.
        questions: With their answers.
    """

    where: str
    media: tuple[Medium, ...]
    questions: tuple[Question, ...]


@dataclass(kw_only=True)
class Records:
    """The records of a data set.

    Attributes:
        name: Of the data set, which messages name.
        good: Those that can be trained on, as far as their rows tell.
        broken: What is wrong with each of the others.
    """

    name: str
    good: list[Record] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def skip(self, reason: str) -> None:
        """Name a row that cannot be trained on."""
        _log.warning("%s: skipped", reason)
        self.broken.append(reason)


class RecordSource:
    """Records as clips (a [`ClipSource`][vipe.data.clip.ClipSource]).

    Args:
        records: What is shown and asked.
        frames: Of a video, evenly spread.
        size: Height and width of rendered frames.

    Raises:
        DataError: No record can be trained on.
    """

    def __init__(self, records: Records, *, frames: int, size: int) -> None:
        self.records, self.frames, self.size = records, frames, size
        self._media: dict[str, Medium] = {}
        # Records of the same video are one clip: what is asked about it fits few rows.
        asked: dict[tuple[str, ...], list[Record]] = {}
        for record in records.good:
            try:
                keys = tuple(f"file/{medium.key}/{frames}" for medium in record.media)
            except VideoError as error:
                records.skip(f"{record.where}: {error}")
                continue
            self._media |= zip(keys, record.media, strict=True)
            asked.setdefault(keys, []).append(record)
        self._clips = [
            Clip(
                shots=tuple(Shot(key=key) for key in keys),
                questions=tuple(question for record in found for question in record.questions),
            )
            for keys, found in asked.items()
        ]
        self._records = list(asked.values())
        self._check()

    def __len__(self) -> int:
        return len(self._clips)

    def clip(self, index: int, epoch: int = 0) -> Clip:
        """The `index`-th video with all that is asked about it; every pass is alike."""
        return self._clips[index]

    def keys(self) -> list[str]:
        """A key for every file that a clip shows."""
        return list(dict.fromkeys(shot.key for clip in self._clips for shot in clip.shots))

    def render(self, key: str) -> Frames:
        """The frames of a file.

        Raises:
            DataError: There is no such file in the data set.
            VideoError: It cannot be read.
        """
        if key not in self._media:
            raise DataError(f"{key}: no file of {self.records.name}")
        return self._media[key].frames(self.frames, self.size)

    def leave_out(self, unread: Mapping[str, ViPEError]) -> None:
        """Leave out the records that show files which cannot be read.

        Raises:
            DataError: None is left.
        """
        left = []
        for clip, found in zip(self._clips, self._records, strict=True):
            faults = [unread[shot.key] for shot in clip.shots if shot.key in unread]
            if faults:
                for record in found:
                    self.records.skip(f"{record.where}: {faults[0]}")
            else:
                left.append((clip, found))
        self._clips, self._records = [clip for clip, _ in left], [found for _, found in left]
        self._check()

    def report(self) -> str | None:
        """Say how many records are skipped; None where none is."""
        broken, good = len(self.records.broken), sum(map(len, self._records))
        if not broken:
            return None
        return f"{self.records.name}: {broken:,} of {broken + good:,} records are skipped"

    def _check(self) -> None:
        if not self._clips:
            broken = self.records.broken
            first = f": {broken[0]}" if broken else ""
            raise DataError(
                f"{self.records.name}: none of {len(broken):,} records can be trained on{first}"
            )


def conversation(turns: Sequence[tuple[str, str]]) -> tuple[Question, ...]:
    """Return a question for each turn of a conversation, which knows of the turns before it."""
    return tuple(
        Question(text=asked, answers=(answer,), kind="conversation", before=tuple(turns[:i]))
        for i, (asked, answer) in enumerate(turns)
    )
