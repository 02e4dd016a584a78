"""What a command is asked about, a video or an adapter → the model and what it saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from vipe.addresses import last_part
from vipe.cli import startup
from vipe.cli.console import one_line
from vipe.cli.live import Look, comes_once, shown
from vipe.errors import AdapterError, VideoError
from vipe.progress import Bar
from vipe.remote import is_remote, load_remote

if TYPE_CHECKING:
    from vipe.loading import Model
    from vipe.model import ViPE
    from vipe.twin import SoftPrompt
    from vipe.weights import PerceptualWeights

_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A model, and what it saw, from which it answers.

    Attributes:
        model: The model; any kind answers from what its own kind saw.
        seen: What it saw.
        seconds: Spent in "load", "decode", "encode" and "see"; the last three are 0 where an
            adapter was loaded.
    """

    model: Any
    seen: PerceptualWeights | SoftPrompt
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def frames(self) -> int | None:
        """Frames that were seen; None where the adapter does not say."""
        noted = self.seen.metadata.get("frames", "")
        return int(noted) if noted.isdecimal() else None

    @property
    def stream(self) -> dict[str, str | float]:
        """Of a stream: the second up to which it was seen ("until"), and "cut_off", why it ended.

        Empty for a video that was seen as a whole.
        """
        notes = self.seen.metadata
        until: dict[str, str | float] = {"until": float(notes["until"])} if "until" in notes else {}
        return until | ({"cut_off": notes["cut_off"]} if "cut_off" in notes else {})


def load_any_model(name: str | None, *, dtype: str = "float32") -> Model:
    """Load a model of either kind, with as few imports as will do."""
    startup.lean_imports()
    import torch

    from vipe.loading import load_model

    return load_model(name, dtype=None if dtype == "float32" else getattr(torch, dtype))


def load_model(name: str | None) -> ViPE:
    """Load a model that writes weights, with as few imports as will do."""
    startup.lean_imports()
    from vipe.model import ViPE

    return ViPE.from_pretrained(name)


def open_source(name: str, look: Look, *, model: str | None, bar: Bar) -> Opened:
    """Load a model, and look at a video or load an adapter.

    What is wrong with the input is found before the model is loaded, where that is possible.

    Raises:
        VideoError: The video cannot be read.
        AdapterError: The adapter is damaged, or made for another model.
        StoreError: The adapter is at an address, and cannot be read.
        ModelError: The model is missing or damaged, or cannot see a stream.
    """
    start = perf_counter()
    bar.show("loading the model")
    check_there([name])
    seen = None
    if is_remote(name):
        startup.lean_imports()
        seen = load_remote(name)
    elif is_adapter(Path(name)):
        startup.lean_imports()
        from vipe.adapter import load

        seen = load(name)
    elif not comes_once(name) and look.follow is None:
        with startup.without_garbage_collector():
            from vipe.frames import probe
        probe(name, strict=not look.streams(name))
    loaded: Any = load_any_model(model) if seen is None else load_model(model)
    seconds = {"load": perf_counter() - start, "decode": 0.0, "encode": 0.0, "see": 0.0}
    if seen is not None:
        _check_made_for(loaded, seen, name)
        return Opened(model=loaded, seen=seen, seconds=seconds)
    bar.show(f"seeing {one_line(last_part(shown(name)))}")
    if look.streams(name):
        # The last one is of all that was seen.
        saw = deque(look.see(loaded, name, seconds=seconds), maxlen=1).pop()
    else:
        how = {"frames": look.frames, "merge_ratio": look.merge_ratio}
        saw = loaded.see(name, **how, seconds=seconds)
    return Opened(model=loaded, seen=saw, seconds=seconds)


def is_adapter(path: Path) -> bool:
    """Tell an adapter folder, whole or not, from a folder of pictures."""
    return any((path / name).is_file() for name in _ADAPTER_FILES)


def check_there(names: Sequence[str]) -> None:
    """Check that files or folders are there; what is live shows when it is opened.

    Raises:
        VideoError: One is not.
    """
    check_exist([Path(name) for name in names if not comes_once(name)])


def check_exist(paths: Sequence[Path]) -> None:
    """Check that files or folders are there.

    Raises:
        VideoError: One is not.
    """
    for path in paths:
        if not path.exists():
            raise VideoError(f"{path}: no such file or folder")


def _check_made_for(model: ViPE, seen: PerceptualWeights, path: str) -> None:
    """Check that an adapter is one for this language model.

    Raises:
        AdapterError: Its layers do not fit, or it names another model (one of the same shape
            would answer, and nonsense).
    """
    try:
        seen.check_fits(model.language_model)
    except AdapterError as error:
        raise AdapterError(f"{path}: {error}") from error
    names = [seen.base_model, model.config.language_model]
    # The same model goes by its short name, its hub id, or a folder.
    short = {name.rstrip("/\\").replace("\\", "/").rpartition("/")[2].casefold() for name in names}
    if seen.base_model and len(short) > 1:
        raise AdapterError(f"{path}: made for the language model {names[0]}, not for {names[1]}")
