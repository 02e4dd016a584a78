"""Seen videos: those of the store, and above it those that are in memory, ready to be asked."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from vipe.entry import Entry
from vipe.errors import StoreError
from vipe.frames import Frames
from vipe.seer import Seer
from vipe.serving.server.decoding import Decoder
from vipe.serving.server.merge_map import Looking
from vipe.serving.server.spool import SpoolFile
from vipe.store import Store
from vipe.weights import PerceptualWeights


class Library:
    """What one model has seen in one way. For several threads, but `see` for one.

    Args:
        store: Where it is kept.
        seer: Who sees.
        decoder: Decodes what is to be seen.
        frames: How many to sample evenly; the model's number unless given.
        merge_ratio: Share of tokens merged away; the model's unless given.
        room: Bytes of adapters to keep in memory; the least lately asked go first.

    Attributes:
        sampled: How many frames are sampled from a video.
    """

    def __init__(
        self,
        store: Store,
        seer: Seer,
        decoder: Decoder,
        *,
        frames: int | None = None,
        merge_ratio: float | None = None,
        room: int,
    ) -> None:
        self._store, self._seer, self._decoder = store, seer, decoder
        self._frames, self._merge_ratio, self._room = frames, merge_ratio, room
        self.sampled: int = seer.config.frames if frames is None else frames
        self._kept: OrderedDict[str, PerceptualWeights] = OrderedDict()
        self._shared: dict[str, Tensor] = {}  # the A that all of a model's videos have
        self._lock = Lock()

    def known(self, digest: str) -> Entry | None:
        """Return what was seen of a video with this fingerprint; None if it was not seen."""
        return self._store.find(
            self._seer, digest, frames=self._frames, merge_ratio=self._merge_ratio
        )

    def see(self, file: SpoolFile, looking: Looking | None = None) -> Entry:
        """Look at a video, if that was not done already.

        Args:
            file: The video.
            looking: Who watches; for them it is looked at again, where it was seen already.

        Raises:
            VideoError: It cannot be decoded.
            StoreError: The store cannot be written.
        """
        seer = _Apart(self._seer, self._decoder, file.name, looking)
        entry = self._store.see(seer, file.path, frames=self._frames, merge_ratio=self._merge_ratio)
        if looking is not None and looking.map is None:
            seer.see(file.path, frames=entry.sampled, merge_ratio=entry.merge_ratio)
        return entry

    def get(self, key: str) -> Entry:
        """Return an entry by its key.

        Raises:
            StoreError: There is none of this model.
        """
        entry = self._store.get(key)
        if entry.model_digest != self._seer.digest:
            raise StoreError(f"{key} was seen by another model")
        return entry

    def entries(self) -> list[Entry]:
        """List what this model has seen, the first seen first."""
        try:
            entries = list(self._store)
        except StoreError:  # nothing was seen yet
            return []
        return [entry for entry in entries if entry.model_digest == self._seer.digest]

    def at_hand(self, key: str) -> PerceptualWeights | None:
        """Return what was seen of a video if it is in memory, at once."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key]

    def weights(self, key: str) -> PerceptualWeights:
        """Return what was seen of a video, from memory or from the store.

        Raises:
            StoreError: It was not seen by this model.
            AdapterError: The adapter is damaged.
        """
        if (kept := self.at_hand(key)) is not None:
            return kept
        weights = self._sharing(self.get(key).load())
        with self._lock:
            weights = self._kept.setdefault(key, weights)  # another thread may have been first
            self._kept.move_to_end(key)
            while len(self._kept) > 1 and self.kept_bytes > self._room:
                self._kept.popitem(last=False)
        return weights

    @property
    def kept_bytes(self) -> int:
        """Bytes of adapters in memory; what all share is counted once."""
        own = sum(
            part.nbytes
            for kept in self._kept.values()
            for parts in (kept.B.values(), [seen.features for seen in kept.tokens])
            for part in parts
        )
        return own + sum(A.nbytes for A in self._shared.values())

    @property
    def kept(self) -> int:
        """Videos in memory."""
        return len(self._kept)

    def forget(self, key: str) -> None:
        """Remove what was seen of a video; what is being answered about it is answered still.

        Raises:
            StoreError: It was not seen by this model, or cannot be removed.
        """
        self.get(key)
        self._store.forget(key)
        with self._lock:
            self._kept.pop(key, None)

    def _sharing(self, weights: PerceptualWeights) -> PerceptualWeights:
        """Give weights the one A in memory, where theirs is equal: half of the bytes."""
        with self._lock:
            shared = self._shared = self._shared or dict(weights.A)
        same = shared.keys() == weights.A.keys() and all(
            torch.equal(shared[target], A) for target, A in weights.A.items()
        )
        # What sums need is of no use to who answers; two videos are composed from their tokens.
        kept = replace(weights, static=None)
        return replace(kept, A=shared) if same else kept


class _Apart(Seer):
    """The seer, with eyes in another process: it knows frames, and never opens the file."""

    def __init__(
        self, seer: Seer, decoder: Decoder, name: str, looking: Looking | None = None
    ) -> None:
        super().__init__(seer.name, seer.config, seer.digest, lambda: seer.model)
        self._decoder, self._video, self._looking = decoder, name, looking

    def see(
        self, video: str | os.PathLike[str], *, frames: int, merge_ratio: float
    ) -> PerceptualWeights:
        pieces: Iterator[Frames] = self._decoder.frames(Path(video), self._video, frames=frames)
        if self._looking is not None:
            pieces = self._looking.decoding(pieces)
        seen = self.model.see(pieces, merge_ratio=merge_ratio, witness=self._looking)
        return replace(seen, metadata={**seen.metadata, "video": self._video})
