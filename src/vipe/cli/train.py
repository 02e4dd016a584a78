"""`vipe train`: a recipe → a model folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from vipe.progress import TrainingProgress, first_process, progress


def train(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="A YAML file.", show_default=False)
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Values in place of the recipe's, such as optimizer.steps=100.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model.

    A run that was interrupted goes on from its last checkpoint. The model folder's path goes to
    stdout at the end. Log, loss curve and checkpoint are beside it. In several processes:
    torchrun --nproc-per-node N -m vipe train RECIPE.
    """
    first = first_process()
    if not first:  # the first says it for all
        logging.getLogger("vipe").setLevel(logging.ERROR)
    with progress(shown=first) as bar:
        bar.show("reading the recipe")
        from vipe.training.recipe_files import load_recipe

        loaded = load_recipe(recipe, overrides or [])
        bar.show("loading the model")
        from vipe.training.loop import train as run

        folder = run(loaded, TrainingProgress(bar))
    if first:
        print(folder)
