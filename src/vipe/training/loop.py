"""Training, step 4: the loop. The encoder is frozen, and the language model unless it is tuned."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vipe.allocator import keep_freed_memory
from vipe.errors import RecipeError
from vipe.training.batches import Batch
from vipe.training.building import build
from vipe.training.calibration import calibrate, set_to_train
from vipe.training.checkpoint import load_checkpoint, save_checkpoint
from vipe.training.held_out import evaluate
from vipe.training.keys import start_of_concepts
from vipe.training.log import RunLog
from vipe.training.optimizer import learning_rate, set_learning_rate, tuned_warmup
from vipe.training.processes import Processes
from vipe.training.recipe import Recipe
from vipe.training.recollecting import start_recollection
from vipe.training.run import Observer, Run
from vipe.training.shards import module_parts, whole
from vipe.training.tags import start_of_tags
from vipe.training.writes_weights import WritesWeights

_COUNTS = ("tokens", "examples")


def train(recipe: Recipe, observer: Observer) -> Path:
    """Run a recipe, from its last checkpoint if there is one.

    Of several processes, all call this; the main one tells the observer and writes the files.

    Returns:
        The model folder: `<runs>/<name>/model`.

    Raises:
        RecipeError: A source is not there.
        ModelError: A backbone or the starting model is missing, or a checkpoint does not fit.
    """
    keep_freed_memory()
    run = build(recipe, observer)
    processes, each = run.processes, recipe.accumulate
    folder, steps = recipe.folder, recipe.optimizer.steps
    done = load_checkpoint(folder, module=run.trained, optimizer=run.optimizer) or 0
    log = RunLog(folder, resume_at=done) if processes.main else None
    last = time.monotonic()
    workers = recipe.workers
    batches = run.train.stream(processes.places(done, steps), workers)
    places = processes.places(max(done, recipe.alignment.before), steps)
    beside = run.gist.stream(places, workers)
    rewarded = None if run.rewarded is None else run.rewarded.stream(places, workers)
    for step in range(done, steps):
        if step == recipe.alignment.before:
            _start_binding(run)
        answers = step >= recipe.alignment.before
        micro = [
            train_step(
                run,
                next(batches),
                step,
                next(beside) if answers and recipe.alignment.gist_weight > 0 else None,
                next(rewarded) if answers and rewarded is not None else None,
                last=number == each,
            )
            for number in range(1, each + 1)
        ]
        values = _together(micro, processes)
        now = time.monotonic()
        values["tokens_per_second"] = values["tokens"] / (now - last)
        values["examples_per_second"] = values["examples"] / (now - last)
        last = now
        if log is not None:
            log.write("train", step + 1, values)
            observer.step(step + 1, steps, values)
        finished = step + 1 == steps
        look = bool(run.held_out) and ((step + 1) % recipe.held_out.every == 0 or finished)
        save = (step + 1) % recipe.checkpoint_every == 0 or finished
        if look or save:
            with processes.gathered():
                calibrate(run, step + 1)
        if look:
            with processes.gathered():
                scores = evaluate(run, step + 1)
            if log is not None:
                log.write("held_out", step + 1, scores)
                observer.evaluated(step + 1, scores)
        if save:
            save_checkpoint(
                folder,
                step=step + 1,
                module=run.trained,
                optimizer=run.optimizer,
                writes=processes.main,
            )
            run.save()
    if done >= steps:
        run.save()
    if log is not None:
        log.plot()
    return folder / "model"


@torch.no_grad()
def _start_binding(run: Run) -> None:
    """Let keys and values start from what the language model asks and says, and tags apart.

    Kinds of questions start so wherever they are new to the model.
    """
    method = run.method
    if not isinstance(method, WritesWeights) or not method.things.names:
        return
    perception = run.module.perception
    if perception.binding is None:
        return
    found: dict[str, Tensor] = {}
    tokenizer, names = run.train.packer.tokenizer, method.things.names
    with run.processes.gathered():
        if run.recipe.alignment.keys:
            found |= start_of_tags(perception)
            found |= start_of_concepts(perception, run.language, tokenizer, names)
    _put(run, found)
    with run.processes.gathered():
        if perception.recollection is not None:
            start_recollection(run, method)


def _put(run: Run, found: dict[str, Tensor]) -> None:
    own = {name: run.module.perception.get_parameter(name) for name in found}
    for name, value in module_parts(found, own).items():
        own[name].copy_(value)


def _together(micro: Sequence[dict[str, float]], processes: Processes) -> dict[str, float]:
    """What there is to say of a step: sums of counts, and means of all else, over all it saw."""
    values = {
        name: sum(part[name] for part in micro if name in part) / sum(name in p for p in micro)
        for name in {name: None for part in micro for name in part}
    }
    values = processes.mean(values)
    return values | {name: values[name] * processes.batches for name in _COUNTS}


def train_step(
    run: Run,
    batch: Batch,
    step: int,
    beside: Batch | None = None,
    rewarded: Batch | None = None,
    *,
    last: bool = True,
) -> dict[str, float]:
    """Take one micro-batch; with the last of a step, step.

    Args:
        run: What is trained.
        batch: What the micro-batch sees.
        step: From 0.
        beside: Clips for the gist's losses beside the language model's.
        rewarded: Clips whose captions are sampled and rewarded.
        last: Whether it is the last of the step.

    Returns:
        Its loss, learning rate and counts, and of the last one the norm of the step's gradient.
    """
    if not any(batch.rows.turns):
        raise RecipeError(
            f"row_tokens: {run.recipe.row_tokens} hold none of the questions of step {step + 1}"
        )
    rate = learning_rate(step, run.recipe)
    set_learning_rate(run.optimizer, rate, tuned_warmup(step, run.recipe))
    set_to_train(run.module)
    with run.processes.micro_batch(run.model, last=last):
        loss, values = run.model(batch, step, beside, rewarded)
        run.processes.backward(loss)
    if last:
        run.language.drop_gradients()
        norm = nn.utils.clip_grad_norm_(run.trained.parameters(), run.recipe.optimizer.clip)
        values["gradient_norm"] = whole(norm).item()
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
    return values | {
        "learning_rate": rate,
        "tokens": float(batch.rows.input_ids.numel()),
        "examples": float(sum(map(len, batch.rows.turns))),
    }
