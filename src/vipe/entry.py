"""Beside the flow: one entry of a store, an adapter with notes of what was seen, and how."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One seen video.

    Attributes:
        path: The adapter's folder, or its address.
        video: The file's name when it was seen.
        seconds: The video's length; 0 for a picture.
        frames: How many were seen.
        seen: When.
        model: The name of the model that saw it.
        model_digest: The hash of that model's config and weights.
        video_digest: The hash of the video's bytes.
        sampled: How many frames were asked for.
        merge_ratio: The share of tokens that was merged away.
    """

    path: Path | str
    video: str
    seconds: float
    frames: int
    seen: datetime
    model: str
    model_digest: str
    video_digest: str
    sampled: int
    merge_ratio: float

    @property
    def key(self) -> str:
        """What it is found by: video, model and sampling in 20 hexadecimal digits."""
        return str(self.path).rstrip("/").replace("\\", "/").rpartition("/")[2]

    def load(self) -> PerceptualWeights:
        """Read what was seen.

        Raises:
            AdapterError: It is damaged.
            StoreError: It lies at an address, and cannot be read.
        """
        if isinstance(self.path, str):
            from vipe.remote import load_remote

            return load_remote(self.path)
        from vipe.adapter import load

        return load(self.path)

    @classmethod
    def read(cls, path: Path) -> Entry | None:
        """Read what is known of an entry from its header; None where it is absent or damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
            with safe_open(path / "adapter_model.safetensors", framework="np") as stored:
                notes = stored.metadata() or {}  # opening fails where the file is cut
            return entry_of(path, notes)
        except (OSError, ValueError, KeyError, SafetensorError):
            return None


def entry_of(path: Path | str, notes: dict[str, str]) -> Entry:
    """Make an entry of the notes in its header.

    Raises:
        KeyError: A note is missing.
        ValueError: One is not what it should be.
    """
    return Entry(
        path=path,
        video=notes["video"],
        seconds=float(notes["seconds"]),
        frames=int(notes["frames"]),
        seen=datetime.fromisoformat(notes["seen"]),
        model=notes["model"],
        model_digest=notes["model_digest"],
        video_digest=notes["video_digest"],
        sampled=int(notes["sampled"]),
        merge_ratio=float(notes["merge_ratio"]),
    )
