"""`vipe see`: videos → adapter folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vipe.cli import options
from vipe.cli.source import check_exist, load_model
from vipe.progress import progress


def see(
    videos: Annotated[
        list[Path],
        typer.Argument(
            metavar="VIDEO",
            help="Videos, pictures, or folders of pictures.",
            show_default=False,
        ),
    ],
    output: options.Folder,
    model: options.Model = None,
    frames: options.FrameCount = None,
    merge_ratio: options.MergeRatio = None,
) -> None:
    """Turn videos into adapters.

    Each video is seen once, and what was seen is written as a folder named after it: a LoRA in
    PEFT's format. Its path goes to stdout when it is complete; an adapter that is there already is
    replaced.
    """
    with progress() as bar:
        bar.show("loading the model")
        check_exist(videos)
        loaded = load_model(model)
        for done, (video, name) in enumerate(zip(videos, folder_names(videos), strict=True)):
            bar.show(f"seeing {video.name}", done, len(videos) if len(videos) > 1 else None)
            seen = loaded.see(video, frames=frames, merge_ratio=merge_ratio)
            seen.save(output / name)
            bar.result(str(output / name))


def folder_names(videos: Sequence[Path]) -> list[str]:
    """Name a folder for each video: the stem, with a number where another one has it already."""
    stems = [
        (video.resolve() if video.is_dir() else video.with_suffix("")).name for video in videos
    ]
    taken: set[str] = set()  # folded, for file systems that do not tell case apart
    names = []
    for stem in stems:
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
