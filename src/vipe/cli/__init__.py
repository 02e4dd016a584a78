"""The command line: parse, call, print. What it shows of an error is one line.

ask, chat   a video or an adapter, and questions
serve       the same for OpenAI's clients
see         videos → adapter folders, named after them or in a store
ls          what is in a store
train       a recipe → a model folder
evaluate    rows of questions → figures
compare     two models' answers → how far apart they are
bench       what an answer costs, against models that read tokens
report      models' answers → a page of figures
data        files to evaluate on
export      files for other people's servers
videos      which videos arguments name
source      what a command is asked about: a video, or an adapter
live        how a command looks at a video as a stream
options     options that several commands have
console     errors, and the quiet of libraries
startup     quick starts and ends
reference   docs/cli.md

Heavy imports are inside of the commands, so that `vipe --help` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from vipe import __version__
from vipe.cli import (
    ask,
    bench,
    chat,
    compare,
    console,
    data,
    evaluate,
    export,
    ls,
    report,
    see,
    serve,
    startup,
    train,
)

app = typer.Typer(
    help="Look at a video once, write what it saw into a language model's weights, and ask.",
    pretty_exceptions_enable=False,
)
app.command(name="ask")(ask.ask)
app.command(name="see")(see.see)
app.command(name="ls")(ls.ls)
app.command(name="chat")(chat.chat)
app.command(name="serve")(serve.serve)
app.command(name="train")(train.train)
app.command(name="eval")(evaluate.evaluate)
app.command(name="compare")(compare.compare)
app.command(name="bench")(bench.bench)
app.command(name="report")(report.report)
app.command(name="scenes")(data.scenes)
app.command(name="photographs")(data.photographs)
app.command(name="lmms-tasks")(data.lmms_tasks)
app.command(name="language-model")(export.language_model)
app.command(name="gguf")(export.gguf)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"vipe {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="VIPE_DEBUG", help="Show tracebacks and library messages."),
    ] = False,
) -> None:
    console.set_up(debug=debug)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status; errors are printed, never raised.

    Returns:
        0; 2 for wrong usage or input, 130 when interrupted, 1 for anything unexpected.
    """
    try:
        # From anywhere before "--", to where the parser looks for it.
        before = list(arguments)[: [*arguments, "--"].index("--")]
        if "--debug" in before:
            after = arguments[len(before) :]
            arguments = ["--debug", *(a for a in before if a != "--debug"), *after]
        return app(args=list(arguments) or ["--help"], prog_name="vipe", standalone_mode=False) or 0
    except Exception as error:
        return console.report(error)
    except KeyboardInterrupt:
        return console.INTERRUPTED


def main() -> None:
    """Be the command line of this process."""
    startup.own_process = True
    startup.leave(run(sys.argv[1:]))
