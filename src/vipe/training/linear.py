"""Training, beside step 3: a linear layer of the language model, with a low-rank update beside it.

Where the language model is frozen only gradients with respect to activations are needed, and the
products can be of 8-bit integers: each row of the input (forward) and of the gradient (backward)
is scaled to int8, as is each output channel of the weight (Dettmers et al., LLM.int8(), NeurIPS
2022, §2.1, without its outlier decomposition). On a CPU with VNNI but no bf16 matrix units that is
four times as fast a product; docs/decisions/0002 has the evidence.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.attachment import low_rank_add


class TrainingLinear(nn.Module):
    """A linear layer, in int8 or as it was, frozen unless it learns.

    Args:
        linear: Its weights are taken over; those that learn are the very parameters.
        int8: Whether it multiplies in int8.
        tuned: Whether it can learn.

    Attributes:
        factors: A and B of the update, or None.
        scale: α / r.
        learns: Whether its weights have gradients, now.
    """

    weight: nn.Parameter
    scales: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, *, int8: bool, tuned: bool = False) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.int8, self.learns = int8, tuned
        self.factors: tuple[Tensor, Tensor] | None = None
        self.scale = 1.0
        if tuned:  # perhaps tied to the embeddings
            self.weight, self.bias = cast(nn.Parameter, linear.weight), linear.bias
            return
        kept = linear.weight.detach()
        if int8:
            kept, scales = quantise_rows(kept.float())
            self.register_buffer("scales", scales[:, 0])
        # A parameter, which processes can hold parts of.
        self.weight = nn.Parameter(kept, requires_grad=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Return `W x + b`, and the update's part where there is one."""
        x = x.contiguous()  # of the last places of rows a CPU would make a product for each
        if self.int8:
            y = _Int8Product.apply(x, self.weight, self.scales)
            y = y if self.bias is None else y + self.bias
        elif self.learns:
            y = F.linear(x, self.weight, self.bias)
        else:
            bias = None if self.bias is None else self.bias.detach()
            y = F.linear(x, self.weight.detach(), bias)
        if self.factors is not None:
            y = low_rank_add(y, x, *self.factors, self.scale)
        return y


def quantise_rows(x: Float[Tensor, "rows n"]) -> tuple[Tensor, Tensor]:
    """Scale each row to int8; return the integers and the scales `(rows, 1)`."""
    scales = x.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / 127
    return (x / scales).round().to(torch.int8), scales


class _Int8Product(torch.autograd.Function):
    """`x Wᵀ` with x and W in int8; backwards `g W` with g in int8."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scales: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scales)
        quantised, row_scales = quantise_rows(x.reshape(-1, x.shape[-1]))
        y = torch._int_mm(quantised, weight.t()).to(x.dtype) * row_scales * scales
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        weight, scales = ctx.saved_tensors
        (gradient,) = gradients
        rows = gradient.reshape(-1, gradient.shape[-1]) * scales
        quantised, row_scales = quantise_rows(rows)
        x = torch._int_mm(quantised, weight).to(gradient.dtype) * row_scales
        return x.view(*gradient.shape[:-1], -1), None, None
