"""What a training step costs: ViPE and the three twins, on the same clips of 8 frames.

    python benchmarks/training_cost.py [--repeats 7] [--clips 12] [--row-tokens 96] [KEY=VALUE…]

Each is built from recipes/ablations with fresh weights; steps are taken in turns, each with its
forward and backward pass and the optimiser's step, on the default backbones' real sizes. The clips
are moving scenes, whose every row is of the same length. Medians of the seconds an example (a
question with its answer), and of the ratios to all patches of neighbouring steps, are printed as
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from vipe.progress import NoBar, TrainingProgress
from vipe.training.building import build
from vipe.training.loop import train_step
from vipe.training.recipe import Recipe
from vipe.training.recipe_files import load_recipe
from vipe.training.run import Run

FOLDER = Path(__file__).parents[1] / "recipes" / "ablations"
RECIPES = {
    "vipe": "base",
    "patches": "twin-patches",
    "merged": "twin-merged",
    "queries": "twin-queries",
}


def recipe(name: str, options: argparse.Namespace) -> Recipe:
    """The recipe with moving scenes alone."""
    scenes = {"kind": "scenes", "kinds": ["move"], "count": 600, "passes": 3}
    given = load_recipe(FOLDER / f"{name}.yaml", options.overrides).model_dump(mode="json")
    given["sources"] = [{"clips": options.clips, "source": scenes}]
    given["held_out"]["sources"] = {}
    # Past the twins' first stage: the LoRA is trained as well.
    given["alignment"]["steps"] = 0
    return Recipe.model_validate(
        given | {"start": None, "start_only": {}, "row_tokens": options.row_tokens}
    )


def seconds_per_example(run: Run, step: int) -> float:
    """Take one step."""
    batch = run.train[step]
    start = time.perf_counter()
    values = train_step(run, batch, step)
    return (time.perf_counter() - start) / values["examples"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--row-tokens", type=int, default=96)
    options = parser.parse_args()

    runs = {
        name: build(recipe(file, options), TrainingProgress(NoBar()))
        for name, file in RECIPES.items()
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for step in range(options.repeats + 1):
        for name, run in runs.items():
            seconds = seconds_per_example(run, step)
            if step:  # the first is for warming up
                times[name].append(seconds)
    print(
        json.dumps(
            {
                name: {
                    "seconds_per_example": round(statistics.median(own), 4),
                    "ratio_to_patches": round(
                        statistics.median(
                            a / b for a, b in zip(own, times["patches"], strict=True)
                        ),
                        3,
                    ),
                }
                for name, own in times.items()
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
