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
) -> None:
    """Render scenes to evaluate on.

    Generated scenes become videos, with questions about them. A seed names a scene for ever.
    The path of the file of questions, for vipe eval, goes to stdout. Interrupted, the same command
    goes on where it was.
    """
    with progress() as bar:
        bar.show("rendering")
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
