"""Training, step 4: the loop. The encoder and the language model are frozen."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from platformdirs import user_cache_path
from torch import nn

from vipe.allocator import keep_freed_memory
from vipe.backbones import load_language_model
from vipe.data.clip import ClipSource
from vipe.data.records import RecordSource
from vipe.encoders import Encoder
from vipe.errors import RecipeError, ViPEError
from vipe.model_files import load_weights
from vipe.perception import find_targets
from vipe.tokens import VideoToTokens
from vipe.training.alignment import AlignmentReaders, WordStatistics
from vipe.training.batches import Batch, Batches, Phase
from vipe.training.calibration import calibrate
from vipe.training.checkpoint import load_checkpoint, save_checkpoint
from vipe.training.features import FeatureStore
from vipe.training.held_out import evaluate
from vipe.training.language import TrainingLanguageModel
from vipe.training.log import RunLog
from vipe.training.methods import Method, ReadsTokens, WritesWeights
from vipe.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from vipe.training.packing import Packer
from vipe.training.recipe import Recipe, Source
from vipe.vision import VideoToWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)
_COUNTED_STEPS = 200


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
        method: What a step is; holds what is trained and the frozen language model.
        optimizer: AdamW over all that is trained.
        train: Batches of the recipe's sources.
        gist: Batches for the gist's losses, as large in every step as in the gist's own.
        held_out: Batches of held-out sources, by name.
    """

    recipe: Recipe
    method: Method
    optimizer: torch.optim.Optimizer
    train: Batches
    gist: Batches
    held_out: dict[str, Batches]

    @property
    def module(self) -> Any:
        """What becomes the model."""
        return self.method.module

    @property
    def trained(self) -> nn.Module:
        """All that is trained."""
        return self.method.trained

    @property
    def language(self) -> TrainingLanguageModel:
        """The frozen language model."""
        return self.method.language

    def save(self) -> None:
        """Write the model folder."""
        self.method.save(self.recipe.folder / "model", self.recipe.config)


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
    beside = run.gist.stream(max(done, recipe.alignment.before), steps)
    for step, batch in run.train.stream(done, steps):
        both = step >= recipe.alignment.before and recipe.alignment.gist_weight > 0
        values = train_step(run, batch, step, next(beside)[1] if both else None)
        now = time.monotonic()
        values["tokens_per_second"] = values["tokens"] / (now - last)
        values["examples_per_second"] = values["examples"] / (now - last)
        last = now
        log.write("train", step + 1, values)
        observer.step(step + 1, steps, values)
        finished = step + 1 == steps
        look = bool(run.held_out) and ((step + 1) % recipe.held_out.every == 0 or finished)
        save = (step + 1) % recipe.checkpoint_every == 0 or finished
        if look or save:
            calibrate(run, step + 1)
        if look:
            scores = evaluate(run, step + 1)
            log.write("held_out", step + 1, scores)
            observer.evaluated(step + 1, scores)
        if save:
            save_checkpoint(folder, step=step + 1, module=run.trained, optimizer=run.optimizer)
            run.save()
    if done >= steps:
        run.save()
    log.plot()
    return folder / "model"


def build(recipe: Recipe, observer: Observer) -> Run:
    """Load the backbones, encode what is not in the cache, and make what is trained."""
    config = recipe.config
    encoder = config.encoder.build()
    features = FeatureStore.for_encoder(recipe.cache or user_cache_path("vipe"), encoder)

    def opened(source: Source) -> ClipSource:
        return source.build(recipe.data, frames=config.frames, size=encoder.image_size)

    sources = [opened(share.source) for share in recipe.sources]
    held_out = {name: opened(source) for name, source in recipe.held_out.sources.items()}
    for source in sources:
        _encode(source, None, features, encoder, observer)
    for source in held_out.values():
        _encode(source, recipe.held_out.clips, features, encoder, observer)

    model, tokenizer = load_language_model(config.language_model)
    torch.manual_seed(recipe.seed)
    packer = Packer(tokenizer, recipe.row_tokens)

    rows = [share.rows for share in recipe.sources]

    def batches(
        sources: list[ClipSource],
        phases: Sequence[Phase] = (),
        kinds: Sequence[tuple[str, ...] | None] | None = None,
    ) -> Batches:
        return Batches(
            sources,
            features,
            packer,
            merging=None if recipe.of_patches else config.merging,
            phases=phases,
            kinds=kinds,
            seed=recipe.seed,
        )

    phases = _phases(recipe)
    train_batches = batches(sources, phases, rows)
    method = _method(recipe, model, encoder.channels, train_batches)
    return Run(
        recipe=recipe,
        method=method,
        optimizer=make_optimizer(method.trained, recipe.optimizer),
        train=train_batches,
        gist=batches(sources, [replace(phases[0], steps=None)]),
        held_out={name: batches([source]) for name, source in held_out.items()},
    )


def _encode(
    source: ClipSource,
    clips: int | None,
    features: FeatureStore,
    encoder: Encoder,
    observer: Observer,
) -> None:
    """Encode what a source's first clips show, or all of them, as far as it can be read.

    Of files, those that cannot be read are left out, others take their places, and how many there
    were is said.
    """
    files = source if isinstance(source, RecordSource) else None
    while True:
        unread: dict[str, ViPEError] = {}
        features.add(
            source,
            encoder,
            keys=None if clips is None else _shown(source, clips),
            progress=observer.encoding,
            unread=None if files is None else unread,
        )
        if files is None or not unread:
            break
        files.leave_out(unread)
    if files is not None and (report := files.report()):
        _log.warning("%s", report)


def _shown(source: ClipSource, clips: int) -> list[str]:
    found = [source.clip(i % len(source)) for i in range(clips)]
    return sorted({shot.key for clip in found for shot in clip.shots})


def _method(recipe: Recipe, model: PreTrainedModel, channels: int, batches: Batches) -> Method:
    """Make what is trained, and put the language model into its training form."""
    config = recipe.config
    embeddings: Any = model.get_input_embeddings()
    words = embeddings.weight
    module: VideoToWeights | VideoToTokens
    if recipe.method == "tokens":
        module = VideoToTokens(recipe.reads, config, channels=channels, language_model=model)
    else:
        module = VideoToWeights(config, channels=channels, language_model=model)
    if recipe.start is not None:
        load_weights(recipe.start, config, module)
    targets = list(find_targets(model, config.perception))

    def language() -> TrainingLanguageModel:
        return TrainingLanguageModel(
            model, targets, precision=recipe.precision, compile=recipe.compile
        )

    if isinstance(module, VideoToTokens):
        return ReadsTokens(module, language(), recipe.alignment)
    bags = [bag for step in range(_COUNTED_STEPS) for bag in batches.bags(step)]
    readers = AlignmentReaders(
        words,
        width=config.perception.width,
        words=WordStatistics.count(bags, len(words)),
        heads=config.perception.heads,
        gists=config.injection.gists,
    )
    return WritesWeights(module, readers, language(), recipe.alignment)


def _phases(recipe: Recipe) -> list[Phase]:
    alignment = recipe.alignment
    clips = tuple(share.clips for share in recipe.sources)
    return [
        Phase(
            clips=tuple(share.gist_clips or share.clips for share in recipe.sources),
            merge_ratios=alignment.merge_ratios,
            steps=alignment.gist_steps,
        ),
        Phase(clips=clips, merge_ratios=alignment.merge_ratios, steps=alignment.steps),
        Phase(clips=clips, merge_ratios=recipe.merge_ratios),
    ]


def train_step(run: Run, batch: Batch, step: int, beside: Batch | None = None) -> dict[str, float]:
    """One step; returns its loss, gradient norm, learning rate and counts.

    Args:
        run: What is trained.
        batch: What the step sees.
        step: From 0.
        beside: Clips for the gist's losses beside the language model's.
    """
    if not any(batch.rows.turns):
        raise RecipeError(
            f"row_tokens: {run.recipe.row_tokens} hold none of the questions of step {step + 1}"
        )
    rate = learning_rate(step, run.recipe)
    set_learning_rate(run.optimizer, rate)
    run.module.train()
    values = run.method.backward(batch, step)
    if beside is not None:
        values |= run.method.backward_beside(beside)
    norm = nn.utils.clip_grad_norm_(run.trained.parameters(), run.recipe.optimizer.clip)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return values | {
        "gradient_norm": norm.item(),
        "learning_rate": rate,
        "tokens": float(batch.rows.input_ids.numel()),
        "examples": float(sum(map(len, batch.rows.turns))),
    }
