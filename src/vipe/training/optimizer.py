"""Training: what each step's learning rate is, and which parameters decay."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from vipe.training.recipe import Optimizer, Recipe
from vipe.training.tuning import Frozen, Tuning

_HEADS = ("heads_A", "heads_B", "shift", "mix", "lora", "tag", "part", "concept", "said")
_SHARED = ("shared_tag", "across", "second")
_MEMORY = ("binding", "recollection")
_STARTS = ("slots", "mix", "parts")
_LANGUAGE = ("language", "language_lora")
_FROZEN = Frozen()


def make_optimizer(
    module: nn.Module, config: Optimizer, tuning: Tuning = _FROZEN
) -> torch.optim.Optimizer:
    """AdamW; biases, norms and starts do not decay; some parts have rates of their own.

    Args:
        module: All that is trained.
        config: How.
        tuning: Of the language model, whose parameters have a rate and a decay of their own.
    """
    groups: dict[tuple[bool, float, float], dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        parts = name.split(".")
        decays = (
            parameter.ndim == 2
            and parts[-1] not in _STARTS
            and not any(part in _MEMORY for part in parts)
        )
        decay = config.weight_decay if decays else 0.0
        multiple = 1.0
        tuned = any(part in _LANGUAGE for part in parts)
        if tuned and not isinstance(tuning, Frozen):
            decay = tuning.weight_decay if decays else 0.0
            multiple = tuning.learning_rate / config.learning_rate
        elif "rows" in parts:
            multiple = config.factor
        elif "recollection" in parts:
            multiple = config.recollection
        elif any(part in _HEADS for part in parts):
            multiple = config.heads
        elif any(part in _SHARED for part in parts):
            multiple = config.shared
        elif "static_lora" in parts:
            multiple = config.static
        elif "static" in parts:
            multiple = config.factor
        group = groups.setdefault(
            (tuned, multiple, decay),
            {"params": [], "weight_decay": decay, "multiple": multiple, "tuned": tuned},
        )
        group["params"].append(parameter)
    return torch.optim.AdamW(
        list(groups.values()), lr=config.learning_rate, betas=config.betas, fused=True
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float, tuned: float = 1.0) -> None:
    """Give every group the rate, or its multiple of it; `tuned` times it the language model's."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["multiple"] * (tuned if group["tuned"] else 1.0)


def tuned_warmup(step: int, recipe: Recipe) -> float:
    """What the rates of the language model's own weights are multiplied by when it comes in."""
    if recipe.tuned_after is None:
        return 1.0
    done = max(0, step - recipe.tuned_after + 1)
    return min(1.0, done / max(1, recipe.optimizer.warmup))


def learning_rate(step: int, recipe: Recipe) -> float:
    """Warm-up to the full rate, then a cosine down to `final` times it.

    The steps that teach the gist have a schedule of their own, and those that teach the slots
    after them keep the full rate. Where the language model comes in, it warms up again: its
    gradients are of another size than those that Adam has averaged, and would undo what was
    learned.
    """
    config, alignment = recipe.optimizer, recipe.alignment
    if step < alignment.gist_steps:
        peak, start, end = alignment.gist_learning_rate, 0, alignment.gist_steps
    elif step < alignment.before:
        peak, start, end = config.learning_rate, alignment.gist_steps, None
    else:
        peak, start, end = config.learning_rate, alignment.before, config.steps
    warm = min(1.0, (step - start + 1) / max(1, config.warmup))
    if end is None:
        return peak * warm
    part = max(0, step - start - config.warmup) / max(1, end - start - config.warmup)
    low = config.final
    return peak * warm * (low + (1 - low) * (1 + math.cos(math.pi * part)) / 2)
