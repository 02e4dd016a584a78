"""What recipes of large models take of each GPU's memory: counted, with no weights and no GPU.

    python benchmarks/training_memory.py --processes 8 recipes/vicuna-7b-clip-l.yaml

One JSON object a recipe on stdout. GiB = 2³⁰ bytes; an adapter in MB = 10⁶.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from vipe.evaluation.shapes import shapes_of
from vipe.training.memory import memory, plan
from vipe.training.recipe_files import load_recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--processes", type=int, default=8, help="as many GPUs")
    arguments = parser.parse_args()
    for path in arguments.recipes:
        recipe = load_recipe(path)
        with shapes_of(recipe.config) as shapes:
            planned = plan(recipe, shapes)
        taken = memory(recipe, planned, arguments.processes)
        row = {
            "recipe": str(path),
            "processes": arguments.processes,
            "trained_parameters": planned.trained,
            "adapter_mb": round(planned.adapter.nbytes / 1e6, 1),
            "rank": planned.adapter.rank,
            "gib": {name: round(size / 2**30, 1) for name, size in asdict(taken).items()},
            "total_gib": round(taken.total / 2**30, 1),
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
