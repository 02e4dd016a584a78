"""Training, step 3: the language model, as fast as this machine runs it.

Unless it is tuned it is frozen: only gradients with respect to activations are needed then, and
its linear layers may compute in 8-bit integers (`vipe.training.linear`). Tuned whole, it is kept in
float32 and computes in the recipe's precision (Micikevicius et al., "Mixed Precision Training",
ICLR 2018, with bfloat16, which needs no scaling of the loss).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vipe.errors import ModelError
from vipe.generation import Decoding, generate, generate_after
from vipe.tokens import SoftTokens
from vipe.training.drawing import Drawn
from vipe.training.linear import TrainingLinear
from vipe.training.packing import IGNORE, PackedRows
from vipe.training.recomputing import recompute
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CPU = torch.device("cpu")
Precision = Literal["float32", "bfloat16", "int8", "auto"]
Prompt = Sequence[int] | Float[Tensor, "_ e"]
"""Token ids, or embeddings of text and visual tokens."""


def quickest_precision(device: torch.device) -> Precision:
    """Return what this machine multiplies fastest in (docs/decisions/0002)."""
    if device.type != "cpu":
        return "bfloat16"
    instructions: Any = torch.cpu
    if instructions._is_avx512_bf16_supported() or instructions._is_amx_tile_supported():
        return "bfloat16"
    return "int8" if instructions._is_vnni_supported() else "float32"


class TrainingLanguageModel(nn.Module):
    """A language model that answers packed rows under the weights of each row's video.

    Takes the model over: its linear layers are replaced.

    Args:
        model: A causal language model with a decoder (the body) and an output layer.
        targets: Full names of the layers that get an update.
        precision: What the linear layers compute in.
        compile: Whether its layers are compiled (worth a minute or two at the start).
        tuned: Whether its own weights are trained.
        checkpointing: Whether its layers compute themselves again in the backward pass.
        device: Where it will be when it computes.

    Raises:
        ModelError: The model has another layout, or does more with its logits than the output
            layer and a soft cap.
    """

    body: Any
    head: TrainingLinear

    def __init__(
        self,
        model: PreTrainedModel,
        targets: list[str],
        *,
        precision: Precision = "float32",
        compile: bool = False,
        tuned: bool = False,
        checkpointing: bool = False,
        device: torch.device = _CPU,
    ) -> None:
        super().__init__()
        body = model.get_decoder()
        if not (hasattr(body, "embed_tokens") and hasattr(body, "layers")):
            raise ModelError(
                f"training does not know how a {type(model).__name__} is laid out: its decoder "
                "has no embed_tokens and layers"
            )
        if precision == "auto":
            precision = quickest_precision(device)
            precision = "float32" if tuned and precision == "int8" else precision
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        config = model.config.get_text_config()
        for setting in ("logit_scale", "logits_scaling"):
            if getattr(config, setting, None) not in (None, 1):
                raise ModelError(f"training does not know a language model's {setting}")
        model = model.eval().requires_grad_(tuned)
        for parameter in model.parameters():  # not the buffers: positions need float32
            parameter.data = parameter.data.to(torch.float32 if tuned else dtype)
        head = model.get_output_embeddings()
        self.body, self.tuned = body, tuned
        self._whole = (model,)  # no module of this one, or its weights would be there twice
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)
        # Never in int8: the gradient at the logits is one large value and 49,151 tiny ones that
        # matter together, and one scale for all of them rounds those to zero.
        self.head = TrainingLinear(head, int8=False, tuned=tuned)
        # Rows are short: on a CPU the plain attention's backward is faster than the fused one's.
        self.body.config._attn_implementation = "eager" if device.type == "cpu" else "sdpa"
        self.dtype = dtype
        self._targets: dict[str, TrainingLinear] = {}
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear):
                linear = self.head
                if module is not head:
                    linear = TrainingLinear(module, int8=precision == "int8", tuned=tuned)
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, linear)
                if name in targets:
                    self._targets[name] = linear
        for layer in self.body.layers:
            if checkpointing:
                forward = layer.forward
                recompute(layer, torch.compile(forward, dynamic=False) if compile else forward)
            elif compile:
                layer.compile(dynamic=False)

    def learn(self, learns: bool) -> None:
        """Say whether the weights of a model that is tuned have gradients from now on."""
        if self.head.learns == (learns and self.tuned):
            return
        for module in self.modules():
            if isinstance(module, TrainingLinear):
                module.learns = learns and self.tuned

    def drop_gradients(self) -> None:
        """Drop the gradients that there are while it does not learn: those of norms."""
        if not self.head.learns:
            for parameter in self.parameters():
                parameter.grad = None

    def _mixed(self) -> torch.autocast:
        """Let weights that are kept in float32 multiply in what the model computes in."""
        enabled = self.tuned and self.dtype == torch.bfloat16
        device = self.head.weight.device.type
        # Casts that were kept would hold the weights of all layers a second time.
        return torch.autocast(
            device, dtype=torch.bfloat16, enabled=enabled, cache_enabled=not enabled
        )

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
            for target in weights.targets:
                layer, (A, B) = self._targets[target], weights.factors(target)
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
        if not self.head.learns:
            embedded = embedded.detach()
        if visual is not None:
            end = first + visual.values.shape[1]
            values = visual.values.to(embedded)
            embedded = torch.cat([embedded[:, :first], values, embedded[:, end:]], dim=1)
        blocked = torch.finfo(self.dtype).min / 2
        mask = torch.zeros(rows.mask().shape, dtype=self.dtype).masked_fill(~rows.mask(), blocked)
        labels = rows.labels.to(device)
        trained = labels != IGNORE
        with self._mixed():
            hidden = self.through_layers(embedded, rows.position_ids.to(device), mask.to(device))
            logits = self.head(hidden[trained]).float()
        if self._cap is not None:  # Gemma 2 (2024), §2: no logit is larger
            logits = self._cap * torch.tanh(logits / self._cap)
        return logits, labels[trained]

    def through_layers(
        self,
        embedded: Float[Tensor, "b t e"],
        position_ids: Int[Tensor, "... t"],
        mask: Float[Tensor, "b 1 t t"],
    ) -> Float[Tensor, "b t e"]:
        """Return the last layer's output, after the final norm."""
        with self._mixed():
            return self.body(
                inputs_embeds=embedded,
                position_ids=position_ids,
                attention_mask=mask,
                use_cache=False,
            ).last_hidden_state

    def sample(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Prompt],
        *,
        temperature: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[str]:
        """Draw an answer to each prompt, all of one sort, under what is attached.

        With the updates of s videos the prompts of the first come first, as many of each.
        """
        decoding = Decoding(max_new_tokens=max_new_tokens, seed=seed)
        drawn = [Drawn(temperature)]
        # Compiled layers would be compiled anew for each length.
        with torch.compiler.set_stance("force_eager"), self._mixed():
            embedded = [prompt for prompt in prompts if isinstance(prompt, Tensor)]
            if embedded:
                return generate_after(
                    self._whole[0], tokenizer, embedded, decoding, logits_processor=drawn
                )
            ids = [prompt for prompt in prompts if not isinstance(prompt, Tensor)]
            return generate(self._whole[0], tokenizer, ids, decoding, logits_processor=drawn)

    def embed(
        self, before: Sequence[int], after: Sequence[int], visual: Float[Tensor, "m e"]
    ) -> Float[Tensor, "t e"]:
        """Return the embeddings of a prompt around visual tokens."""
        ids = torch.tensor([*before, *after], device=self.head.weight.device)
        text = self.body.embed_tokens(ids).detach()
        return torch.cat([text[: len(before)], visual.to(text), text[len(before) :]])

    @torch.no_grad()
    def inputs(self, rows: PackedRows, targets: Sequence[str]) -> list[Float[Tensor, "b t i"]]:
        """Return what some targets read of some rows, under what is attached."""
        with self._read_by(targets) as found, torch.compiler.set_stance("force_eager"):
            self(rows)
        return [found[target].float() for target in targets]

    @torch.no_grad()
    def codes(
        self, input_ids: Int[Tensor, "b t"], weights: PerceptualWeights, targets: Sequence[str]
    ) -> Float[Tensor, "b t s r"]:
        """Return what the A of some targets reads of some prompts: `A x`, in the targets' order.

        Of targets of different ranks it is what the first rows read, as many as all have.

        Args:
            input_ids: Padded on the right.
            weights: One update for all, which is attached.
            targets: Full names of layers that the update has.
        """
        # Hooks that come after a layer was compiled are not seen.
        eager = torch.compiler.set_stance("force_eager")
        with self._read_by(targets) as found, eager, self.attached(weights), self._mixed():
            self.body(input_ids=input_ids.to(self.head.weight.device), use_cache=False)
        rank = min(weights.A[t].shape[-2] for t in targets)
        read = [found[t] @ weights.A[t][..., :rank, :].to(found[t]).mT for t in targets]
        return torch.stack(read, dim=2)

    @contextmanager
    def _read_by(self, targets: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Note what some targets read, by name."""
        found: dict[str, Tensor] = {}
        hooks = [
            self._targets[target].register_forward_pre_hook(
                lambda _, args, target=target: found.update({target: args[0]})
            )
            for target in targets
        ]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()
