"""Training: what a run is made of: sources, batches, the method, the optimiser."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from platformdirs import user_cache_path
from torch import nn

from vipe.backbones import load_language_model
from vipe.data.clip import ClipSource
from vipe.data.records import RecordSource
from vipe.encoders import Encoder
from vipe.errors import ViPEError
from vipe.gist import parts_of
from vipe.model_files import load_weights
from vipe.targets import all_targets
from vipe.tokens import VideoToTokens
from vipe.training.alignment import AlignmentReaders, WordStatistics
from vipe.training.batches import Batches, Phase
from vipe.training.concepts import Things
from vipe.training.features import FeatureStore
from vipe.training.language import TrainingLanguageModel
from vipe.training.methods import Method, ReadsTokens, WritesWeights
from vipe.training.optimizer import make_optimizer
from vipe.training.packing import Packer
from vipe.training.processes import Processes
from vipe.training.recipe import Recipe
from vipe.training.shards import whole
from vipe.training.sources import Source
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
        load_weights(recipe.start, config, module, recipe.start_only)
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
        Phase(clips=clips, merge_ratios=recipe.merge_ratios, segments=recipe.segments),
    ]
