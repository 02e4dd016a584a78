"""Training, step 1: the frozen encoder's features, computed once for every entry and kept.

An entry (a photograph, a scene) is named by its key; the same key always has the same pixels, so
its features are computed once for each encoder. They are written in shards of a few hundred
entries, each under a temporary name and then renamed: a run that is stopped loses at most the
shard it was at.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vipe.data.clip import Clip, ClipSource
from vipe.encoders import Encoder, encoder_config_to_dict
from vipe.errors import ViPEError
from vipe.frames import Frames
from vipe.training.ahead import made_ahead

_log = logging.getLogger(__name__)


class FeatureStore:
    """The features of every entry that was encoded, by key: `(T, N, C)` in half precision.

    Args:
        folder: Where the shards of one encoder lie; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._shards: list[Tensor] = []
        self._places: dict[str, tuple[int, int, int]] = {}
        self._seconds: dict[str, list[float]] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                self._read(path)
            except (SafetensorError, OSError) as error:
                _log.warning("%s is damaged (%s): encoding its entries again", path, error)
                path.unlink(missing_ok=True)

    @classmethod
    def for_encoder(cls, cache: Path, encoder: Encoder) -> FeatureStore:
        """Open the store of one encoder below `cache`: another encoder has another folder."""
        config = encoder_config_to_dict(encoder.config)
        for name in ("dtype", "batch_size"):
            config.pop(name, None)
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
        return cls(cache / "features" / digest[:12])

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, key: str) -> Float[Tensor, "frames patches channels"]:
        shard, start, count = self._places[key]
        return self._shards[shard][start : start + count]

    def clip(self, clip: Clip) -> tuple[Float[Tensor, "frames patches channels"], list[float]]:
        """Return the features of a clip's frames, `(T, N, C)`, and their seconds."""
        features: list[Tensor] = []
        seconds: list[float] = []
        for shot in clip.shots:
            if shot.index:
                features.append(self[shot.key][list(shot.index)])
                seconds += shot.seconds
            else:
                features.append(self[shot.key])
                seconds += _following(seconds, self._seconds[shot.key])
        return torch.cat(features), seconds

    def passing(
        self, clip: Clip
    ) -> tuple[Float[Tensor, "frames patches channels"], list[float]] | None:
        """Return the same of the frames that only pass by; None if there are none."""
        return self.clip(replace(clip, shots=clip.passing)) if clip.passing else None

    def add(
        self,
        source: ClipSource,
        encoder: Encoder,
        *,
        keys: Sequence[str] | None = None,
        entries_per_shard: int = 256,
        workers: int = 0,
        progress: Callable[[int, int], None] | None = None,
        unread: dict[str, ViPEError] | None = None,
    ) -> None:
        """Encode what is not there yet.

        Args:
            source: Renders the entries.
            encoder: The frozen encoder.
            keys: Which entries; all of the source by default.
            entries_per_shard: Entries between two writes.
            workers: Processes that render ahead of the encoder; 0 for a thread.
            progress: Called with the entries done and the entries in all.
            unread: Gets the entries that cannot be read, with the reasons.

        Raises:
            ViPEError: An entry cannot be read, and `unread` is None.
        """
        wanted = list(dict.fromkeys(source.keys() if keys is None else keys))
        missing = [key for key in wanted if key not in self]
        done = len(wanted) - len(missing)

        def render(key: str) -> Frames | ViPEError:
            try:
                return source.render(key)
            except ViPEError as error:
                return error

        rendered = made_ahead(render, missing, workers, ahead=entries_per_shard)
        for start in range(0, len(missing), entries_per_shard):
            shard = missing[start : start + entries_per_shard]
            found = dict(zip(shard, rendered, strict=False))
            if errors := {key: one for key, one in found.items() if isinstance(one, ViPEError)}:
                if unread is None:
                    raise next(iter(errors.values()))
                unread |= errors
            read = {key: one for key, one in found.items() if isinstance(one, Frames)}
            if read:
                features = encode_entries(read.values(), encoder)
                self._write([*read], features, [one.seconds.tolist() for one in read.values()])
            done += len(shard)
            if progress:
                progress(done, len(wanted))

    def _write(
        self, keys: Sequence[str], features: Sequence[Tensor], seconds: Sequence[list[float]]
    ) -> None:
        name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:24]
        path = self.folder / f"{name}.safetensors"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        counts = [len(part) for part in features]
        try:
            save_file(
                {"features": torch.cat(list(features)).half()},
                temporary,
                metadata={
                    name: json.dumps(values)
                    for name, values in (("keys", keys), ("counts", counts), ("seconds", seconds))
                },
            )
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._read(path)

    def _read(self, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            self._shards.append(file.get_tensor("features"))
        keys, counts = (json.loads(metadata[name]) for name in ("keys", "counts"))
        start = 0
        for key, count in zip(keys, counts, strict=True):
            self._places[key] = (len(self._shards) - 1, start, count)
            start += count
        # Shards of before there were files have none, and their clips say when all is shown.
        self._seconds |= zip(keys, json.loads(metadata.get("seconds", "[]")), strict=False)


def _following(before: Sequence[float], own: Sequence[float]) -> list[float]:
    """When the frames of an entry are shown after others; a picture is shown for a second."""
    if not before:
        return list(own)
    if own[-1] == 0:
        return [before[-1] + 1.0]
    # Midpoints of equal parts: what was shown ends as far after the last as the first began.
    return [before[-1] + before[0] + second for second in own]


def encode_entries(entries: Iterable[Frames], encoder: Encoder) -> list[Tensor]:
    """Encode entries of few frames in full batches; one `(T, N, C)` each, in order."""
    results: list[Tensor] = []
    waiting: list[Frames] = []

    def flush() -> None:
        if waiting:
            together = Frames(
                pixels=torch.cat([frames.pixels for frames in waiting]),
                seconds=torch.cat([frames.seconds for frames in waiting]),
            )
            counts = [len(frames) for frames in waiting]
            results.extend(encoder.encode(together).features.half().split(counts))
            waiting.clear()

    for frames in entries:
        waiting.append(frames)
        if sum(map(len, waiting)) >= encoder.config.batch_size:
            flush()
    flush()
    return results
