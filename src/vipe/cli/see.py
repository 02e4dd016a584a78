"""`vipe see`: videos → adapter folders, named after them or in a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vipe.addresses import last_part
from vipe.cli import options
from vipe.cli.console import one_line
from vipe.cli.live import Look, paths_of, shown, stem
from vipe.cli.source import check_there, load_model
from vipe.cli.videos import videos_of
from vipe.errors import VideoError
from vipe.progress import Bar, progress


def see(
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO",
            help="Videos, pictures, or folders of pictures. With --output also live: - for stdin, "
            "an address (http, rtsp, rtmp, udp), a device (/dev/video0), a named pipe. With "
            "--store also folders of videos, patterns in quotes, and lists: files that end in "
            ".txt, a path a line.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder to write.", show_default=False),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Store to write, in place of --output: a folder, or an address (s3://…).",
            show_default=False,
        ),
    ] = None,
    model: options.Model = None,
    frames: options.FrameCount = None,
    merge_ratio: options.MergeRatio = None,
    every: Annotated[
        float | None,
        typer.Option(
            callback=options.above_zero,
            metavar="SECONDS",
            help="Write the adapter again after so many seconds of the video, and at its end.",
            show_default=False,
        ),
    ] = None,
    rate: options.Rate = None,
    until: options.Until = None,
    follow: options.Follow = None,
) -> None:
    """Turn videos into adapters.

    Each video is seen once, and what was seen is written as a folder named after it: a LoRA in
    PEFT's format. Its path goes to stdout when it is complete; an adapter that is there already is
    replaced.

    With --every the adapter is written while the video goes on, of all that was seen so far; each
    time it is whole and can be asked, and its path goes to stdout. What was seen of a stream that
    breaks off is kept, and the second at which it did goes to stderr.

    With --store the folder is named after the video's content, the model, and how it was looked
    at; what is in the store already is not looked at again, so that an interrupted command goes
    on where it was. A video that cannot be seen is named, and the others are seen. vipe ls shows
    what is in a store.
    """
    if (output is None) == (store is None):
        raise typer.BadParameter("give either --output DIR or --store FOLDER")
    look = Look(
        frames=frames, merge_ratio=merge_ratio, rate=rate, until=until, follow=follow, every=every
    )
    with progress() as bar:
        bar.show("loading the model")
        if store is not None:
            _see_into(store, paths_of(videos, look), bar, model=model, look=look)
        elif output is not None:
            _see_named(output, videos, bar, model=model, look=look)


def _see_named(
    output: Path, videos: Sequence[str], bar: Bar, *, model: str | None, look: Look
) -> None:
    check_there(videos)
    loaded = load_model(model)
    total = len(videos) if len(videos) > 1 else None
    for done, (video, name) in enumerate(zip(videos, folder_names(videos), strict=True)):
        what = f"seeing {one_line(last_part(shown(video)))}"
        bar.show(what, done, total)
        if not look.streams(video):
            seen = loaded.see(video, frames=look.frames, merge_ratio=look.merge_ratio)
            seen.save(output / name)
            bar.result(str(output / name))
            continue
        for seen in look.see(loaded, video):
            seen.save(output / name)
            bar.result(str(output / name))
            bar.show(f"{what} from {float(seen.metadata['until']):.1f} s on", done, total)


def _see_into(
    folder: str,
    arguments: Sequence[Path],
    bar: Bar,
    *,
    model: str | None,
    look: Look,
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
            entry = store.see(seer, video, frames=look.frames, merge_ratio=look.merge_ratio)
        except VideoError as error:
            if len(videos) == 1:
                raise
            bar.note(str(error))
            failed += 1
        else:
            bar.result(str(entry.path))
    if failed:
        raise VideoError(f"{failed} of {len(videos)} videos cannot be seen")


def folder_names(videos: Sequence[str]) -> list[str]:
    """Name a folder for each video: the stem, with a number where another one has it already."""
    taken: set[str] = set()  # folded, for file systems that do not tell case apart
    names = []
    for one in map(stem, videos):
        name, number = one, 1
        while name.casefold() in taken:
            number += 1
            name = f"{one}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
