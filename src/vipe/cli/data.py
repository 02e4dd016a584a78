"""`vipe scenes`, `vipe photographs` and `vipe lmms-tasks`: files to evaluate on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vipe.cli import options
from vipe.progress import progress

_Tars = Annotated[
    list[Path] | None,
    typer.Option(
        "--photographs",
        metavar="TAR",
        help="A tar of photographs, for some of the backgrounds. May be given several times.",
        show_default=False,
    ),
]


def _numbers(text: str) -> str:
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise typer.BadParameter("it must be whole numbers with commas between them")
    return text


def scenes(
    output: options.Folder,
    count: Annotated[
        int, typer.Option(min=1, metavar="N", help="How many scenes.", show_default=False)
    ],
    seed: Annotated[
        int,
        typer.Option(
            min=0, metavar="S", help="The first scene's seed. Training uses those below 1000000."
        ),
    ] = 1_000_000,
    photographs: _Tars = None,
    long: Annotated[
        bool,
        typer.Option(
            "--long", help="Long videos, each of N seeds at every length, for vipe eval --rate 2."
        ),
    ] = False,
    lengths: Annotated[
        str,
        typer.Option(
            metavar="N,N,…", callback=_numbers, help="Of --long: lengths in frames, 8 or more."
        ),
    ] = "8,64,256,1024,4096,10000",
    kinds: Annotated[
        str, typer.Option(metavar="KIND,…", help="Of --long: seeds of which kinds of videos.")
    ] = "needle,order,repeats,chapters",
    times: Annotated[
        bool,
        typer.Option("--times", help="Scenes over seconds or minutes, asked when things are seen."),
    ] = False,
) -> None:
    """Render scenes to evaluate on.

    Generated scenes become videos, with questions about them. A seed names a scene for ever.
    The path of the file of questions, for vipe eval, goes to stdout. Interrupted, the same command
    goes on where it was.

    With --long a video is many scenes, of which few are asked for: one short event among all the
    others, the order of three, how often one is repeated, or what its parts show. A seed's events
    are the same at every length.

    With --times a video is two to four scenes over 4 to 600 seconds, and all that is asked is of
    time: when something appears, for how long, or what is shown after so many seconds.
    """
    with progress() as bar:
        bar.show("rendering")
        if (long or times) and (photographs or (long and times)):
            raise typer.BadParameter("give one of --photographs, --long and --times")
        if times:
            from vipe.data.time_files import write_times

            path = write_times(
                output,
                count=count,
                seed=seed,
                progress=lambda done, total: bar.show("rendering", done, total),
            )
            print(path)
            return
        if long:
            from vipe.data.long_files import write_long

            path = write_long(
                output,
                count=count,
                seed=seed,
                lengths=[int(length) for length in lengths.split(",")],
                kinds=[kind.strip() for kind in kinds.split(",")],
                progress=lambda done, total: bar.show("rendering", done, total),
            )
            print(path)
            return
        from vipe.data.scene_files import write_scenes

        backgrounds = None
        if photographs:
            from vipe.data.photographs import photograph_images

            backgrounds = photograph_images(photographs)
        path = write_scenes(
            output,
            count=count,
            seed=seed,
            photographs=backgrounds,
            progress=lambda done, total: bar.show("rendering", done, total),
        )
    print(path)


def photographs(
    tars: Annotated[
        list[Path],
        typer.Argument(
            metavar="TAR",
            help="Tars of photographs (KEY.jpg) and captions (KEY.json).",
            show_default=False,
        ),
    ],
    output: options.Folder,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The first N photographs.", show_default=False),
    ] = None,
    questions: Annotated[
        bool, typer.Option("--questions", help="Also write questions made from the captions.")
    ] = False,
) -> None:
    """Unpack photographs to evaluate on.

    Captioned photographs become files, with rows for vipe eval. The paths of the files of rows go
    to stdout.
    """
    with progress() as bar:
        bar.show("writing photographs")
        from vipe.data.photograph_rows import write_rows

        path = write_rows(tars, output, limit=limit, questions=questions)
    print(path)
    if questions:
        print(path.with_name("questions.jsonl"))


def lmms_tasks(
    rows: Annotated[
        Path,
        typer.Argument(metavar="DATA.jsonl", help="Rows, as for vipe eval.", show_default=False),
    ],
    output: options.Folder,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of the task. vipe_DATA unless given.", show_default=False
        ),
    ] = None,
) -> None:
    """Write rows as tasks of lmms-eval.

    The folder is for lmms-eval's --include_path. The tasks' names, for its --tasks, go to stdout:
    one, and with _options behind it a second where there are rows with options.
    """
    from vipe.integrations.lmms_eval.tasks import write_tasks

    print(",".join(write_tasks(rows, output, name=name)))
