"""A LoRA that is the same for every video: what the language model learns of the task.

ViPE has one of its own in the layers that videos do not decide, and the twin in all. Another, of
any layers and of a rank of its own, may be tuned with either (`StaticLoraConfig`) and goes with
every adapter, beside what the video decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.targets import find_linear
from vipe.weights import PerceptualWeights


@dataclass(frozen=True, kw_only=True)
class StaticLoraConfig:
    """A LoRA of the language model that is tuned with the model and alike for all videos.

    Attributes:
        rank: Its own r.
        alpha: Its own α; the update is scaled by α / r.
        targets: Names of the linear modules that it updates, those that a video decides too.
        layers: In which layers, by number; None for all.
    """

    rank: int = 64
    alpha: float = 128.0
    targets: tuple[str, ...] = (
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    )  # fmt: skip
    layers: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")

    def build(self, language_model: nn.Module, *, name: str) -> StaticLora:
        """Make the LoRA for a language model, with fresh weights: it changes nothing.

        Args:
            language_model: Any causal language model whose layers hold linear modules.
            name: Its name.

        Raises:
            ModelError: The language model has no such linear modules.
        """
        targets = find_linear(language_model, self.targets, self.layers)
        return StaticLora(targets, rank=self.rank, alpha=self.alpha, language_model=name)


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


def beside(weights: PerceptualWeights, lora: PerceptualWeights) -> PerceptualWeights:
    """Return the update whose ΔW is the sum of a video's, or some videos', and of a static LoRA.

    Where both update a layer their ranks are laid side by side. What videos share stays shared:
    their sum has the same ranks again, and the LoRA once.

    Args:
        weights: Of one video or of a batch.
        lora: Alike for all of them.
    """
    first = weights.targets[0]
    batched_A, batched_B = weights.A[first].ndim == 3, weights.B[first].ndim == 3

    def alike(factor: Tensor, batched: bool) -> Tensor:
        return factor.expand(len(weights), -1, -1) if batched else factor

    A: dict[str, Tensor] = {}
    B: dict[str, Tensor] = {}
    static: dict[str, Tensor] = {}
    for target in dict.fromkeys((*weights.targets, *lora.targets)):
        rows, columns, shared = (
            [of[target]] if of and target in of else []
            for of in (weights.A, weights.B, weights.static)
        )
        if target in lora.A:
            scaled = lora.B[target] * (lora.scale / weights.scale)
            rows.append(alike(lora.A[target], batched_A))
            columns.append(alike(scaled, batched_B))
            shared.append(scaled)
        A[target], B[target] = torch.cat(rows, dim=-2), torch.cat(columns, dim=-1)
        if weights.static is not None:
            static[target] = torch.cat(shared, dim=-1)
    rank = max(factor.shape[-2] for factor in A.values())
    return replace(weights, A=A, B=B, static=static or None, alpha=weights.scale * rank)


def lora_start(rank: int, inputs: int) -> Float[Tensor, "rank inputs"]:
    """Return what A starts from, as PEFT draws it."""
    return nn.init.kaiming_uniform_(torch.empty(rank, inputs), a=math.sqrt(5))


def key_rows(count: int, targets: Mapping[str, tuple[int, int]]) -> nn.ParameterDict:
    """Return rows of A, `(count, in)` for each target; the names' dots are hyphens."""
    return nn.ParameterDict(
        {
            target.replace(".", "-"): nn.Parameter(lora_start(count, inputs))
            for target, (inputs, _) in targets.items()
        }
    )
