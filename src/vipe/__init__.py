"""ViPE: look at a video once, write what it saw into a language model's weights, then ask.

    from vipe import ViPE

    model = ViPE.from_pretrained()
    seen = model.see("dog.mp4")
    print(model.ask(seen, "What animal is this?"))

The names here are loaded when they are first used, so that `import vipe` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vipe.config import ViPEConfig
    from vipe.errors import ViPEError
    from vipe.frames import Frames
    from vipe.generation import Decoding
    from vipe.model import ViPE
    from vipe.weights import PerceptualWeights

__all__ = ["Decoding", "Frames", "PerceptualWeights", "ViPE", "ViPEConfig", "ViPEError"]
__version__ = "0.1.0"

_HOMES = {
    "Decoding": "vipe.generation",
    "Frames": "vipe.frames",
    "PerceptualWeights": "vipe.weights",
    "ViPE": "vipe.model",
    "ViPEConfig": "vipe.config",
    "ViPEError": "vipe.errors",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vipe' has no attribute {name!r}")
