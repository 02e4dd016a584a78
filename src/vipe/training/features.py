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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vipe.data.clip import Clip, ClipSource
from vipe.encoders import Encoder, encoder_config_to_dict
from vipe.frames import Frames

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
        parts = [self[shot.key][list(shot.index)] for shot in clip.shots]
        return torch.cat(parts), [second for shot in clip.shots for second in shot.seconds]

    def add(
        self,
        source: ClipSource,
        encoder: Encoder,
        *,
        keys: Sequence[str] | None = None,
        entries_per_shard: int = 256,
        workers: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Encode what is not there yet.

        Args:
            source: Renders the entries.
            encoder: The frozen encoder.
            keys: Which entries; all of the source by default.
            entries_per_shard: Entries between two writes.
            workers: Threads that render ahead of the encoder.
            progress: Called with the entries done and the entries in all.
        """
        wanted = list(dict.fromkeys(source.keys() if keys is None else keys))
        missing = [key for key in wanted if key not in self]
        done = len(wanted) - len(missing)
        with ThreadPoolExecutor(workers) as pool:
            for start in range(0, len(missing), entries_per_shard):
                shard = missing[start : start + entries_per_shard]
                self._write(shard, encode_entries(pool.map(source.render, shard), encoder))
                done += len(shard)
                if progress:
                    progress(done, len(wanted))

    def _write(self, keys: Sequence[str], features: Sequence[Tensor]) -> None:
        name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:24]
        path = self.folder / f"{name}.safetensors"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        counts = [len(part) for part in features]
        try:
            save_file(
                {"features": torch.cat(list(features)).half()},
                temporary,
                metadata={"keys": json.dumps(list(keys)), "counts": json.dumps(counts)},
            )
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        self._read(path)

    def _read(self, path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            self._shards.append(file.get_tensor("features"))
        start = 0
        for key, count in zip(
            json.loads(metadata["keys"]), json.loads(metadata["counts"]), strict=True
        ):
            self._places[key] = (len(self._shards) - 1, start, count)
            start += count


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
