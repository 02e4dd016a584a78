"""Stage 6 of the flow, PerceptualWeights: what a video became, as a low-rank update of weights.

For each target (a linear layer W of the language model, by its full module name) the update is
ΔW = (α / r) · B A (Hu et al., LoRA, ICLR 2022, eq. 3). A value of this class holds the updates of
one video, or of a batch of videos.

Dimensions: s videos, r rank of the target, in and out its features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe import attachment, combining, composing
from vipe.visual_tokens import VisualTokens


@runtime_checkable
class Writer(Protocol):
    """What turns visual tokens into an update: injection and perception, `vipe.vision`."""

    def write(self, tokens: VisualTokens) -> PerceptualWeights:
        """Return the update of one video."""
        ...

    def place(self, parts: Sequence[VisualTokens], at: Sequence[float | int]) -> VisualTokens:
        """Return the tokens of a video of which these are parts, each from a second on."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class PerceptualWeights:
    """The low-rank update that one video, or a batch of videos, decides.

    A factor is either shared by all videos of the batch (two dimensions) or has one matrix per
    video (three). With both shared, the value is that of one video.

    Attributes:
        A: Per target `(r, in)`, or `(s, r, in)`.
        B: Per target `(out, r)`, or `(s, out, r)`; the same targets as `A`.
        alpha: α; the update is scaled by α / r, with the largest r of the targets.
        base_model: Name of the language model that the update is made for.
        metadata: Notes that are saved with the adapter: which video, how long, how many frames.
        static: Per target `(out, r)`, what B is for every video of the model: sums hold it once.
            None where that is not known, as of a folder without ViPE's own file.
        tokens: What was seen, one `VisualTokens` a video, from which `compose` writes segments
            anew, each at its time; empty where it is not kept.
        writer: The module that wrote it, while that is in memory.

    Raises:
        ValueError: The factors do not fit one another.
    """

    A: Mapping[str, Float[Tensor, "... rank inputs"]]
    B: Mapping[str, Float[Tensor, "... outputs rank"]]
    alpha: float | int
    base_model: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    static: Mapping[str, Float[Tensor, "outputs rank"]] | None = None
    tokens: tuple[VisualTokens, ...] = ()
    writer: Writer | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "writer": None}  # a copy in another process has no module of ours

    def __post_init__(self) -> None:
        if not self.A or self.A.keys() != self.B.keys():
            raise ValueError(f"A and B need the same targets: {combining.unlike(self.A, self.B)}")
        alike = None
        for target in self.targets:
            A, B = self.factors(target)
            samples = {factor.shape[0] for factor in (A, B) if factor.ndim == 3}
            fits = {A.ndim, B.ndim} <= {2, 3} and A.shape[-2] == B.shape[-1] and len(samples) <= 1
            kind = (A.ndim, B.ndim, samples)
            if not fits or kind != (alike := alike or kind):
                raise ValueError(
                    f"{target}: A must be (r, in) or (s, r, in) and B (out, r) or (s, out, r), "
                    f"the same form for all targets, got A {tuple(A.shape)} and B {tuple(B.shape)}"
                )
        if self.static is not None:
            for target in self.targets:
                found = self.static[target].shape if target in self.static else ()
                if tuple(found) != tuple(self.B[target].shape[-2:]):
                    raise ValueError(
                        f"{target}: the static part does not fit B, it is {tuple(found)}"
                    )
        if self.tokens and len(self.tokens) != len(self):
            raise ValueError(f"tokens of {len(self.tokens)} videos, but {len(self)} updates")

    @property
    def targets(self) -> tuple[str, ...]:
        """Full names of the updated layers, in order."""
        return tuple(self.A)

    @property
    def rank(self) -> int:
        """The rank r, the largest of the targets."""
        return max(A.shape[-2] for A in self.A.values())

    @property
    def scale(self) -> float:
        """The factor α / r of the update, the same for all targets."""
        return self.alpha / self.rank

    @property
    def is_batched(self) -> bool:
        """Whether there is one update per sample, rather than one for all."""
        return any(factor.ndim == 3 for factor in self.factors(self.targets[0]))

    @property
    def nbytes(self) -> int:
        """Size of all factors in bytes."""
        return sum(f.nbytes for target in self.targets for f in self.factors(target))

    def factors(self, target: str) -> tuple[Tensor, Tensor]:
        """Return A and B of one target."""
        return self.A[target], self.B[target]

    def delta(self, target: str) -> Float[Tensor, "... outputs inputs"]:
        """Return ΔW of one target, `(out, in)` or `(s, out, in)`."""
        return self.scale * (self.B[target] @ self.A[target])

    # A batch of videos ---------------------------------------------------------------------------

    @staticmethod
    def batch(items: Iterable[PerceptualWeights]) -> PerceptualWeights:
        """Put the updates of several videos into one value, in order.

        A factor that all of them share stays shared. The metadata keeps what all agree on.

        Raises:
            AdapterError: They are not made for the same layers of the same model.
            ValueError: There are none.
        """
        return combining.batch(list(items))

    def __len__(self) -> int:
        return next((len(f) for f in self.factors(self.targets[0]) if f.ndim == 3), 1)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> PerceptualWeights:
        """Return one video's update, or with a slice or several indices a batch of them."""
        if not self.is_batched:
            return PerceptualWeights.batch([self])[index]
        if isinstance(index, int) and not -len(self) <= index < len(self):
            raise IndexError(f"update {index} of a batch of {len(self)}")
        chosen = self._map(lambda factor: factor[index] if factor.ndim == 3 else factor)
        if not self.tokens:
            return chosen
        places = torch.arange(len(self))[index].reshape(-1).tolist()
        return replace(chosen, tokens=tuple(self.tokens[place] for place in places))

    def __iter__(self) -> Iterator[PerceptualWeights]:
        return (self[i] for i in range(len(self)))

    def _map(self, change: Callable[[Tensor], Tensor]) -> PerceptualWeights:
        A = {target: change(factor) for target, factor in self.A.items()}
        B = {target: change(factor) for target, factor in self.B.items()}
        static = self.static and {target: change(part) for target, part in self.static.items()}
        return replace(self, A=A, B=B, static=static, tokens=())

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> PerceptualWeights:
        """Return the same update on another device or in another dtype."""
        moved = self._map(lambda factor: factor.to(device=device, dtype=dtype))
        return replace(moved, tokens=self.tokens)

    # Arithmetic ----------------------------------------------------------------------------------

    def __add__(self, other: PerceptualWeights) -> PerceptualWeights:
        """Return the update whose ΔW is the sum of both.

        With A shared (or B), ΔW is linear in the other factor: those add and the rank stays.
        Otherwise the factors are laid side by side and the ranks add up. An unbatched update is
        added to every one of a batch. What is alike for all videos of a model (`static`) is in
        the sum once.

        Raises:
            AdapterError: They are not made for the same layers of the same model.
            ValueError: They are batches of different lengths.
        """
        if not isinstance(other, PerceptualWeights):
            return NotImplemented
        return combining.add(self, other)

    def __radd__(self, other: object) -> PerceptualWeights:
        # `sum` starts from 0.
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float | int) -> PerceptualWeights:
        """Return the update with what the video decided scaled by `factor`.

        Where `static` is not known that is ΔW as a whole.
        """
        if not isinstance(factor, int | float):
            return NotImplemented
        return combining.scale(self, factor)

    __rmul__ = __mul__

    @staticmethod
    def compose(
        parts: Sequence[PerceptualWeights], *, at: Sequence[float | int] | None = None
    ) -> PerceptualWeights:
        """Return one update for several videos, or for segments of one that were seen apart.

        Args:
            parts: One video each, in any order, of one model.
            at: The second of the common time line at which each begins. With it the parts are
                written anew, each at its time, from the tokens that they keep: what comes first,
                and when, can be told. That needs the module that wrote them in memory; for loaded
                adapters use `ViPE.compose`. Without it, the mean weighted by duration, in which
                the order of the parts is no matter; any adapters of one model have one.

        Raises:
            AdapterError: They are not of one model, or a part keeps no tokens and there is `at`.
            ValueError: There are no parts, not as many times, or a part is a batch.
        """
        return composing.compose(parts, at=at)

    # With a language model -----------------------------------------------------------------------

    def check_fits(self, model: nn.Module) -> None:
        """Check that `model` has the updated layers, of the right sizes.

        Raises:
            AdapterError: It has not: the update is made for another model.
            ModelError: A target is not a linear layer.
        """
        attachment.fitting_modules(model, self)

    def attached_to(self, model: nn.Module) -> AbstractContextManager[None]:
        """Add the update to `model` inside a `with` block; see `vipe.attachment.attach`."""
        return attachment.attach(model, self)

    def merge_into(self, model: nn.Module) -> attachment.Merged:
        """Write W + ΔW into `model`; the handle returned undoes it (or a `with` block does).

        Raises:
            AdapterError: The update is made for another model.
            ModelError: A target's weight is quantised or tied to another.
            ValueError: There is more than one update.
        """
        return attachment.Merged(model, self)

    # On disk -------------------------------------------------------------------------------------

    def save(self, folder: str | PathLike[str], *, state: bool = True) -> None:
        """Write a PEFT LoRA folder; see `vipe.adapter.save`."""
        from vipe import adapter

        adapter.save(self, folder, state=state)

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool | None = None,
        message: str = "Upload a video's adapter",
        token: str | None = None,
    ) -> str:
        """Upload it as a PEFT LoRA to the hub; see `vipe.hub.push_adapter`."""
        from vipe import hub

        return hub.push_adapter(self, name, private=private, message=message, token=token)

    @staticmethod
    def load(folder: str | PathLike[str]) -> PerceptualWeights:
        """Read a PEFT LoRA folder, or one of the hub by its id; see `vipe.adapter.load`."""
        from vipe import adapter

        return adapter.load(folder)
