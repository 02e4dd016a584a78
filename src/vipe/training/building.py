"""Training, a recipe → its run: backbones, features, batches, the method, the optimiser."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from platformdirs import user_cache_path
from torch import nn

from vipe.backbones import load_language_model
from vipe.config import ViPEConfig
from vipe.data.clip import ClipSource
from vipe.data.records import RecordSource
from vipe.encoders import Encoder
from vipe.errors import RecipeError, ViPEError
from vipe.gist import parts_of
from vipe.model_files import load_weights, own_language_model, read_any_config, resolve_folder
from vipe.tokens import VideoToTokens
from vipe.training.ahead import made_ahead
from vipe.training.alignment import AlignmentReaders, WordStatistics
from vipe.training.batches import Batches, Phase
from vipe.training.concepts import Things
from vipe.training.features import FeatureStore
from vipe.training.language import TrainingLanguageModel
from vipe.training.method import Method
from vipe.training.optimizer import make_optimizer
from vipe.training.packing import Packer
from vipe.training.processes import Processes
from vipe.training.reads_tokens import ReadsTokens
from vipe.training.recipe import Recipe
from vipe.training.run import Observer, Run
from vipe.training.self_critical import critic_of
from vipe.training.sources import Source
from vipe.training.writes_weights import WritesWeights
from vipe.vision import VideoToWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)
_COUNTED_STEPS, _COUNTED_CLIPS = 200, 8000
"""Steps whose words and things are counted before a run, and clips of these that are enough."""


def build(recipe: Recipe, observer: Observer) -> Run:
    """Load the backbones, encode what is not in the cache, and make what is trained."""
    config = _config(recipe)
    processes = Processes(accumulate=recipe.accumulate, shard=recipe.shard)
    shown = observer if processes.main else None
    encoder = config.encoder.build().to(processes.device)

    def opened(source: Source) -> ClipSource:
        return source.build(recipe.data, frames=config.frames, size=encoder.image_size)

    sources = [opened(share.source) for share in recipe.sources]
    held_out = {name: opened(source) for name, source in recipe.held_out.sources.items()}
    praised = None if recipe.rewarded is None else opened(recipe.rewarded.source)
    with processes.main_first():  # the others find it all in the cache
        features = FeatureStore.for_encoder(recipe.cache or user_cache_path("vipe"), encoder)
        for source in sources if praised is None else [*sources, praised]:
            _encode(source, None, features, encoder, shown, recipe.workers)
        for source in held_out.values():
            _encode(source, recipe.held_out.clips, features, encoder, shown, recipe.workers)

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
            frames=recipe.method == "vipe" and config.perception.recollection,
        )

    phases = _phases(recipe, processes.batches)
    train_batches = batches(sources, phases, rows)
    method = _method(recipe, config, model, encoder.channels, train_batches, processes.device)
    rewarded = None
    if recipe.rewarded is not None and praised is not None:
        method.critic = critic_of(recipe.rewarded, praised, tokenizer)
        each = Phase(clips=(recipe.rewarded.clips,), merge_ratios=recipe.merge_ratios)
        rewarded = batches([praised], [each], [("caption",)])
    _learn_only(method.module, recipe)
    processes.place(method)
    if isinstance(method, WritesWeights) and method.module.perception.binding is not None:
        named = replace(config.perception, things=method.things.names)
        config = replace(config, perception=named)
    optimizer = make_optimizer(method.trained, recipe.optimizer, recipe.language_model)
    return Run(
        recipe=recipe,
        config=config,
        processes=processes,
        method=method,
        model=processes.joined(method),
        optimizer=optimizer,
        train=train_batches,
        gist=batches(sources, [replace(phases[0], steps=None)]),
        rewarded=rewarded,
        held_out={name: batches([source]) for name, source in held_out.items()},
        language_model=model,
    )


def _config(recipe: Recipe) -> ViPEConfig:
    """The model's config, with what stays with the start's weights.

    That is the language model that was tuned with them, and what their concepts stand for.
    """
    config = recipe.config
    if recipe.start is None:
        return config
    start = read_any_config(resolve_folder(recipe.start))
    if not recipe.start_only and own_language_model(start.language_model) is not None:
        config = replace(config, language_model=start.language_model)
    takes_concepts = not recipe.start_only or any(
        "perception.binding.recognise".startswith(part) for part in recipe.start_only
    )
    ours, theirs = config.perception, start.perception
    if takes_concepts and theirs.things and ours.concepts == theirs.concepts:
        config = replace(config, perception=replace(ours, things=theirs.things))
    return config


def _encode(
    source: ClipSource,
    clips: int | None,
    features: FeatureStore,
    encoder: Encoder,
    observer: Observer | None,
    workers: int,
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
            workers=workers,
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
    return sorted({shot.key for clip in found for shot in (*clip.shots, *clip.passing)})


def _method(
    recipe: Recipe,
    config: ViPEConfig,
    model: PreTrainedModel,
    channels: int,
    batches: Batches,
    device: torch.device,
) -> Method:
    """Make what is trained, and put the language model into its training form."""
    embeddings: Any = model.get_input_embeddings()
    words = embeddings.weight
    module: VideoToWeights | VideoToTokens
    if recipe.method == "tokens":
        module = VideoToTokens(recipe.reads, config, channels=channels, language_model=model)
    else:
        module = VideoToWeights(config, channels=channels, language_model=model)
    if recipe.start is not None:
        load_weights(recipe.start, config, module, recipe.start_only, fresh="language_lora.")

    def language() -> TrainingLanguageModel:
        return TrainingLanguageModel(
            model,
            list(module.targets),
            precision=recipe.precision,
            compile=recipe.compile,
            tuned=recipe.language_model.tuned == "full",
            checkpointing=recipe.language_model.checkpointing,
            device=device,
        )

    if isinstance(module, VideoToTokens):
        return ReadsTokens(module, language(), recipe.alignment, recipe.tuned_after)
    steps = min(_COUNTED_STEPS, -(-_COUNTED_CLIPS // sum(batches.phases[0].clips)))
    counted = [*made_ahead(batches.bags_and_sightings, range(steps), recipe.workers)]
    bags = [bag for some, _ in counted for bag in some]
    readers = AlignmentReaders(
        words,
        width=config.perception.width,
        words=WordStatistics.count(bags, len(words)),
        heads=config.perception.heads,
        gists=config.injection.gists,
    )
    parts = parts_of(config.injection.moments, config.injection.places)
    concepts, names = config.perception.concepts, config.perception.things
    if names:
        things = Things(names=names, concepts=concepts, parts=parts)
    else:
        seen = [sightings for _, some in counted for sightings in some]
        things = Things.count(seen, concepts=concepts, parts=parts)
    return WritesWeights(module, readers, language(), recipe.alignment, things, recipe.tuned_after)


def _learn_only(module: nn.Module, recipe: Recipe) -> None:
    """Let parts of what becomes the model learn, and all else stay."""
    for part in recipe.only:
        if not any(f"{name}.".startswith(f"{part}.") for name, _ in module.named_parameters()):
            raise RecipeError(f"only: the model has no {part}")
    for name, parameter in module.named_parameters():
        if recipe.only and not any(f"{name}.".startswith(f"{part}.") for part in recipe.only):
            parameter.requires_grad_(False)


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
