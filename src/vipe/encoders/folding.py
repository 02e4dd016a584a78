"""Batch norms folded into the convolutions before them: fewer passes over the feature maps.

A frozen batch norm is an affine map of each channel, and so part of the convolution before it.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

TOLERANCE = 1e-3  # of a map's standard deviation; EfficientNet-Lite0 changes by 2e-5 of it


@torch.no_grad()
def fold_batch_norms(backbone: nn.Module, images: Float[Tensor, "frames 3 size size"]) -> nn.Module:
    """Return a backbone in evaluation mode that computes the same with fewer operations.

    Which norm follows which convolution is seen by running the backbone, so any module tree
    serves. The folded copy is compared with the original, which is returned if they differ (as
    they would where something else reads a convolution's output too).

    Args:
        backbone: In evaluation mode, float32; returns a list of feature maps.
        images: What to run it on.
    """
    pairs, expected = _convolutions_before_norms(backbone, images)
    if not pairs:
        return backbone
    folded = copy.deepcopy(backbone)
    for convolution, norm in pairs:
        before: Any = folded.get_submodule(convolution)
        after: Any = folded.get_submodule(norm)
        folded.set_submodule(convolution, fuse_conv_bn_eval(before, after))
        # timm's norms hold the activation that comes after them.
        rest = [getattr(after, part) for part in ("drop", "act") if hasattr(after, part)]
        folded.set_submodule(norm, nn.Sequential(*rest))
    for a, b in zip(folded(images), expected, strict=True):
        if (a - b).abs().max() > TOLERANCE * b.std():
            return backbone
    return folded


def _convolutions_before_norms(
    backbone: nn.Module, images: Tensor
) -> tuple[list[tuple[str, str]], list[Tensor]]:
    """Run the backbone once; return the pairs that were seen, by name, and the maps."""
    name_of = {module: name for name, module in backbone.named_modules()}
    made_by: dict[int, nn.Module] = {}
    alive: list[Tensor] = []  # while a tensor lives, no other one has its id
    pairs: list[tuple[str, str]] = []

    def after_convolution(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        made_by[id(output)] = module
        alive.append(output)

    def before_norm(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if convolution := made_by.get(id(inputs[0])):
            pairs.append((name_of[convolution], name_of[module]))

    handles = [
        module.register_forward_hook(after_convolution)
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(before_norm)
        for module in name_of
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    try:
        maps = backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    return pairs, maps
