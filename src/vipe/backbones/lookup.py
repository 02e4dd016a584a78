"""The order in which a backbone named in a config is looked for, and what is said if it is not.

1. a local folder,
2. an installed package that carries its weights ([`vipe.backbones.packages`][]),
3. the hub's cache on this machine,
4. the hub.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from vipe.backbones.packages import WeightPackage
from vipe.errors import ModelError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def local_folder(name: str) -> str | None:
    """Return the path that a name is, if it is a folder on this machine."""
    path = Path(name).expanduser()
    return str(path) if path.is_dir() else None


def load_from(source: str, load: Callable[..., _T], *, what: str, hint: str) -> _T:
    """Call a `from_pretrained`-like function on a local folder, the hub's cache, or the hub.

    Args:
        source: A local folder or a hub id.
        load: Called with the source, and with `local_files_only=True` before the hub is asked.
        what: What is loaded, with its name, for the error.
        hint: What the user can do, for the error.

    Raises:
        ModelError: It is nowhere to be found, or is damaged.
    """
    try:
        return load(source, local_files_only=True)
    except ModelError:
        raise
    except Exception as error:
        if local_folder(source):
            raise ModelError(f"{what}: {source} is not usable ({one_line(error)})") from error
    _log.info("%s is not in the hub's cache on this machine; asking the hub", source)
    try:
        return load(source)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{what}: not found, {hint} ({one_line(error)})") from error


def hint_for(package: WeightPackage | None) -> str:
    """Return what to do about a backbone that is not found."""
    if package is not None:
        return f"install the package {package.distribution}"
    return "give a local folder or the id of a model on the hub"


def one_line(error: BaseException) -> str:
    """Return an error's kind and the first line of its text."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' reports and progress bars; errors still raise."""
    from transformers.utils import logging as reports

    shown, verbosity = reports.is_progress_bar_enabled(), reports.get_verbosity()
    reports.disable_progress_bar()
    reports.set_verbosity_error()
    try:
        yield
    finally:
        reports.set_verbosity(verbosity)
        if shown:
            reports.enable_progress_bar()
