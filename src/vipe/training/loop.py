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
from vipe.gist import parts_of
from vipe.model_files import load_weights
from vipe.targets import all_targets
from vipe.tokens import VideoToTokens
from vipe.training.alignment import AlignmentReaders, WordStatistics
from vipe.training.batches import Batch, Batches, Phase
from vipe.training.calibration import calibrate
from vipe.training.checkpoint import load_checkpoint, save_checkpoint
from vipe.training.concepts import Things
from vipe.training.features import FeatureStore
from vipe.training.held_out import evaluate
from vipe.training.keys import start_of_concepts
from vipe.training.language import TrainingLanguageModel
from vipe.training.log import RunLog
from vipe.training.methods import Method, ReadsTokens, WritesWeights
from vipe.training.optimizer import learning_rate, make_optimizer, set_learning_rate
from vipe.training.packing import Packer
from vipe.training.processes import Processes
from vipe.training.recipe import Recipe, Source
from vipe.training.shards import module_parts, whole
from vipe.training.tags import start_of_tags
from vipe.vision import VideoToWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)
_COUNTED_STEPS = 200
_COUNTS = ("tokens", "examples")


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
        processes: Which take part; this is one of them.
        method: What a step is; holds what is trained and the frozen language model.
        model: The method, as all processes compute it together.
        optimizer: AdamW over all that is trained.
        train: Batches of the recipe's sources.
        gist: Batches for the gist's losses, as large in every step as in the gist's own.
        held_out: Batches of held-out sources, by name.
    """

    recipe: Recipe
    processes: Processes
    method: Method
    model: nn.Module
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
        weights = whole(self.module.state_dict())
        if self.processes.main:
            self.method.save(self.recipe.folder / "model", self.recipe.config, weights)
        self.processes.wait()


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
    batches = run.train.stream(processes.places(done, steps))
    beside = run.gist.stream(processes.places(max(done, recipe.alignment.before), steps))
    for step in range(done, steps):
        if step == recipe.alignment.before:
            _start_binding(run)
        both = step >= recipe.alignment.before and recipe.alignment.gist_weight > 0
        micro = [
            train_step(
                run, next(batches), step, next(beside) if both else None, last=number == each
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
    """Let keys and values start from what the language model asks and says, and tags apart."""
    method = run.method
    if not run.recipe.alignment.keys or not isinstance(method, WritesWeights):
        return
    perception = run.module.perception
    if perception.binding is None or not method.things.names:
        return
    with run.processes.gathered():
        found = start_of_tags(perception) | start_of_concepts(
            perception, run.language, run.train.packer.tokenizer, method.things.names
        )
    own = {name: perception.get_parameter(name) for name in found}
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


def build(recipe: Recipe, observer: Observer) -> Run:
    """Load the backbones, encode what is not in the cache, and make what is trained."""
    config = recipe.config
    processes = Processes(accumulate=recipe.accumulate, shard=recipe.shard)
    shown = observer if processes.main else None
    encoder = config.encoder.build().to(processes.device)

    def opened(source: Source) -> ClipSource:
        return source.build(recipe.data, frames=config.frames, size=encoder.image_size)

    sources = [opened(share.source) for share in recipe.sources]
    held_out = {name: opened(source) for name, source in recipe.held_out.sources.items()}
    with processes.main_first():  # the others find it all in the cache
        features = FeatureStore.for_encoder(recipe.cache or user_cache_path("vipe"), encoder)
        for source in sources:
            _encode(source, None, features, encoder, shown)
        for source in held_out.values():
            _encode(source, recipe.held_out.clips, features, encoder, shown)

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
            device=processes.device,
        )

    phases = _phases(recipe, processes.batches)
    train_batches = batches(sources, phases, rows)
    method = _method(recipe, model, encoder.channels, train_batches)
    processes.place(method)
    optimizer = make_optimizer(method.trained, recipe.optimizer)
    return Run(
        recipe=recipe,
        processes=processes,
        method=method,
        model=processes.joined(method),
        optimizer=optimizer,
        train=train_batches,
        gist=batches(sources, [replace(phases[0], steps=None)]),
        held_out={name: batches([source]) for name, source in held_out.items()},
    )


def _encode(
    source: ClipSource,
    clips: int | None,
    features: FeatureStore,
    encoder: Encoder,
    observer: Observer | None,
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
            progress=None if observer is None else observer.encoding,
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
    targets = list(all_targets(model, config.perception))

    def language() -> TrainingLanguageModel:
        return TrainingLanguageModel(
            model, targets, precision=recipe.precision, compile=recipe.compile
        )

    if isinstance(module, VideoToTokens):
        return ReadsTokens(module, language(), recipe.alignment)
    counted = [batches.bags_and_sightings(step) for step in range(_COUNTED_STEPS)]
    bags = [bag for some, _ in counted for bag in some]
    readers = AlignmentReaders(
        words,
        width=config.perception.width,
        words=WordStatistics.count(bags, len(words)),
        heads=config.perception.heads,
        gists=config.injection.gists,
    )
    things = Things.count(
        [sightings for _, some in counted for sightings in some],
        concepts=config.perception.concepts,
        parts=parts_of(config.injection.moments, config.injection.places),
    )
    return WritesWeights(module, readers, language(), recipe.alignment, things)


def _phases(recipe: Recipe, each: int) -> list[Phase]:
    """The phases of a recipe whose steps see `each` batches."""
    alignment = recipe.alignment
    clips = tuple(share.clips for share in recipe.sources)
    return [
        Phase(
            clips=tuple(share.gist_clips or share.clips for share in recipe.sources),
            merge_ratios=alignment.merge_ratios,
            steps=alignment.gist_steps * each,
        ),
        Phase(clips=clips, merge_ratios=alignment.merge_ratios, steps=alignment.steps * each),
        Phase(clips=clips, merge_ratios=recipe.merge_ratios),
    ]


def train_step(
    run: Run, batch: Batch, step: int, beside: Batch | None = None, *, last: bool = True
) -> dict[str, float]:
    """Take one micro-batch; with the last of a step, step.

    Args:
        run: What is trained.
        batch: What the micro-batch sees.
        step: From 0.
        beside: Clips for the gist's losses beside the language model's.
        last: Whether it is the last of the step.

    Returns:
        Its loss, learning rate and counts, and of the last one the norm of the step's gradient.
    """
    if not any(batch.rows.turns):
        raise RecipeError(
            f"row_tokens: {run.recipe.row_tokens} hold none of the questions of step {step + 1}"
        )
    rate = learning_rate(step, run.recipe)
    set_learning_rate(run.optimizer, rate)
    run.module.train()
    with run.processes.micro_batch(run.model, last=last):
        loss, values = run.model(batch, step, beside)
        run.processes.backward(loss)
    if last:
        norm = nn.utils.clip_grad_norm_(run.trained.parameters(), run.recipe.optimizer.clip)
        values["gradient_norm"] = whole(norm).item()
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
    return values | {
        "learning_rate": rate,
        "tokens": float(batch.rows.input_ids.numel()),
        "examples": float(sum(map(len, batch.rows.turns))),
    }
