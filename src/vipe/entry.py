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
        path: The adapter's folder.
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

    path: Path
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
        return self.path.name

    def load(self) -> PerceptualWeights:
        """Read what was seen.

        Raises:
            AdapterError: It is damaged.
        """
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
            return cls(
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
        except (OSError, ValueError, KeyError, SafetensorError):
            return None
