"""Training, before a run: what it takes of each GPU's memory, counted from shapes alone.

Parameters, gradients and AdamW's state follow from the shapes. What the language model holds for
its backward pass is what autograd saves when its layers are gone through without numbers. The
injection and perception modules, the merge and what the allocator wastes are not in it: leave a
tenth or so free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vipe.backbones.language import language_model_config
from vipe.config import ViPEConfig
from vipe.training.language import TrainingLanguageModel
from vipe.training.linear import TrainingLinear
from vipe.training.recipe import Recipe
from vipe.vision import VideoToWeights
from vipe.weights import PerceptualWeights

_FLOAT, _ADAM, _SUMS = 4, 8, 12
"""Bytes of a float; of AdamW's two moments; of logits, their logarithms and their gradients."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one process's GPU.

    Attributes:
        frozen: Parameters that are not trained, or this process's part of them.
        trained: Parameters that are, with gradients and AdamW's state, or its part of them.
        gathered: What is whole while it computes: the largest layers, and all beside layers.
        updates: The factors of a batch of videos and their gradients.
        activations: What the language model's layers hold for the backward pass.
        logits: Of the places that are trained, at most a whole row.
    """

    frozen: int
    trained: int
    gathered: int
    updates: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe's parts, with shapes and no numbers.

    Attributes:
        mode: In which the shapes are computed with.
        module: What becomes the model.
        language: The language model as it is trained.
        adapter: What one video becomes.
    """

    mode: FakeTensorMode
    module: VideoToWeights
    language: TrainingLanguageModel
    adapter: PerceptualWeights

    @property
    def trained(self) -> int:
        """How many parameters are trained and kept."""
        return _count(self.module) + (_count(self.language) if self.language.tuned else 0)


def plan(recipe: Recipe, shapes: ViPEConfig) -> Plan:
    """Build what a recipe for ViPE trains.

    Args:
        recipe: What is to be run.
        shapes: Its config, with backbones of which the `config.json` is at hand.

    Raises:
        ModelError: A target is not in the language model.
    """
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        channels = replace(shapes.encoder, pretrained=False).build().channels
    mode = FakeTensorMode()  # unlike tensors on the meta device, they are cast as on any other
    with mode:
        model = AutoModelForCausalLM.from_config(language_model_config(shapes.language_model))
        module = VideoToWeights(shapes, channels=channels, language_model=model).eval()
        language = TrainingLanguageModel(
            model,
            list(module.targets),
            precision="bfloat16" if recipe.precision == "auto" else recipe.precision,
            tuned=recipe.language_model.tuned == "full",
            device=torch.device("cuda"),  # its attention; nothing is put there
        )
        slots = torch.empty(1, len(module.perception.targets), shapes.perception.width)
        gists = torch.empty(1, shapes.injection.gists, shapes.perception.width)
        with torch.no_grad():
            adapter = module.decide(slots, gists)[0]
    return Plan(mode=mode, module=module, language=language, adapter=adapter)


def memory(recipe: Recipe, planned: Plan, processes: int) -> Memory:
    """Count what a step through the language model takes of each GPU.

    Args:
        recipe: What is to be run.
        planned: Its parts.
        processes: W, each with a GPU.
    """
    language, module = planned.language, planned.module
    parts = processes if recipe.shard else 1
    layers = [_bytes(layer) for layer in language.body.layers]
    gathered = 0
    if parts > 1:  # one layer computes while the next is gathered
        beside = _bytes(language) - sum(layers) + _bytes(module)
        gathered = 2 * max(layers) + beside
    videos = sum(share.clips for share in recipe.sources)
    each = sum(B.numel() for B in planned.adapter.B.values())  # of both kinds, once attached
    return Memory(
        frozen=0 if language.tuned else _bytes(language) // parts,
        trained=planned.trained * (2 * _FLOAT + _ADAM) // parts,
        gathered=gathered,
        updates=videos * each * (2 * _FLOAT + language.dtype.itemsize),
        activations=_activations(recipe, planned, videos),
        logits=videos * recipe.row_tokens * language.head.out_features * _SUMS,
    )


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _bytes(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def _activations(recipe: Recipe, planned: Plan, videos: int) -> int:
    """What the layers hold of a batch of full rows."""
    language, tokens = planned.language, recipe.row_tokens
    kept = torch.float32 if language.tuned else language.dtype
    with planned.mode:
        shape = (videos, tokens, language.head.in_features)
        x = torch.empty(shape, dtype=kept, requires_grad=True)
        mask = torch.zeros(videos, 1, tokens, tokens, dtype=language.dtype)
        places = torch.arange(tokens)[None]
        weights = PerceptualWeights.batch([planned.adapter] * videos)
        for target in weights.targets:  # what is trained decides them
            for factor in weights.factors(target):
                factor.requires_grad_()
        with language.attached(weights):
            linears = [m for m in language.modules() if isinstance(m, TrainingLinear)]
            updates = [factor for linear in linears for factor in linear.factors or ()]
            whole = _saved(
                lambda: language.through_layers(x, places, mask),
                but=[*language.parameters(), *updates],
            )
    layers = len(language.body.layers)
    if recipe.language_model.checkpointing:
        return whole // layers + layers * x.nbytes
    return whole


def _saved(call: Callable[[], object], but: Iterable[Tensor]) -> int:
    """Bytes that autograd saves in a call, of other tensors than some."""
    left_out = {tensor.untyped_storage()._cdata for tensor in but}
    storages: dict[int, Any] = {}  # held, so that none takes the place of another

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in left_out:
            storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held = call()
    total = sum(storage.nbytes() for storage in storages.values())
    del held
    return total
