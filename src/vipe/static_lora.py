"""A LoRA that is the same for every video: what the language model learns of the task.

ViPE has one of its own in the layers that videos do not decide, and the twin in all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.weights import PerceptualWeights


class StaticLora(nn.Module):
    """Factors of some layers (Hu et al., LoRA, ICLR 2022, §4.1); at first they change nothing.

    Args:
        targets: (in, out) features of each layer, by its full name.
        rank: r.
        alpha: α; the update is scaled by α / r.
        language_model: The name of the language model.
    """

    def __init__(
        self,
        targets: Mapping[str, tuple[int, int]],
        *,
        rank: int,
        alpha: float,
        language_model: str,
    ) -> None:
        super().__init__()
        self.alpha, self.language_model = alpha, language_model
        self.names = {target: target.replace(".", "-") for target in targets}
        self.A = nn.ParameterDict()
        self.B = nn.ParameterDict()
        for target, (inputs, outputs) in targets.items():
            self.A[self.names[target]] = nn.Parameter(lora_start(rank, inputs))
            self.B[self.names[target]] = nn.Parameter(torch.zeros(outputs, rank))

    def factors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return A `(r, in)` and B `(out, r)` of each target."""
        return (
            {target: self.A[name] for target, name in self.names.items()},
            {target: self.B[name] for target, name in self.names.items()},
        )

    def weights(self) -> PerceptualWeights:
        """Return it as an update of the language model, where there are any targets."""
        A, B = self.factors()
        return PerceptualWeights(A=A, B=B, alpha=self.alpha, base_model=self.language_model)


def lora_start(rank: int, inputs: int) -> Float[Tensor, "rank inputs"]:
    """Return what A starts from, as PEFT draws it."""
    return nn.init.kaiming_uniform_(torch.empty(rank, inputs), a=math.sqrt(5))
