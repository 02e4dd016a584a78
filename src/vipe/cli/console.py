"""The command line's errors, each one line, and the quiet of the libraries below it."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from typer.exceptions import Abort, TyperException

from vipe.errors import ViPEError

FAILED, WRONG_INPUT, INTERRUPTED = 1, 2, 130

# Read by the libraries when they are imported. Whatever matters is raised as an error anyway.
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "critical",
    "TRANSFORMERS_VERBOSITY": "critical",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}
_PACKAGE = str(Path(__file__).parents[1])
_debug = False


def set_up(*, debug: bool) -> None:
    """Choose what reaches the user's terminal: with `debug` everything, else what is ours."""
    global _debug
    _debug = debug
    if debug:
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    warnings.showwarning = _show_warning
    logging.getLogger().addHandler(logging.NullHandler())  # else Python prints warnings itself
    own = logging.getLogger("vipe")
    if not own.handlers:
        handler = _OwnLines()
        handler.setFormatter(logging.Formatter("vipe: %(message)s"))
        own.addHandler(handler)


def report(error: Exception) -> int:
    """Print an error as one line on stderr; return the exit status that belongs to it."""
    if _debug:
        traceback.print_exception(error)
    text = one_line(error)
    match error:
        case Abort():
            return INTERRUPTED
        case TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context is not None else "vipe"
            text = f"{one_line(error.format_message()).rstrip('.')} (see {command} --help)"
        case ViPEError():
            pass
        case _:
            text = f"unexpected {type(error).__name__}: {text}"
            text += "" if _debug else "; --debug shows the traceback"
            print(f"vipe: error: {text}", file=sys.stderr)
            return FAILED
    print(f"vipe: error: {text}", file=sys.stderr)
    return WRONG_INPUT


def one_line(text: object) -> str:
    """Return the text with every run of white space as one space."""
    return " ".join(str(text).split())


class _OwnLines(logging.StreamHandler[Any]):
    """Writes to what stderr is now, which a test or a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, *_: Any, **__: Any
) -> None:
    if filename.startswith(_PACKAGE):
        print(f"vipe: warning: {one_line(message)}", file=sys.stderr)
