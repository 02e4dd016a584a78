"""Beside the flow: a folder of seen videos, each seen once, with what is known of them.

    STORE/KEY/    an adapter; the notes in its safetensors header say what of, and by whom

The entries are the index: there is nothing beside them that could disagree. An entry appears when
it is whole: how that is done is `vipe.shelf`'s for a local folder, `vipe.remote`'s for an address.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from vipe.entry import Entry
from vipe.errors import StoreError
from vipe.remote import RemoteShelf, is_remote
from vipe.shelf import PRIVATE, LocalShelf, Shelf

if TYPE_CHECKING:
    from vipe.model import ViPE
    from vipe.seer import Seer

_log = logging.getLogger(__name__)

LAYOUT = 1  # of the keys and notes; a change of what they mean raises it
_KEY = re.compile(r"[0-9a-f]{20}")


class Store:
    """A folder of seen videos. Several processes may use it at once.

    Iteration gives the entries in the order in which they were seen.

    Args:
        folder: Where: a folder, or an address that fsspec opens ("s3://bucket/store"). It is made
            when the first video is seen.

    Attributes:
        folder: The same.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder: Path | str
        self._shelf: Shelf
        if is_remote(folder):
            self._shelf = remote = RemoteShelf(str(folder))
            self.folder = remote.folder
        else:
            self.folder = Path(_local(folder))
            self._shelf = LocalShelf(self.folder)

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
        self._shelf.tidy()
        if (known := self._shelf.read(_key(what))) is not None:
            return known
        self._shelf.check_writable()
        seen = seer.see(video, frames=int(what["sampled"]), merge_ratio=float(what["merge_ratio"]))
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        notes = {**seen.metadata, **what, "model": seer.name, "seen": now}
        self._shelf.write(_key(what), replace(seen, metadata=notes))
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
        return self._shelf.read(_key(_what(seer, video_digest, frames, merge_ratio)))

    def forget(self, key: str) -> None:
        """Remove an entry.

        Raises:
            StoreError: There is none, or the store cannot be written.
        """
        if not _KEY.fullmatch(key) or not self._shelf.exists(key):
            raise StoreError(f"{self.folder}: no such entry {key!r}")
        self._shelf.remove(key)

    def get(self, key: str) -> Entry:
        """Return an entry by its key.

        Raises:
            StoreError: There is none, or it is damaged.
        """
        entry = self._shelf.read(key) if _KEY.fullmatch(key) else None
        if entry is None:
            there = _KEY.fullmatch(key) and self._shelf.exists(key)
            raise StoreError(f"{self.folder}: {'damaged' if there else 'no such'} entry {key!r}")
        return entry

    def __iter__(self) -> Iterator[Entry]:
        names = self._shelf.names()
        keys = [name for name in names if _KEY.fullmatch(name)]
        if not keys and PRIVATE not in names:
            raise StoreError(f"{self.folder}: not a store, nothing seen is in it")
        entries = []
        for key in keys:
            if (entry := self._shelf.read(key)) is not None:
                entries.append(entry)
            else:
                _log.warning("%s/%s is damaged, and left out", self.folder, key)
        return iter(sorted(entries, key=lambda entry: (entry.seen, entry.key)))


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


def _local(folder: str | os.PathLike[str]) -> str:
    """Return the path of a folder that is given as one, or as a file: address."""
    text = os.fspath(folder)
    return url2pathname(urlsplit(text).path) if text.lower().startswith("file://") else text
