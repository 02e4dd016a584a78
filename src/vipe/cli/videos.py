"""Which videos arguments name: files, folders of them, patterns, and lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

from vipe.errors import VideoError

LIST = ".txt"
ENDINGS = frozenset(
    (
        ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
        ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv",
    )
)  # fmt: skip
"""What tells a folder of videos from one of pictures; any file can be named itself."""


def videos_of(arguments: Iterable[Path]) -> list[Path]:
    """List the videos that arguments name, in order, each path once.

    - A list, a file that ends in `.txt`, names one a line, from its own folder.
    - A folder with video files in it names these; another is a folder of pictures, one video.
    - A pattern, such as `clips/**/*.mp4`, names what it matches.

    Raises:
        VideoError: Something named is not there, or a pattern or list names nothing.
        DataError: A list cannot be read.
    """
    found: dict[Path, None] = {}
    for argument in arguments:
        named = _listed(argument) if _is_list(argument) else _matched(argument, str(argument))
        found.update(dict.fromkeys(video for path in named for video in _within(path)))
    return list(found)


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == LIST and path.is_file()


def _listed(path: Path) -> Iterator[Path]:
    from vipe.data.text import numbered_lines, read_text

    empty = True
    for where, line in numbered_lines(path, read_text(path)):
        empty = False
        yield from _matched(path.parent / line.strip(), f"{where}: {line.strip()}")
    if empty:
        raise VideoError(f"{path}: names no videos")


def _matched(path: Path, name: str) -> list[Path]:
    if path.exists():
        return [path]
    if not has_magic(str(path)):
        raise VideoError(f"{name}: no such file or folder")
    # Not Path.glob: the pattern may be an absolute path.
    if not (matched := sorted(map(Path, glob(str(path), recursive=True)))):  # noqa: PTH207
        raise VideoError(f"{name}: matches no file")
    return matched


def _within(path: Path) -> list[Path]:
    """List the videos of a folder of them; anything else is one video."""
    if not path.is_dir():
        return [path]
    files = (file for file in path.iterdir() if file.suffix.lower() in ENDINGS)
    return sorted(f for f in files if f.is_file() and not f.name.startswith(".")) or [path]
