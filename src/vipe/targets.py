"""Which layers of a language model get an update: those that a video decides, and static ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from vipe.errors import ModelError

if TYPE_CHECKING:
    from vipe.perception import PerceptionConfig


def find_targets(language_model: nn.Module, config: PerceptionConfig) -> dict[str, tuple[int, int]]:
    """Find the linear modules that a video updates: full name → (in, out) features.

    Raises:
        ModelError: A name of `targets` is in no chosen layer, a chosen layer is not there, or
            modules of one name have different sizes.
    """
    return find_linear(language_model, config.targets, config.layers)


def find_static_targets(
    language_model: nn.Module, config: PerceptionConfig
) -> dict[str, tuple[int, int]]:
    """Find the linear modules whose update is alike for all videos: full name → (in, out).

    Raises:
        ModelError: As `find_targets`.
    """
    if not config.static_targets:
        return {}
    decided = find_targets(language_model, config)
    found = find_linear(language_model, config.static_targets, config.static_layers)
    return {target: size for target, size in found.items() if target not in decided}


def all_targets(language_model: nn.Module, config: PerceptionConfig) -> dict[str, tuple[int, int]]:
    """Find every linear module that an adapter updates: full name → (in, out) features.

    Raises:
        ModelError: As `find_targets`.
    """
    return find_targets(language_model, config) | find_static_targets(language_model, config)


def find_linear(
    language_model: nn.Module, names: tuple[str, ...], chosen: tuple[int, ...] | None
) -> dict[str, tuple[int, int]]:
    """Find the linear modules of some names in some layers: full name → (in, out) features.

    Args:
        language_model: Any causal language model whose layers hold linear modules.
        names: The last parts of their names.
        chosen: The layers, by number; None for all.

    Raises:
        ModelError: As `find_targets`.
    """
    found: dict[str, tuple[int, int]] = {}
    layers: set[int] = set()
    sizes: dict[str, tuple[int, int]] = {}
    decoder = _decoder(language_model)
    for name, module in language_model.named_modules():
        if not name.startswith(decoder):
            continue
        parts = name.split(".")
        numbers = [int(part) for part in parts if part.isdigit()]
        if not is_linear(module) or parts[-1] not in names or not numbers:
            continue
        layers.add(numbers[0])
        if chosen is None or numbers[0] in chosen:
            size = found[name] = (module.in_features, module.out_features)
            if size != sizes.setdefault(parts[-1], size):  # a head serves all layers
                raise ModelError(
                    f"{parts[-1]} has {sizes[parts[-1]]} (in, out) features in one layer of the "
                    f"language model and {size} in another: choose others as targets"
                )
    missing = set(names) - {kind_of(name) for name in found}
    if missing or not found:
        raise ModelError(
            "the language model has no linear module "
            f"{', '.join(sorted(missing)) or 'to update'} in the chosen layers"
        )
    if absent := sorted(set(chosen or ()) - layers):
        raise ModelError(f"the language model has no layer {absent[0]} to update")
    return found


def is_linear(module: nn.Module) -> bool:
    """Tell a linear layer, also one of a quantising library's own class."""
    sizes = (getattr(module, "in_features", None), getattr(module, "out_features", None))
    return all(isinstance(size, int) for size in sizes)


def _decoder(language_model: nn.Module) -> str:
    """Return how the names of its decoder's layers begin.

    A language model may be a part of one that sees or hears (Gemma 3), whose towers have layers of
    the same names.
    """
    get_decoder = getattr(language_model, "get_decoder", None)
    decoder = get_decoder() if get_decoder is not None else None
    names = [name for name, module in language_model.named_modules() if module is decoder]
    return f"{names[0]}." if names and names[0] else ""


def kind_of(target: str) -> str:
    """Return the kind of a layer: the last part of its name, such as `o_proj`."""
    return target.rsplit(".", 1)[-1]
