"""One change at a time at a small budget: the recipes in recipes/ablations, as one table.

    python benchmarks/ablations.py [NAME…] [KEY=VALUE…] -o RESULT.json [--no-training]

Trains stage-one.yaml, then each named recipe (all by default) by `vipe train`, in `runs/ablations`;
a run that is finished is not trained again. `KEY=VALUE` goes to every run (`data=…`, `cache=…`).
Then base.yaml's model is looked at with other merges than it was trained with. The figures are
those of held-out clips at the end of each run: the loss of an answer's tokens, and the share of
answers that would be given word for word. A table in Markdown goes to stdout, the figures to the
JSON file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from safetensors import safe_open

from vipe.progress import NoBar, TrainingProgress
from vipe.training.held_out import evaluate
from vipe.training.log import RunLog
from vipe.training.recipe import Recipe
from vipe.training.recipe_files import load_recipe
from vipe.training.run import build

FOLDER = Path(__file__).parents[1] / "recipes" / "ablations"
FIRST, BASE = "stage-one", "base"
KINDS = ("name", "presence", "direction", "motion", "count")
AT_INFERENCE = {
    **{f"merge ratio {r}": [f"model.merging.merge_ratio={r}"] for r in (0, 0.3, 0.6, 0.8, 0.9)},
    "half of the frames dropped": ["model.merging.within=frames"],
    "patches averaged": ["model.merging.within=pooling"],
    "at most 64 queries": ["model.merging.budget=64"],
}


def last_look(recipe: Recipe) -> dict[str, float]:
    """The held-out figures after a run's last step; none if it is not finished."""
    if not (recipe.folder / "log.csv").is_file():
        return {}
    rows = RunLog(recipe.folder, resume_at=recipe.optimizer.steps).rows()
    last = str(recipe.optimizer.steps)
    return {
        row["name"]: float(row["value"])
        for row in rows
        if row["split"] == "held_out" and row["step"] == last
    }


def examples_per_second(recipe: Recipe) -> float:
    """The median over steps; comparable only between runs on the same undisturbed machine."""
    rows = RunLog(recipe.folder, resume_at=recipe.optimizer.steps).rows()
    return median(float(row["value"]) for row in rows if row["name"] == "examples_per_second")


def trained_parameters(model: Path) -> int:
    """Numbers in a model folder."""
    with safe_open(model / "model.safetensors", framework="pt") as file:
        count = 0
        for name in file.keys():  # noqa: SIM118  # not a mapping
            size = 1
            for axis in file.get_slice(name).get_shape():
                size *= axis
            count += size
    return count


def figures(looked: dict[str, float]) -> dict[str, float]:
    """What of a look goes into the table."""
    kinds = {kind: looked[f"scenes/{kind}"] for kind in KINDS}
    return {"loss": looked["scenes/loss"], "mean": sum(kinds.values()) / len(kinds), **kinds}


def meaning(path: Path) -> str:
    """The first comment of a recipe."""
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").rstrip(".")


def other_merges(overrides: list[str]) -> dict[str, dict[str, float]]:
    """The base's model, looked at with merges that it was not trained with."""
    trained = load_recipe(FOLDER / f"{BASE}.yaml", overrides)
    found = {}
    for name, changes in AT_INFERENCE.items():
        start = [f"start={trained.folder / 'model'}", "start_only=[]"]
        recipe = load_recipe(FOLDER / f"{BASE}.yaml", [*overrides, *start, *changes])
        found[name] = figures(
            evaluate(build(recipe, TrainingProgress(NoBar())), recipe.optimizer.steps)
        )
        print(name, found[name], file=sys.stderr)
    return found


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The rows in Markdown."""
    columns = ("loss", "mean", *KINDS)
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[column]:.3f}" if column in row else "" for column in columns]
        lines.append(f"| {row.get('what', name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="NAME or KEY=VALUE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--no-training", action="store_true", help="only what is finished")
    parser.add_argument("--no-inference", action="store_true", help="not the other merges")
    arguments = parser.parse_args()
    overrides = [word for word in arguments.words if "=" in word]
    chosen = [word for word in arguments.words if "=" not in word]
    names = chosen or sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != FIRST)
    rows: dict[str, dict[str, Any]] = defaultdict(dict)
    for name in [FIRST, *names]:
        path = FOLDER / f"{name}.yaml"
        recipe = load_recipe(path, overrides)
        if not last_look(recipe) and not arguments.no_training:
            command = [sys.executable, "-m", "vipe", "train", str(path), *overrides]
            subprocess.run(command, check=True, env=os.environ, stdout=sys.stderr)
        if name == FIRST or not (looked := last_look(recipe)):
            continue
        rows[name] = {
            "what": meaning(path),
            "trained_parameters": trained_parameters(recipe.folder / "model"),
            "examples_per_second": examples_per_second(recipe),
            **figures(looked),
        }
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": "python benchmarks/ablations.py " + " ".join(chosen),
        "rows": rows,
    }
    print(table(rows))
    if not arguments.no_inference and BASE in rows:
        result["base_at_inference"] = other = other_merges(overrides)
        print()
        print(table(other))
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
