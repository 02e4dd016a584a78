"""Long generated videos as files: mp4 videos and the rows that `vipe eval` reads."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from vipe.data import long_structure, scene_sampling
from vipe.data.long_questions import ask_long
from vipe.data.long_scenes import LENGTHS, frames_of, kind_of, sample_long
from vipe.data.long_structure import KINDS, RATE, SHORTEST
from vipe.data.pictures import STYLES
from vipe.data.scene_files import note_of, write_frames, write_rows
from vipe.errors import DataError


def write_long(
    folder: str | Path,
    *,
    count: int,
    seed: int = 1_000_000,
    lengths: Sequence[int] = LENGTHS,
    kinds: Sequence[str] = KINDS,
    size: int = 224,
    styles: Sequence[str] = STYLES,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render long videos to mp4 files, with questions about them in `long.jsonl`.

    Each file is written under a temporary name and then renamed; a call that was cut off goes on
    where it stopped, and keeps only files that were made with the same settings. One frame at a
    time is held.

    Args:
        folder: Where to; made if it is not there.
        count: How many seeds; there is a video of every length for each.
        seed: The first; the others follow. Their kinds take turns.
        lengths: In frames, each at least 8.
        kinds: Only seeds of these kinds, of `long_structure.KINDS`.
        size: The frames' side in pixels, even.
        styles: Drawing styles, of `pictures.STYLES`.
        progress: Called with (done, total) after each video.

    Returns:
        The path of `long.jsonl`: rows as of `vipe.evaluation.rows`, with `frames`, the length.

    Raises:
        DataError: A setting does not fit, or the folder cannot be written.
    """
    folder = Path(folder)
    if count < 1:
        raise DataError(f"{folder}: count must be at least 1, got {count}")
    if not lengths or min(lengths) < SHORTEST:
        raise DataError(f"{folder}: lengths must be {SHORTEST} frames or more")
    if not kinds or not set(kinds) <= set(KINDS):
        given = ", ".join(kinds) or "none"
        raise DataError(f"{folder}: kinds must be some of {', '.join(KINDS)}, got {given}")
    seeds = list(islice((n for n in itertools.count(seed) if kind_of(n) in kinds), count))
    versions = (
        f"long{long_structure.VERSION}/scene{scene_sampling.VERSION}/{'+'.join(styles)}/{size}"
    )
    lines, done = [], 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for length in lengths:
            for number in seeds:
                video = sample_long(number, length, styles)
                path = folder / f"long-{number:07d}-{length:05d}.mp4"
                note = f"{versions}/{number}/{length} at {RATE} fps"
                if note_of(path) != note:
                    write_frames(frames_of(video, size), path, fps=RATE, size=size, note=note)
                for row in ask_long(video):
                    lines.append(json.dumps({"video": path.name} | row, ensure_ascii=False))
                done += 1
                if progress is not None:
                    progress(done, count * len(lengths))
        rows = folder / "long.jsonl"
        write_rows(rows, lines)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return rows
