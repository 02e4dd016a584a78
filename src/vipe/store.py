"""Beside the flow: a folder of seen videos, each seen once, with what is known of them.

    STORE/KEY/           an adapter; the notes in its safetensors header say what of, and by whom
    STORE/.vipe/lock     held by those who write, so that nobody takes their work for a leftover
    STORE/.vipe/work/    what is being written

The entries are the index: there is nothing beside them that could disagree. An entry appears by one
rename, when it is whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vipe.entry import Entry
from vipe.errors import StoreError
from vipe.locking import locked

if TYPE_CHECKING:
    from vipe.model import ViPE
    from vipe.seer import Seer
    from vipe.weights import PerceptualWeights

_log = logging.getLogger(__name__)

LAYOUT = 1  # of the keys and notes; a change of what they mean raises it
_KEY = re.compile(r"[0-9a-f]{20}")


class Store:
    """A folder of seen videos. Several processes may use it at once.

    Iteration gives the entries in the order in which they were seen.

    Args:
        folder: Where; it is made when the first video is seen.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._private = self.folder / ".vipe"
        self._tidied = False

    def see(
        self,
        model: Seer | ViPE | str | os.PathLike[str] | None,
        video: str | os.PathLike[str],
        *,
        frames: int | None = None,
        merge_ratio: float | None = None,
    ) -> Entry:
        """Return the entry of a video, looking at it if this model has not yet, in this way.

        Args:
            model: Who looks. For many videos give a `Seer`, else each call hashes the model, and
                loads one that is given by its name.
            video: A video, a picture or a folder of pictures.
            frames: How many to sample evenly; the model's number unless given.
            merge_ratio: Share of tokens merged away; the model's unless given.

        Raises:
            VideoError: It cannot be read.
            ModelError: The model is missing or damaged.
            StoreError: The store cannot be written.
            ValueError: `merge_ratio` is not at least 0 and below 1.
        """
        from vipe.frames import fingerprint
        from vipe.seer import Seer

        seer = model if isinstance(model, Seer) else Seer.of(model)
        what = _what(seer, fingerprint(video), frames, merge_ratio)
        self._tidy()
        if (known := self._read(_key(what))) is not None:
            return known
        self._check_writable()
        seen = seer.see(video, frames=int(what["sampled"]), merge_ratio=float(what["merge_ratio"]))
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        notes = {**seen.metadata, **what, "model": seer.name, "seen": now}
        self._write(_key(what), replace(seen, metadata=notes))
        return self.get(_key(what))

    def find(
        self,
        seer: Seer,
        video_digest: str,
        *,
        frames: int | None = None,
        merge_ratio: float | None = None,
    ) -> Entry | None:
        """Return the entry that `see` would return without looking; None where it would look.

        Args:
            seer: Who would look.
            video_digest: The video's fingerprint.
            frames: As of `see`.
            merge_ratio: As of `see`.
        """
        return self._read(_key(_what(seer, video_digest, frames, merge_ratio)))

    def forget(self, key: str) -> None:
        """Remove an entry.

        Raises:
            StoreError: There is none, or the store cannot be written.
        """
        if not _KEY.fullmatch(key) or not (self.folder / key).exists():
            raise StoreError(f"{self.folder}: no such entry {key!r}")
        with self._writing() as place:  # what is renamed to there goes with it
            (self.folder / key).rename(place / key)

    def get(self, key: str) -> Entry:
        """Return an entry by its key.

        Raises:
            StoreError: There is none, or it is damaged.
        """
        entry = self._read(key) if _KEY.fullmatch(key) else None
        if entry is None:
            there = _KEY.fullmatch(key) and (self.folder / key).exists()
            raise StoreError(f"{self.folder}: {'damaged' if there else 'no such'} entry {key!r}")
        return entry

    def __iter__(self) -> Iterator[Entry]:
        try:
            keys = [path.name for path in self.folder.iterdir() if _KEY.fullmatch(path.name)]
        except OSError as error:
            raise StoreError(f"{self.folder}: not a store ({error.strerror})") from error
        if not keys and not self._private.is_dir():
            raise StoreError(f"{self.folder}: not a store, nothing seen is in it")
        entries = []
        for key in keys:
            if (entry := self._read(key)) is not None:
                entries.append(entry)
            else:
                _log.warning("%s is damaged, and left out", self.folder / key)
        return iter(sorted(entries, key=lambda entry: (entry.seen, entry.key)))

    def _read(self, key: str) -> Entry | None:
        return Entry.read(self.folder / key)

    def _write(self, key: str, seen: PerceptualWeights) -> None:
        """Write an entry aside, then rename it; where another process was first, its one stays."""
        with self._writing() as place:
            seen.save(place / key)
            _sync(*(place / key).iterdir(), place / key)
            final = self.folder / key
            if self._read(key) is not None:
                return
            if final.exists():  # damaged: goes away with the place
                final.rename(place / "damaged")
            try:
                (place / key).rename(final)
            except OSError:
                if self._read(key) is None:
                    raise
            _sync(self.folder)

    @contextmanager
    def _writing(self) -> Iterator[Path]:
        """Give a folder of one's own inside of the store, on whose file system a rename is one."""
        place = self._private / "work" / uuid.uuid4().hex
        try:
            with locked(self._private / "lock"):
                try:
                    place.mkdir(parents=True)
                    yield place
                finally:
                    shutil.rmtree(place, ignore_errors=True)
        except OSError as error:
            reason = error.strerror or error
            raise StoreError(f"{self.folder}: the store cannot be written ({reason})") from error

    def _tidy(self) -> None:
        """Remove what killed processes left in the store; once.

        Where there is no store yet none is made: the video may be one that cannot be seen.
        """
        work = self._private / "work"
        if self._tidied or not work.is_dir():
            return
        with suppress(OSError), locked(self._private / "lock", alone=True) as alone:
            for leftover in work.iterdir() if alone else ():
                shutil.rmtree(leftover, ignore_errors=True)
        self._tidied = True

    def _check_writable(self) -> None:
        """Find out before a video is looked at in vain.

        Raises:
            StoreError: The store is no folder, or may not be written.
        """
        folder = self.folder
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"{folder}: exists and is not a folder")
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            raise StoreError(f"{folder}: the store may not be written")


def _what(
    seer: Seer, video_digest: str, frames: int | None, merge_ratio: float | None
) -> dict[str, str]:
    """Return what an entry's key is the hash of: the video, who looks, and how."""
    ratio = seer.config.merging.merge_ratio if merge_ratio is None else merge_ratio
    return {
        "layout": str(LAYOUT),
        "video_digest": video_digest,
        "model_digest": seer.digest,
        "sampled": str(seer.config.frames if frames is None else frames),
        "merge_ratio": repr(float(ratio)),
    }


def _key(what: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:20]


def _sync(*paths: Path) -> None:
    """Bring files and folders to the disk, so that a power cut leaves no empty entry either."""
    for path in paths:
        if path.is_dir() and os.name == "nt":
            continue  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
