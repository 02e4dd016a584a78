"""One change at a time at a small budget: the recipes in recipes/ablations, as one table.

    python benchmarks/ablations.py [NAME…] [KEY=VALUE…] -o RESULT.json [--seeds 0 1] [--no-training]

Trains stage-one.yaml, then each named recipe (all by default) with each seed by `vipe train`, in
`runs/ablations`; a run that is finished is not trained again. `KEY=VALUE` goes to every run
(`data=…`, `cache=…`). Then base.yaml's model is looked at with other merges than it was trained
with. The figures are those of held-out clips at the end of each run: the loss of an answer's
tokens, and the share of answers that would be given word for word. Tables in Markdown go to stdout,
the figures to the JSON file.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from safetensors import safe_open

from vipe.progress import NoBar, TrainingProgress
from vipe.training.building import build
from vipe.training.held_out import evaluate
from vipe.training.log import RunLog
from vipe.training.recipe import Recipe
from vipe.training.recipe_files import load_recipe

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


def table(rows: dict[str, list[dict[str, float]]], names: dict[str, str]) -> str:
    """The rows in Markdown: of several seeds the mean, and of loss and mean the range."""
    columns = ("loss", "mean", *KINDS)
    lines = [f"| | seeds | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for name, seeds in rows.items():
        cells = []
        for column in columns:
            values = [row[column] for row in seeds]
            spread = f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""
            cells.append(f"{fmean(values):.3f}" + (spread if column in ("loss", "mean") else ""))
        lines.append(f"| {names.get(name, name)} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="NAME or KEY=VALUE")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--no-training", action="store_true", help="only what is finished")
    parser.add_argument("--no-inference", action="store_true", help="not the other merges")
    arguments = parser.parse_args()
    overrides = [word for word in arguments.words if "=" in word]
    chosen = [word for word in arguments.words if "=" not in word]
    names = chosen or sorted(path.stem for path in FOLDER.glob("*.yaml") if path.stem != FIRST)
    rows: dict[str, list[dict[str, float]]] = {}
    sizes: dict[str, int] = {}
    for name, seed in [(FIRST, 0), *((name, seed) for name in names for seed in arguments.seeds)]:
        own = [f"seed={seed}", f"name=ablations/{name}-seed-{seed}"] if seed else []
        path = FOLDER / f"{name}.yaml"
        recipe = load_recipe(path, [*overrides, *own])
        if not last_look(recipe) and not arguments.no_training:
            command = [sys.executable, "-m", "vipe", "train", str(path), *overrides, *own]
            subprocess.run(command, check=True, env=os.environ, stdout=sys.stderr)
        if name == FIRST or not (looked := last_look(recipe)):
            continue
        rows.setdefault(name, []).append({"seed": seed, **figures(looked)})
        sizes[name] = trained_parameters(recipe.folder / "model")
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": "python benchmarks/ablations.py " + " ".join(chosen),
        "rows": {
            name: {"trained_parameters": sizes[name], "runs": runs} for name, runs in rows.items()
        },
    }
    print(table(rows, {name: meaning(FOLDER / f"{name}.yaml") for name in rows}))
    if not arguments.no_inference and BASE in rows:
        other = other_merges(overrides)
        result["base_at_inference"] = other
        print()
        print(table({name: [row] for name, row in other.items()}, {}))
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
