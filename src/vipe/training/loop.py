"""Training, step 4: the loop. Only injection and perception are trained; all else is frozen."""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from platformdirs import user_cache_path
from torch import nn
from torch.nn import functional as F

from vipe.allocator import keep_freed_memory
from vipe.backbones import load_language_model
from vipe.data.clip import ClipSource
from vipe.model_files import load_weights, save_model
from vipe.training.alignment import AlignmentReader, bag_loss
from vipe.training.batches import Batch, Batches
from vipe.training.checkpoint import load_checkpoint, save_checkpoint
from vipe.training.features import FeatureStore
from vipe.training.language import TrainingLanguageModel
from vipe.training.log import RunLog
from vipe.training.packing import IGNORE, Packer
from vipe.training.recipe import Optimizer, Recipe
from vipe.vision import VideoToWeights

_PRIOR_STEPS = 20


@runtime_checkable
class Observer(Protocol):
    """Is told how a run goes: a progress bar, or lines."""

    def encoding(self, done: int, total: int) -> None:
        """So many of the entries have their features."""
        ...

    def step(self, step: int, total: int, values: dict[str, float]) -> None:
        """A step is done: its loss, tokens and examples a second."""
        ...

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        """The held-out clips were looked at."""
        ...


@dataclass(kw_only=True)
class Run:
    """A training run with everything it is made of.

    Attributes:
        recipe: What is run.
        module: Injection and perception, which become the model.
        reader: Reads the slots for the alignment loss; thrown away at the end.
        language: The frozen language model.
        optimizer: AdamW over `module` and `reader`.
        train: Batches of the recipe's sources.
        held_out: Batches of held-out sources, by name.
    """

    recipe: Recipe
    module: VideoToWeights
    reader: AlignmentReader
    language: TrainingLanguageModel
    optimizer: torch.optim.Optimizer
    train: Batches
    held_out: dict[str, Batches]

    @property
    def trained(self) -> nn.Module:
        """All that is trained."""
        return nn.ModuleDict({"module": self.module, "reader": self.reader})


def train(recipe: Recipe, observer: Observer) -> Path:
    """Run a recipe, from its last checkpoint if there is one.

    Returns:
        The model folder: `<runs>/<name>/model`.

    Raises:
        RecipeError: A source is not there.
        ModelError: A backbone or the starting model is missing, or a checkpoint does not fit.
    """
    keep_freed_memory()
    run = build(recipe, observer)
    folder, steps = recipe.folder, recipe.optimizer.steps
    done = load_checkpoint(folder, module=run.trained, optimizer=run.optimizer) or 0
    log = RunLog(folder, resume_at=done)
    last = time.monotonic()
    for step, batch in run.train.stream(done, steps):
        values = train_step(run, batch, step)
        now = time.monotonic()
        values["tokens_per_second"] = values["tokens"] / (now - last)
        values["examples_per_second"] = values["examples"] / (now - last)
        last = now
        log.write("train", step + 1, values)
        observer.step(step + 1, steps, values)
        finished = step + 1 == steps
        if run.held_out and ((step + 1) % recipe.held_out.every == 0 or finished):
            scores = evaluate(run)
            log.write("held_out", step + 1, scores)
            observer.evaluated(step + 1, scores)
        if (step + 1) % recipe.checkpoint_every == 0 or finished:
            save_checkpoint(folder, step=step + 1, module=run.trained, optimizer=run.optimizer)
            save_model(folder / "model", recipe.config, run.module)
    if done >= steps:
        save_model(folder / "model", recipe.config, run.module)
    log.plot()
    return folder / "model"


def build(recipe: Recipe, observer: Observer) -> Run:
    """Load the backbones, encode what is not in the cache, and make what is trained."""
    config = recipe.config
    encoder = config.encoder.build()
    features = FeatureStore.for_encoder(recipe.cache or user_cache_path("vipe"), encoder)
    sources = [(share.source.build(recipe.data), share.clips) for share in recipe.sources]
    held_out = {name: source.build(recipe.data) for name, source in recipe.held_out.sources.items()}
    count = recipe.held_out.clips
    for source, _ in sources:
        features.add(source, encoder, progress=observer.encoding)
    for source in held_out.values():
        keys = {shot.key for i in range(count) for shot in source.clip(i % len(source)).shots}
        features.add(source, encoder, keys=sorted(keys), progress=observer.encoding)

    model, tokenizer = load_language_model(config.language_model)
    torch.manual_seed(recipe.seed)
    module = VideoToWeights(config, channels=encoder.channels, language_model=model)
    if recipe.start is not None:
        load_weights(recipe.start, config, module)
    embeddings: Any = model.get_input_embeddings().weight
    reader = AlignmentReader(embeddings, width=config.perception.width)
    packer = Packer(tokenizer, recipe.row_tokens)

    def batches(sources: list[tuple[ClipSource, int]]) -> Batches:
        return Batches(
            sources,
            features,
            packer,
            merging=config.merging,
            merge_ratios=recipe.merge_ratios,
            seed=recipe.seed,
        )

    train_batches = batches(sources)
    reader.start_from(train_batches[step].bags for step in range(_PRIOR_STEPS))
    return Run(
        recipe=recipe,
        module=module,
        reader=reader,
        language=TrainingLanguageModel(
            model,
            list(module.perception.targets),
            precision=recipe.precision,
            compile=recipe.compile,
        ),
        optimizer=make_optimizer(nn.ModuleList([module, reader]), recipe.optimizer),
        train=train_batches,
        held_out={name: batches([(source, 1)]) for name, source in held_out.items()},
    )


def make_optimizer(module: nn.Module, config: Optimizer) -> torch.optim.Optimizer:
    """AdamW; biases, norms and slots do not decay."""
    matrices = [p for n, p in module.named_parameters() if p.ndim == 2 and not n.endswith("slots")]
    chosen = set(map(id, matrices))
    others = [p for p in module.parameters() if id(p) not in chosen]
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def learning_rate(step: int, config: Optimizer, *, again_at: int = 0) -> float:
    """Warm-up to the full rate, then a cosine down to `final` times it.

    Warms up a second time at `again_at`, where the language model comes in: its gradients are of
    another size than those that Adam has averaged, and would undo what was learned.
    """
    since = step if step < again_at or not again_at else step - again_at
    warm = min(1.0, (since + 1) / max(1, config.warmup))
    part = max(0, step - config.warmup) / max(1, config.steps - config.warmup)
    low = config.final
    return config.learning_rate * warm * (low + (1 - low) * (1 + math.cos(math.pi * part)) / 2)


def train_step(run: Run, batch: Batch, step: int) -> dict[str, float]:
    """One step; returns its loss, gradient norm, learning rate and counts."""
    alignment = run.recipe.alignment
    rate = learning_rate(step, run.recipe.optimizer, again_at=alignment.steps)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.module.train()
    slots = run.module.perception.read(run.module.injection(batch.tokens))
    values: dict[str, float] = {}
    loss = slots.new_zeros(())
    if step < alignment.steps or alignment.weight:
        aligned = bag_loss(run.reader(slots), batch.bags)
        values["alignment_loss"] = aligned.item()
        loss = aligned if step < alignment.steps else alignment.weight * aligned
    if step < alignment.steps:
        loss.backward()
    else:
        with run.language.attached(run.module.perception.decide(slots)):
            logits, labels = run.language(batch.rows)
            answered = F.cross_entropy(logits, labels)
            values["loss"] = answered.item()
            (loss + answered).backward()
    norm = nn.utils.clip_grad_norm_(run.trained.parameters(), run.recipe.optimizer.clip)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return values | {
        "gradient_norm": norm.item(),
        "learning_rate": rate,
        "tokens": float(batch.rows.input_ids.numel()),
        "examples": float(sum(map(len, batch.rows.turns))),
    }


@torch.no_grad()
def evaluate(run: Run) -> dict[str, float]:
    """Look at held-out clips: the loss, and by kind the share of answers given word for word.

    An answer counts when each of its tokens is the likeliest after those before it, which is when
    greedy decoding gives it; of several right answers one is drawn, the same every time.
    """
    run.module.eval()
    ratio = run.recipe.config.merging.merge_ratio
    scores: dict[str, float] = {}
    for name, batches in run.held_out.items():
        (source, _), size = batches.sources[0], sum(count for _, count in run.train.sources)
        total, answers = 0.0, 0
        exact: dict[str, list[float]] = defaultdict(list)
        for start in range(0, run.recipe.held_out.clips, size):
            # No place beyond the last: the features of those before it are all there is.
            places = range(start, min(start + size, run.recipe.held_out.clips))
            clips = [source.clip(i % len(source)) for i in places]
            batch = batches.collate(clips, random.Random(start), ratio)
            with run.language.attached(run.module(batch.tokens)):
                logits, labels = run.language(batch.rows)
            total += F.cross_entropy(logits, labels, reduction="sum").item()
            answers += len(labels)
            for kind, right in _exact(batch, logits.argmax(-1) == labels):
                exact[kind].append(right)
        scores[f"{name}/loss"] = total / max(1, answers)
        for kind, rights in sorted(exact.items()):
            scores[f"{name}/{kind}"] = sum(rights) / len(rights)
    return scores


def _exact(batch: Batch, right: torch.Tensor) -> list[tuple[str, float]]:
    """Whether every token of each turn is right."""
    row, column = (batch.rows.labels != IGNORE).nonzero(as_tuple=True)
    turn = batch.rows.turn[row, column]
    return [
        (asked.kind, float(right[(row == i) & (turn == number)].all()))
        for i, turns in enumerate(batch.rows.turns)
        for number, asked in enumerate(turns, start=1)
    ]
