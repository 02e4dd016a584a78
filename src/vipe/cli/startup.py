"""Quick starts and ends of a process that only answers; half of `vipe ask` would else be this.

Importing transformers and timm also imports PyTorch's compiler, its distributed tensors, sympy,
torchvision and every model that timm knows, which take longer than all the rest, and which nothing
here uses.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any, NoReturn
from unittest import mock

_COMPILER = {
    # What other modules take from the compiler when they are imported: decorators that tell it
    # something about a function, and what is called only when something compiles.
    "torch._dynamo": {
        "allow_in_graph": "mark",
        "assume_constant_result": "mark",
        "disable": "mark",
    },
    "torch._dynamo.utils": {"is_compile_supported": "late"},
    "torch._dynamo._trace_wrapped_higher_order_op": {"TransformGetItemToIndex": "late"},
}
_UNUSED = ("accelerate", "torchao", "torchvision")
"""What transformers imports where it is installed."""

_ENTERED = ("torchvision", "torchvision.ops", "timm", "timm.models", "timm.data")
"""Packages of which timm's EfficientNets need single modules."""


own_process = False
"""Whether the process is the command line's own; else nothing of this is done in it."""


def lean_imports() -> None:
    """Import transformers and timm without what nothing here uses.

    It stays away for the rest of the process, which must neither compile nor be distributed:
    `vipe train` does not call this. Where a library comes to need more of it than is foreseen
    here, that is imported as ever.
    """
    if not own_process:
        return
    with without_garbage_collector():
        import torch

        # transformers remembers what is there when it is imported.
        with _absent(_UNUSED):
            from transformers.utils import import_utils

            # Nothing else asks meanwhile.
            with mock.patch.object(torch.distributed, "is_available", return_value=False):
                import_utils.is_torch_distributed_available()
            if not any(name in sys.modules for name in _COMPILER):
                for name, foreseen in _COMPILER.items():
                    sys.modules[name] = _StandIn(name, foreseen)
            _build_on_cpu()
            importlib.import_module("transformers.generation.utils")
        _enter_timm()


@contextmanager
def without_garbage_collector() -> Iterator[None]:
    """Import without looking for garbage, of which there is none: a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.freeze()  # what is imported stays, and need not be looked at again
            gc.enable()


@contextmanager
def _absent(names: Sequence[str]) -> Iterator[None]:
    """Let packages that are not imported yet seem not to be installed."""
    names = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def leave(status: int) -> NoReturn:
    """End the process at once: taking PyTorch down takes a second, and a thread may be decoding."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or 1
    sys.stderr.flush()
    os._exit(status)


def _enter_timm() -> None:
    """Import timm's EfficientNets alone; whatever else is asked of timm imports all of it."""
    if any(name in sys.modules for name in _ENTERED):
        return
    try:
        for name in _ENTERED:
            sys.modules[name] = _Entrance(name)
        constants = vars(importlib.import_module("timm.data.constants"))
        vars(sys.modules["timm.data"]).update({k: v for k, v in constants.items() if k.isupper()})
        version = importlib.import_module("timm.version").__version__
        vars(sys.modules["timm"])["__version__"] = version
        with _absent(["torchvision.models"]):
            importlib.import_module("timm.models.efficientnet")
        factory = importlib.import_module("timm.models._factory")
    except Exception:  # another version of timm
        _Entrance.leave()
        return

    def create_model(name: str, *arguments: Any, **named: Any) -> Any:
        known = factory.is_model(name)
        create = factory.create_model if known else _Entrance.leave().create_model
        return create(name, *arguments, **named)

    sys.modules["timm"].create_model = create_model  # type: ignore[attr-defined]


def _build_on_cpu() -> None:
    """Let transformers build models on the CPU, unset, before it fills in their weights.

    As ever it builds them on the meta device, where PyTorch imports sympy to compute nothing.
    """
    import torch
    from transformers import PreTrainedModel
    from transformers.initialization import no_init_weights

    usual = PreTrainedModel.get_init_context

    def get_init_context(cls: type, *arguments: Any, **named: Any) -> list[Any]:
        contexts = usual.__func__(cls, *arguments, **named)  # type: ignore[attr-defined]
        meta = torch.device("meta")
        return [no_init_weights() if context == meta else context for context in contexts]

    PreTrainedModel.get_init_context = classmethod(get_init_context)  # type: ignore[assignment]


class _StandIn(ModuleType):
    """A module that gives what is foreseen, and the real one's contents for anything else."""

    def __init__(self, name: str, foreseen: dict[str, str]) -> None:
        super().__init__(name)
        self._foreseen = foreseen

    def __getattr__(self, name: str) -> Any:
        match self._foreseen.get(name):
            case "mark":
                return _unmarked
            case "late":
                return partial(self._call, name)
        if name.startswith("__"):  # asked for by the import itself
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _call(self, name: str, *arguments: Any, **named: Any) -> Any:
        return getattr(self._real(), name)(*arguments, **named)

    def _real(self) -> ModuleType:
        for name in _COMPILER:
            if isinstance(sys.modules.get(name), _StandIn):
                del sys.modules[name]
        return importlib.import_module(self.__name__)


class _Entrance(ModuleType):
    """A package without what its `__init__` imports; it is the real one for what is not there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.util.find_spec(name)
        if self.__spec__ is None or self.__spec__.submodule_search_locations is None:
            raise ImportError(name)
        self.__path__ = list(self.__spec__.submodule_search_locations)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for by the import itself
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)

    @staticmethod
    def leave() -> ModuleType:
        """Import the real packages, all of them anew; returns timm."""
        if entered := [n for n, module in sys.modules.items() if isinstance(module, _Entrance)]:
            for name in [*entered, *(n for n in sys.modules if n.partition(".")[0] == "timm")]:
                sys.modules.pop(name, None)
        return importlib.import_module("timm")


def _unmarked(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    return _unmarked if function is None else function
