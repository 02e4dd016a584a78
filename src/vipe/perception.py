"""Stage 5 of the flow, PerceptualQueries → PerceptualWeights: the Visual Perception Module.

One slot for each (layer, module) of the language model, a learned vector of unit variance plus
the video's gists in a mixture of its own, cross-attends to the perceptual queries, and a head
turns it into the factor that the video decides. By default the video decides B and A is static and
learned: the adapters of one model then share A, and add up without their rank growing
(docs/decisions/0001).

Dimensions: b videos, s slots, g gists, d width, r rank, in and out the features of a target.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.binding import Binding
from vipe.injection import PerceptualQueries
from vipe.layers import CrossBlock, VideoNorm, keep_bias
from vipe.recognition import Recognised
from vipe.recollection import Recollection
from vipe.seen import Seen
from vipe.static_lora import StaticLora, lora_start
from vipe.targets import find_static_targets, find_targets, kind_of
from vipe.weights import PerceptualWeights

Factor = Literal["B", "A", "AB"]


@dataclass(frozen=True, kw_only=True)
class PerceptionConfig:
    """The Visual Perception Module.

    Attributes:
        width: d, shared with injection.
        heads: Attention heads.
        depth: Blocks of cross-attention, self-attention and feed-forward.
        rank: r of the update.
        alpha: α; the update is scaled by α / r.
        targets: Names of the linear modules that are updated, in every layer.
        layers: Which layers, by number; None for all.
        factor: Which factor the video decides; the other is static and learned.
        static_targets: Names of the linear modules whose update is alike for all videos: a LoRA
            with which the language model learns to carry what the others write from where a thing
            is named to where the answer is. A layer that a video decides is not one of them.
        static_layers: In which layers, by number; None for all.
        concepts: How many a part of a video can be said to hold, where the video decides B alone
            (`vipe.binding`); 0 for no binding.
        things: What the first concepts stand for, as the training named them; empty if not known.
        recollection: Whether frames are looked at one by one, before they merge, and what is
            recognised in them is written besides (`vipe.recollection`); needs concepts.
    """

    width: int = 384
    heads: int = 6
    depth: int = 3
    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("o_proj", "down_proj")
    layers: tuple[int, ...] | None = None
    factor: Factor = "B"
    static_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    static_layers: tuple[int, ...] | None = None
    concepts: int = 768
    things: tuple[str, ...] = ()
    recollection: bool = False

    def __post_init__(self) -> None:
        if min(self.width, self.heads) < 1 or self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        if self.concepts < 0:
            raise ValueError(f"concepts must not be negative, got {self.concepts}")
        if len(self.things) > self.concepts:
            raise ValueError(f"{len(self.things)} things but {self.concepts} concepts")
        if self.recollection and not (self.concepts and self.factor == "B"):
            raise ValueError("recollection needs concepts, and a video that decides B alone")

    def build(
        self, language_model: nn.Module, *, name: str, gists: int, clock: bool = False
    ) -> Perception:
        """Make the module for a language model, with fresh weights.

        Args:
            language_model: Any causal language model whose layers hold linear modules.
            name: The language model's name, which goes into every adapter.
            gists: How many of each video come with its queries.
            clock: Whether the seconds of its parts do.

        Raises:
            ModelError: The language model has no such linear modules.
        """
        targets = find_targets(language_model, self)
        static = find_static_targets(language_model, self)
        return Perception(self, targets, static, name, gists, clock=clock)


class Perception(nn.Module):
    """PerceptualQueries → PerceptualWeights; at initialisation the update is exactly zero."""

    def __init__(
        self,
        config: PerceptionConfig,
        targets: Mapping[str, tuple[int, int]],
        static_targets: Mapping[str, tuple[int, int]],
        name: str,
        gists: int,
        *,
        clock: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.language_model = config, name
        self.targets, self.static_targets = dict(targets), dict(static_targets)
        self.slots = nn.Parameter(torch.randn(len(targets), config.width))
        self.mix = nn.Parameter(_mix_start(len(targets), gists))
        self.blocks = nn.ModuleList(
            # All that the blocks add is about half of the gist that a slot starts from.
            CrossBlock(config.width, config.heads, start=(12 * config.depth) ** -0.5)
            for _ in range(config.depth)
        )
        for last in [*self.blocks][-1:]:
            keep_bias(last.block.feed_forward[-1])
        # Layers share a head: with equal gains, a channel of what the slots read would write the
        # same r directions into every layer, and words be told apart by r numbers in all.
        self.norm = VideoNorm(len(targets), config.width, spread=1.0)
        self.heads_A = self._heads(0) if "A" in config.factor else None
        self.heads_B = self._heads(1) if "B" in config.factor else None
        self.static = nn.ParameterDict(
            {
                # ParameterDict's keys hold no dots.
                target.replace(".", "-"): nn.Parameter(self._static_start(sizes))
                for target, sizes in self.targets.items()
                if config.factor != "AB"
            }
        )
        # What the decided factor is for every video: a static LoRA of each layer, the task's style.
        self.shift = nn.ParameterDict(
            {
                f"{factor}-{target.replace('.', '-')}": nn.Parameter(torch.zeros(shape))
                for target, (inputs, outputs) in self.targets.items()
                for factor, shape in (
                    ("A", (config.rank, inputs)),
                    ("B", (outputs, config.rank)),
                )
                if factor in config.factor
            }
        )
        self.static_lora = StaticLora(
            self.static_targets, rank=config.rank, alpha=config.alpha, language_model=name
        )
        if self.heads_A is not None:
            for layer in self.heads_A.children():
                assert isinstance(layer, nn.Linear)
                # What it decides is then as large as what `lora_start` draws, of variance 1 / 3 in;
                # what it reads has variance 2, with the norm's gains.
                size = layer.out_features // config.rank
                nn.init.normal_(layer.weight, std=(6 * size * config.width) ** -0.5)
                nn.init.zeros_(layer.bias)
        self.binding = None
        if self.heads_B is not None:
            for parameter in self.heads_B.parameters():
                nn.init.zeros_(parameter)
            if config.concepts and config.factor == "B":
                self.binding = Binding(
                    [size[1] for size in self.targets.values()],
                    [kind_of(target) for target in self.targets],
                    width=config.width,
                    rank=config.rank,
                    gists=gists,
                    concepts=config.concepts,
                    clock=clock,
                )
        self.recollection = (
            Recollection(self.binding, self.targets)
            if config.recollection and self.binding is not None
            else None
        )

    @property
    def recollects(self) -> bool:
        """Whether what was recognised in frames is written."""
        return self.recollection is not None

    def _heads(self, side: int) -> nn.ModuleDict:
        """One head for each kind of module, shared by the layers: d → features · r."""
        sizes = {kind_of(target): size[side] for target, size in self.targets.items()}
        return nn.ModuleDict(
            {
                kind: nn.Linear(self.config.width, size * self.config.rank)
                for kind, size in sizes.items()
            }
        )

    def _static_start(self, sizes: tuple[int, int]) -> Tensor:
        if self.config.factor == "B":
            return lora_start(self.config.rank, sizes[0])
        return torch.zeros(sizes[1], self.config.rank)

    def forward(self, queries: PerceptualQueries) -> PerceptualWeights:
        """Return the weights of a batch of videos: the decided factor is `(b, …)`."""
        seen = queries.recognised, queries.length
        return self.decide(self.read(queries), queries.gists, queries.times, *seen)

    def read(self, queries: PerceptualQueries) -> Float[Tensor, "b s d"]:
        """Return what each slot read of the videos, of unit variance over videos."""
        x = self.slots + torch.einsum("sg,bgd->bsd", self.mix, queries.gists)
        for block in self.blocks:
            x = block(x, queries.values, queries.key_bias)
        return self.norm(x)

    def decide(
        self,
        x: Float[Tensor, "b s d"],
        gists: Float[Tensor, "b g d"],
        times: Float[Tensor, "b g f"] | None = None,
        recognised: Recognised | None = None,
        length: Float[Tensor, " b"] | None = None,
    ) -> PerceptualWeights:
        """Turn what the slots read, what is bound of the gists and recollected, into weights."""
        rank = self.config.rank
        A: dict[str, Tensor] = {}
        B: dict[str, Tensor] = {}
        places: dict[str, list[int]] = {}
        for place, target in enumerate(self.targets):
            places.setdefault(kind_of(target), []).append(place)
        names = list(self.targets)
        for kind, slots in places.items():
            chosen = x[:, slots]
            if self.heads_A is not None:
                decided = self.heads_A[kind](chosen).unflatten(-1, (rank, -1)).unbind(1)
                A |= dict(zip([names[i] for i in slots], decided, strict=True))
            if self.heads_B is not None:
                decided = self.heads_B[kind](chosen).unflatten(-1, (-1, rank)).unbind(1)
                B |= dict(zip([names[i] for i in slots], decided, strict=True))
        if self.binding is not None:
            for place, bound in self.binding(gists, times).items():
                B[names[place]] = B[names[place]] + bound
        recollected: dict[str, Tensor] = {}
        if self.recollection is not None and recognised is not None:
            assert self.binding is not None
            assert length is not None
            seen = Seen.of(recognised, length)
            trust = self.recollection.trust(seen)[:, None, None]
            B = {target: trust * part for target, part in B.items()}
            recollected = self.recollection(seen, self.binding)
        static = self._static()
        for name, shifted in (("A", A), ("B", B)):
            for target in shifted:
                shifted[target] = shifted[target] + self.shift[f"{name}-{target.replace('.', '-')}"]
        if self.recollection is not None:
            B |= self.recollection.beside(B, recollected)
        carried_A, carried_B = self.static_lora.factors()
        if "A" in self.config.factor:  # factors have one form for all targets
            carried_A = {target: part.expand(len(x), -1, -1) for target, part in carried_A.items()}
        if "B" in self.config.factor:
            carried_B = {target: part.expand(len(x), -1, -1) for target, part in carried_B.items()}
        return self._weights(
            {t: (A or static)[t] for t in names} | carried_A,
            {t: (B or static)[t] for t in names} | carried_B,
        )

    def _weights(self, A: Mapping[str, Tensor], B: Mapping[str, Tensor]) -> PerceptualWeights:
        config = self.config
        rank = max(factor.shape[-2] for factor in A.values())
        return PerceptualWeights(
            A=A,
            B=B,
            alpha=config.alpha * rank / config.rank,
            base_model=self.language_model,
            static=self._alike() if config.factor == "B" else None,
        )

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A model folder of before has some of recollection as the binding has it."""
        if self.recollection is not None:
            for own, before in self.recollection.of_binding().items():
                if (name := f"{prefix}binding.{before}") in state:
                    state.setdefault(f"{prefix}recollection.{own}", state[name].clone())
        super()._load_from_state_dict(state, prefix, *rest)

    def _static(self) -> dict[str, Tensor]:
        """The factor that is alike for all videos, if there is one."""
        static = {t: self.static[t.replace(".", "-")] for t in self.targets if self.static}
        if self.recollection is not None:
            for target, keys in self.recollection.keys().items():
                static[target] = torch.cat([static[target], keys])
        return static

    def _alike(self) -> dict[str, Tensor]:
        """What B is for every video: of each target its shift, of a static one all of it."""
        shifts = {t: self.shift[f"B-{t.replace('.', '-')}"] for t in self.targets}
        if self.recollection is not None:
            shifts |= self.recollection.beside(shifts, {})
        return shifts | self.static_lora.factors()[1]

    def static_weights(self) -> PerceptualWeights:
        """Return what is alike for all videos: a static LoRA of each layer.

        Raises:
            ValueError: The video decides both factors, or A.
        """
        if self.config.factor != "B":
            raise ValueError(f"with factor {self.config.factor} no A is shared by all videos")
        return self._weights(self._static() | self.static_lora.factors()[0], self._alike())


def _mix_start(slots: int, gists: int) -> Float[Tensor, "s g"]:
    """Every other slot starts from the whole's gist, and those between from one part's, in turns.

    From a mixture of both, what a part has of its own is heard too little: of the slots, a reader
    of questions said what comes first no better than a coin (docs/decisions/0004).
    """
    mix = torch.zeros(slots, gists)
    mix[:, 0] = 1.0
    if gists > 1:
        between = torch.arange(1, slots, 2)
        mix[between, 0] = 0.0
        mix[between, 1 + torch.arange(len(between)) % (gists - 1)] = 1.0
    return mix
