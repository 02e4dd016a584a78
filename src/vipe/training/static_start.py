"""Training, before the first step: the static factor A starts where activations differ.

A random A projects a layer's input to r numbers that hardly differ between tokens: most of an
activation is what all tokens share, and most of the rest is a few directions. How a question's
words differ is so heard late, and "is there an accordion?" needs just that. So A starts as r random
directions of the whitened leading components of what the frozen language model computes on
the training's own questions (after Paischer et al., "Parameter Efficient Fine-tuning via Explained
Variance Adaptation", 2024, who start A at the leading components themselves).

Dimensions: r rank, in the features of a target's input, n tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.perception import Perception
from vipe.training.language import TrainingLanguageModel
from vipe.training.packing import PackedRows

_COMPONENTS = 128


@torch.no_grad()
def start_static(
    perception: Perception, language: TrainingLanguageModel, rows: Iterable[PackedRows]
) -> None:
    """Start each target's static A from the activations of some rows; a static B stays zero."""
    if perception.config.factor != "B":
        return
    moments = {target: Moments(sizes[0]) for target, sizes in perception.targets.items()}
    for batch in rows:
        asked = batch.turn > 0
        for target, inputs in language.inputs(batch, asked):
            moments[target].add(inputs)
    generator = torch.Generator().manual_seed(0)
    for target, seen in moments.items():
        A = perception.static[target.replace(".", "-")]
        A.copy_(whitened_directions(seen, len(A), generator))


class Moments:
    """Mean and covariance of vectors, gathered a few at a time."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.sum = torch.zeros(size)
        self.products = torch.zeros(size, size)

    def add(self, x: Float[Tensor, "n in"]) -> None:
        """Take some vectors in."""
        self.count += len(x)
        self.sum += x.sum(0)
        self.products += x.T @ x

    def mean_square(self) -> Tensor:
        """Return the mean square of all their numbers."""
        return self.products.trace() / (self.count * len(self.sum))

    def covariance(self) -> Float[Tensor, "in in"]:
        """Return the covariance of all vectors so far."""
        mean = self.sum / self.count
        return self.products / self.count - mean[:, None] * mean


def whitened_directions(
    seen: Moments, rank: int, generator: torch.Generator
) -> Float[Tensor, "rank in"]:
    """Return A, under which the vectors have r uncorrelated components of equal variance.

    The variance is a third of the vectors' mean square: what LoRA's usual start (uniform, Kaiming)
    makes of the whole of them, most of which all tokens share.
    """
    variance, components = torch.linalg.eigh(seen.covariance())
    kept = slice(-min(_COMPONENTS, len(variance)), None)
    whiten = components[:, kept] / variance[kept].clamp_min(1e-12).sqrt()
    mix = torch.randn(whiten.shape[1], rank, generator=generator)
    std = (seen.mean_square() / 3).sqrt()
    return std * (whiten @ torch.linalg.qr(mix).Q).T
