"""Training, a recipe's file: YAML, the file that it extends, and values given beside it.

`base: other.yaml` names a recipe that a file extends, relative to it. Over the base's values go its
own: a mapping's key by key, anything else in place of what was there. A mapping of another `kind`
(or `tuned`) than the base's replaces it, and one with numbers for keys, over a list, changes the
items of these numbers (`null` leaves one out, the next number adds one).

Values can be overridden by `KEY=VALUE` with dotted keys: `optimizer.steps=100`,
`sources.0.clips=8`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vipe.config import first_problem
from vipe.errors import ModelError, RecipeError
from vipe.training.recipe import Recipe

_BASE, _NAME = "base", "name"
_KINDS = ("kind", "tuned")  # say which other keys there are


@dataclass(frozen=True)
class _Layer:
    """What one file says itself."""

    path: Path
    values: dict[Any, Any]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: The YAML file.
        overrides: `key=value` with dotted keys; values are YAML.

    Raises:
        RecipeError: No such file, not YAML, an unknown key, a value that does not fit, or a base
            that is not there or comes back to the file. The file at fault is named.
    """
    layers = _layers(path)
    values: dict[Any, Any] = {}
    for layer in layers:
        values = _over(values, layer.values, layer.path, ())
    given = [_Layer(path, _override(values, override)) for override in overrides]
    if len(layers) > 1 and not any(_NAME in own.values for own in (layers[-1], *given)):
        raise RecipeError(
            f"{path}: name: give one of its own, or it writes into the run of {layers[-2].path}"
        )
    try:
        recipe = Recipe.model_validate(values)
        _ = recipe.config
    except ValidationError as error:
        said = _last_to_say(error.errors()[0]["loc"], [*layers, *given])
        raise RecipeError(f"{said.path}: {first_problem(error)}") from error
    except ModelError as error:
        raise RecipeError(f"{path}: {error}") from error
    return recipe


def _layers(path: Path) -> list[_Layer]:
    """Read a recipe and what it extends, the last base first."""
    found: list[_Layer] = []
    seen: set[Path] = set()
    while True:
        if path.resolve() in seen:
            raise RecipeError(f"{found[0].path}: base: {path} extends itself")
        seen.add(path.resolve())
        values = _read(path, found[0].path if found else None)
        base = values.pop(_BASE, None)
        found.insert(0, _Layer(path, values))
        if base is None:
            return found
        if not isinstance(base, str):
            raise RecipeError(f"{path}: base: the file of one recipe, got {base!r}")
        path = path.parent / base


def _read(path: Path, extended_by: Path | None) -> dict[Any, Any]:
    if not path.is_file():
        named = "" if extended_by is None else f"{extended_by}: base: "
        raise RecipeError(f"{named}{path}: no such recipe")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values")
    return values


def _over(below: Any, own: Any, path: Path, place: tuple[Any, ...]) -> Any:
    """Lay a file's own values over its base's; neither is changed."""
    if not isinstance(own, Mapping):
        return own
    if isinstance(below, list) and own and all(type(key) is int for key in own):
        return _items_over(below, own, path, place)
    kept = below if isinstance(below, Mapping) else {}
    if any(kind in own and own[kind] != kept.get(kind, own[kind]) for kind in _KINDS):
        kept = {}
    return {**kept} | {
        key: _over(kept.get(key), value, path, (*place, key)) for key, value in own.items()
    }


def _items_over(
    below: list[Any], own: Mapping[int, Any], path: Path, place: tuple[Any, ...]
) -> list[Any]:
    items = dict(enumerate(below))
    for number, value in sorted(own.items()):
        if number not in items and number != len(items):
            where = ".".join(map(str, (*place, number)))
            raise RecipeError(f"{path}: {where}: its base has {len(below)} of them, from 0")
        items[number] = _over(items.get(number), value, path, (*place, number))
    return [item for item in items.values() if item is not None]


def _override(values: dict[Any, Any], override: str) -> dict[Any, Any]:
    """Put a value into its place; return the override as a recipe that says nothing else."""
    key, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"{override!r}: an override is KEY=VALUE")
    *parents, last = key.split(".")
    place: Any = values
    try:
        value = yaml.safe_load(text)
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        place[int(last) if isinstance(place, list) else last] = value
    except (ValueError, IndexError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise RecipeError(f"{override!r}: the recipe has no such place") from error
    for part in (last, *reversed(parents)):
        value = {int(part) if part.isdigit() else part: value}
    return value


def _last_to_say(place: tuple[Any, ...], layers: Sequence[_Layer]) -> _Layer:
    """Return the last of those layers that say most of a place."""
    return max(reversed(layers), key=lambda layer: _said(place, layer.values))


def _said(place: tuple[Any, ...], values: Any) -> int:
    """Count the parts of a place that some values have."""
    count = 0
    for part in place:  # a source's kind is a part of an error's place, and no key
        if (isinstance(values, Mapping) and part in values) or (
            isinstance(values, list) and isinstance(part, int) and part < len(values)
        ):
            values, count = values[part], count + 1
    return count
