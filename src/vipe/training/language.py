"""Training, step 3: the frozen language model, as fast as this machine runs it.

The language model is frozen, so only gradients with respect to activations are needed. Its linear
layers can then compute in 8-bit integers: each row of the input (forward) and of the gradient
(backward) is scaled to int8, as is each output channel of the weight (Dettmers et al.,
LLM.int8(), NeurIPS 2022, §2.1, without its outlier decomposition). On a CPU with VNNI but no bf16
matrix units that is four times as fast a product; docs/decisions/0002 has the evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.attachment import low_rank_add
from vipe.errors import ModelError
from vipe.tokens import SoftTokens
from vipe.training.packing import IGNORE, PackedRows
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["float32", "bfloat16", "int8", "auto"]


def quickest_precision(device: torch.device) -> Precision:
    """Return what this machine multiplies fastest in (docs/decisions/0002)."""
    if device.type != "cpu":
        return "bfloat16"
    instructions: Any = torch.cpu
    if instructions._is_avx512_bf16_supported() or instructions._is_amx_tile_supported():
        return "bfloat16"
    return "int8" if instructions._is_vnni_supported() else "float32"


class TrainingLanguageModel(nn.Module):
    """A frozen language model that answers packed rows under the weights of each row's video.

    Takes the model over: its linear layers are replaced.

    Args:
        model: A causal language model with a decoder (the body) and an output layer.
        targets: Full names of the layers that get an update.
        precision: What the linear layers compute in.
        compile: Whether its layers are compiled (worth a minute or two at the start).

    Raises:
        ModelError: The model does more with its logits than the output layer and a soft cap.
    """

    body: Any
    head: FrozenLinear

    def __init__(
        self,
        model: PreTrainedModel,
        targets: list[str],
        *,
        precision: Precision = "float32",
        compile: bool = False,
    ) -> None:
        super().__init__()
        if precision == "auto":
            precision = quickest_precision(next(model.parameters()).device)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        config = model.config.get_text_config()
        for setting in ("logit_scale", "logits_scaling"):
            if getattr(config, setting, None) not in (None, 1):
                raise ModelError(f"training does not know a language model's {setting}")
        model = model.eval().requires_grad_(False)
        for parameter in model.parameters():  # not the buffers: positions need float32
            parameter.data = parameter.data.to(dtype)
        head = model.get_output_embeddings()
        self.body = model.get_decoder()
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)
        # Never in int8: the gradient at the logits is one large value and 49,151 tiny ones that
        # matter together, and one scale for all of them rounds those to zero.
        self.head = FrozenLinear(head, int8=False)
        # Rows are short: the plain attention's backward is faster than the fused one's.
        self.body.config._attn_implementation = "eager"
        self.dtype = dtype
        self._targets: dict[str, FrozenLinear] = {}
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear) and module is not head:
                frozen = FrozenLinear(module, int8=precision == "int8")
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, frozen)
                if name in targets:
                    self._targets[name] = frozen
        if compile:
            for layer in self.body.layers:
                layer.compile(dynamic=False)

    def autocast(self) -> torch.autocast:
        """Return what lets others multiply in bfloat16 too, where this model does."""
        device = self.head.weight.device.type
        enabled = self.dtype == torch.bfloat16
        return torch.autocast(device, dtype=torch.bfloat16, enabled=enabled)

    @contextmanager
    def attached(self, weights: PerceptualWeights | None) -> Iterator[None]:
        """Give every row its video's weights, for the forward and backward pass; None for none."""
        if weights is None:
            yield
            return
        try:
            for target, layer in self._targets.items():
                A, B = weights.factors(target)
                layer.factors = (A.to(self.dtype), B.to(self.dtype))
                layer.scale = weights.scale
            yield
        finally:
            for layer in self._targets.values():
                layer.factors = None

    def forward(
        self, rows: PackedRows, visual: SoftTokens | None = None
    ) -> tuple[Float[Tensor, "answers vocabulary"], Int[Tensor, " answers"]]:
        """Return the logits of every trained place of the rows, and the labels there.

        Args:
            rows: What is asked and answered.
            visual: Tokens of each row's video, read between the prefix and the turns.
        """
        device = self.head.weight.device
        first = rows.first
        if visual is not None:
            rows = rows.with_visual(visual.present.cpu())
        embedded = self.body.embed_tokens(rows.input_ids.to(device))
        if visual is not None:
            end = first + visual.values.shape[1]
            values = visual.values.to(embedded)
            embedded = torch.cat([embedded[:, :first], values, embedded[:, end:]], dim=1)
        blocked = torch.finfo(self.dtype).min / 2
        mask = torch.zeros(rows.mask().shape, dtype=self.dtype).masked_fill(~rows.mask(), blocked)
        hidden = self.body(
            inputs_embeds=embedded,
            position_ids=rows.position_ids.to(device),
            attention_mask=mask.to(device),
            use_cache=False,
        ).last_hidden_state
        labels = rows.labels.to(device)
        trained = labels != IGNORE
        logits = self.head(hidden[trained]).float()
        if self._cap is not None:  # Gemma 2 (2024), §2: no logit is larger
            logits = self._cap * torch.tanh(logits / self._cap)
        return logits, labels[trained]

    @torch.no_grad()
    def codes(
        self, input_ids: Int[Tensor, "b t"], weights: PerceptualWeights, targets: Sequence[str]
    ) -> Float[Tensor, "b t s r"]:
        """Return what the A of some targets reads of some prompts: `A x`, in the targets' order.

        Args:
            input_ids: Padded on the right.
            weights: One update for all, which is attached.
            targets: Full names of layers that the update has.
        """
        found: dict[str, Tensor] = {}

        def record(target: str, x: Tensor) -> None:
            found[target] = x @ weights.factors(target)[0].to(x).mT

        hooks = [
            layer.register_forward_pre_hook(lambda _, args, target=target: record(target, args[0]))
            for target, layer in ((target, self._targets[target]) for target in targets)
        ]
        try:
            # Hooks that come after a layer was compiled are not seen.
            with torch.compiler.set_stance("force_eager"), self.attached(weights):
                self.body(input_ids=input_ids.to(self.head.weight.device), use_cache=False)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack([found[target] for target in targets], dim=2)


class FrozenLinear(nn.Module):
    """A frozen linear layer, in int8 or as it was, with a low-rank update beside it.

    Attributes:
        factors: A and B of the update, or None.
        scale: α / r.
    """

    weight: nn.Parameter
    scales: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear, *, int8: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.int8 = int8
        self.factors: tuple[Tensor, Tensor] | None = None
        self.scale = 1.0
        weight = linear.weight.detach()
        if int8:
            quantised, scales = quantise_rows(weight.float())
            weight = quantised
            self.register_buffer("scales", scales[:, 0])
        # A parameter, which processes can hold parts of.
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """Return `W x + b`, and the update's part where there is one."""
        if self.int8:
            y = _Int8Product.apply(x, self.weight, self.scales)
            y = y if self.bias is None else y + self.bias
        else:
            y = F.linear(x, self.weight, self.bias)
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
