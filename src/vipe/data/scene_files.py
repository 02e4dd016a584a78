"""Generated scenes as files: mp4 videos and the rows that `vipe eval` reads."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vipe.data.pictures import STYLES
from vipe.data.scene_source import SceneSource
from vipe.data.scenes import Scene, draw
from vipe.errors import DataError


def write_scenes(
    folder: str | Path,
    *,
    count: int,
    seed: int = 1_000_000,
    fps: int = 10,
    size: int = 224,
    styles: Sequence[str] = STYLES,
    photographs: Sequence[Image.Image] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render scenes to mp4 files, with questions about them in `scenes.jsonl`.

    By convention training takes seeds 0…999,999, evaluation 1,000,000 and above. Each file is
    written under a temporary name and then renamed; a call that was cut off goes on where it
    stopped, and keeps only files that were made with the same settings.

    Args:
        folder: Where to; made if it is not there.
        count: How many scenes.
        seed: The first scene's seed; the others follow.
        fps: Frames a second.
        size: The frames' side in pixels, even.
        styles: Drawing styles, of `pictures.STYLES`.
        photographs: For some of the backgrounds.
        progress: Called with (done, count) after each scene.

    Returns:
        The path of `scenes.jsonl`: rows `{"video", "question", "accept", "kind"}`.

    Raises:
        DataError: A setting does not fit, or the folder cannot be written.
    """
    if count < 1:
        raise DataError(f"{folder}: count must be at least 1, got {count}")
    folder = Path(folder)
    seeds = range(seed, seed + count)
    source = SceneSource(seeds, size=size, styles=styles, photographs=photographs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for done, (key, number) in enumerate(zip(source.keys(), seeds, strict=True), start=1):
            scene = source.scene(number)
            path = folder / f"scene-{number:07d}.mp4"
            note = f"{key} at {fps} fps"
            if note_of(path) != note:
                write_video(scene, path, fps=fps, size=size, photographs=photographs, note=note)
            for question in source.clip(done - 1).questions:
                row = {
                    "video": path.name,
                    "question": question.text,
                    "accept": list(question.accept),
                    "kind": question.kind,
                }
                lines.append(json.dumps(row, ensure_ascii=False))
            if progress is not None:
                progress(done, count)
        rows = folder / "scenes.jsonl"
        write_rows(rows, lines)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return rows


def write_video(
    scene: Scene,
    path: str | Path,
    *,
    fps: int = 10,
    size: int = 224,
    photographs: Sequence[Image.Image] | None = None,
    note: str = "",
) -> None:
    """Render a scene to one mp4 file; each frame shows the middle of its time.

    Args:
        scene: What to draw.
        path: The file, replaced when it is complete.
        fps: Frames a second.
        size: The frame's side in pixels, even.
        photographs: Needed where the scene's background is a photograph.
        note: Kept in the file, as its comment.

    Raises:
        DataError: The size is odd or too small, or the rate is not positive.
    """

    def frames() -> Iterator[np.ndarray]:
        last: tuple[object, np.ndarray] | None = None
        for number in range(round(scene.duration * fps)):
            second = (number + 0.5) / fps
            poses = scene.poses(second)
            if last is None or last[0] != poses:
                last = poses, np.asarray(draw(scene, second, size, photographs))
            yield last[1]

    write_frames(frames(), path, fps=fps, size=size, note=note)


def write_frames(
    frames: Iterable[np.ndarray], path: str | Path, *, fps: int, size: int, note: str = ""
) -> None:
    """Encode frames to one mp4 file (H.264, 4:2:0) as they come; none is kept.

    Args:
        frames: Each `(size, size, 3)`, uint8 RGB.
        path: The file, replaced when it is complete.
        fps: Frames a second.
        size: The frames' side in pixels, even.
        note: Kept in the file, as its comment.

    Raises:
        DataError: The size is odd or too small, or the rate is not positive.
    """
    path = Path(path)
    if size < 16 or size % 2 or fps < 1:
        raise DataError(
            f"{path}: size must be even and at least 16, fps positive; got {size} and {fps}"
        )
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.mp4")
    try:
        with av.open(str(temporary), "w", options={"movflags": "faststart"}) as container:
            if note:
                container.metadata["comment"] = note
            stream = container.add_stream("libx264", rate=Fraction(fps))
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            # One thread: the same scene gives the same file on every machine of one kind.
            stream.options = {"crf": "20", "preset": "veryfast", "threads": "1"}
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_rows(path: Path, lines: Sequence[str]) -> None:
    """Write a file of rows, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    temporary.replace(path)


def note_of(path: Path) -> str | None:
    """The comment of a video that is there and can be opened."""
    if not path.is_file():
        return None
    try:
        with av.open(str(path)) as container:
            return container.metadata.get("comment")
    except av.FFmpegError:
        return None
