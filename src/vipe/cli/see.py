"""`vipe see`: videos → adapter folders, named after them or in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vipe.cli import options
from vipe.cli.source import check_exist, load_model
from vipe.cli.videos import videos_of
from vipe.errors import VideoError
from vipe.progress import Bar, progress


def see(
    videos: Annotated[
        list[Path],
        typer.Argument(
            metavar="VIDEO",
            help="Videos, pictures, or folders of pictures. With --store also folders of videos, "
            "patterns in quotes, and lists: files that end in .txt, a path a line.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write.", show_default=False),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Store to write, in place of --output.", show_default=False
        ),
    ] = None,
    model: options.Model = None,
    frames: options.FrameCount = None,
    merge_ratio: options.MergeRatio = None,
) -> None:
    """Turn videos into adapters.

    Each video is seen once, and what was seen is written as a folder named after it: a LoRA in
    PEFT's format. Its path goes to stdout when it is complete; an adapter that is there already is
    replaced.

    With --store the folder is named after the video's content, the model, and how it was looked
    at; what is in the store already is not looked at again, so that an interrupted command goes
    on where it was. A video that cannot be seen is named, and the others are seen. vipe ls shows
    what is in a store.
    """
    if (output is None) == (store is None):
        raise typer.BadParameter("give either --output DIR or --store FOLDER")
    with progress() as bar:
        bar.show("loading the model")
        if store is not None:
            _see_into(store, videos, bar, model=model, frames=frames, merge_ratio=merge_ratio)
        elif output is not None:
            _see_named(output, videos, bar, model=model, frames=frames, merge_ratio=merge_ratio)


def _see_named(
    output: Path,
    videos: Sequence[Path],
    bar: Bar,
    *,
    model: str | None,
    frames: int | None,
    merge_ratio: float | None,
) -> None:
    check_exist(videos)
    loaded = load_model(model)
    for done, (video, name) in enumerate(zip(videos, folder_names(videos), strict=True)):
        bar.show(f"seeing {video.name}", done, len(videos) if len(videos) > 1 else None)
        seen = loaded.see(video, frames=frames, merge_ratio=merge_ratio)
        seen.save(output / name)
        bar.result(str(output / name))


def _see_into(
    folder: Path,
    arguments: Sequence[Path],
    bar: Bar,
    *,
    model: str | None,
    frames: int | None,
    merge_ratio: float | None,
) -> None:
    """See what a store lacks.

    Raises:
        VideoError: Some videos cannot be seen; where there are several, each was named before.
    """
    videos = videos_of(arguments)
    from vipe.seer import Seer
    from vipe.store import Store

    store, failed = Store(folder), 0
    seer = Seer.named(model, load=load_model)
    for done, video in enumerate(videos):
        bar.show(f"seeing {video.name}", done, len(videos) if len(videos) > 1 else None)
        try:
            entry = store.see(seer, video, frames=frames, merge_ratio=merge_ratio)
        except VideoError as error:
            if len(videos) == 1:
                raise
            bar.note(str(error))
            failed += 1
        else:
            bar.result(str(entry.path))
    if failed:
        raise VideoError(f"{failed} of {len(videos)} videos cannot be seen")


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
