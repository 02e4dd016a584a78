"""Timed scenes as files: mp4 videos and the rows that `vipe eval` reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from vipe.data import scene_sampling
from vipe.data.pictures import STYLES
from vipe.data.scene_files import note_of, write_frames, write_rows
from vipe.data.scene_times import frames_of, rows_of, sample_times
from vipe.errors import DataError


def write_times(
    folder: str | Path,
    *,
    count: int,
    seed: int = 1_000_000,
    size: int = 224,
    styles: Sequence[str] = STYLES,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render timed scenes to mp4 files, with questions about time in `times.jsonl`.

    Each file is written under a temporary name and then renamed; a call that was cut off goes on
    where it stopped, and keeps only files that were made with the same settings.

    Args:
        folder: Where to; made if it is not there.
        count: How many.
        seed: The first; the others follow.
        size: The frames' side in pixels, even.
        styles: Drawing styles, of `pictures.STYLES`.
        progress: Called with (done, count) after each.

    Returns:
        The path of `times.jsonl`: rows as of `vipe.evaluation.rows`.

    Raises:
        DataError: A setting does not fit, or the folder cannot be written.
    """
    folder = Path(folder)
    if count < 1:
        raise DataError(f"{folder}: count must be at least 1, got {count}")
    lines: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for done, number in enumerate(range(seed, seed + count), start=1):
            video = sample_times(number, styles)
            path = folder / f"times-{number:07d}.mp4"
            version = f"times/scene{scene_sampling.VERSION}/{'+'.join(styles)}/{size}"
            note = f"{version}/{number} at {video.rate} fps"
            if note_of(path) != note:
                write_frames(frames_of(video, size), path, fps=video.rate, size=size, note=note)
            for row in rows_of(video):
                lines.append(json.dumps({"video": path.name} | row, ensure_ascii=False))
            if progress is not None:
                progress(done, count)
        rows = folder / "times.jsonl"
        write_rows(rows, lines)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return rows
