"""Evaluation, cost: floating-point operations and bytes, counted on the meta device.

Nothing is computed there, so that a 7B model reads a thousand frames in seconds. The operations
are counted by torch's own counter (`torch.utils.flop_counter`), where a product of two numbers and
their sum are two operations; what it does not count (norms, activations, sorting) is left out for
every method alike.

Dimensions: t tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

import torch
from torch.utils.flop_counter import FlopCounterMode

from vipe.backbones import language_model_shapes
from vipe.config import ViPEConfig
from vipe.encoders.encoder import PatchFeatures, patch_positions
from vipe.merging import HierarchicalMerge, Recognise, VisualTokens
from vipe.tokens import Projector, Reads, every_patch
from vipe.vision import VideoToWeights
from vipe.weights import PerceptualWeights

_T = TypeVar("_T")

Method = Literal["text", "vipe", "patches", "merged", "queries"]
METHODS: tuple[Method, ...] = get_args(Method)
"""The bare language model, which has seen nothing; ViPE; and the twins, by what they read."""


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What a method computes and holds, for one video and one question.

    Attributes:
        visual_tokens: In the prompt.
        encode: Operations to encode the frames, once a video, the same for every method.
        see: Operations from the patch features to what is kept of the video, once a video.
        prompt: Operations of the language model to the first token, for every question.
        token: Operations for the token after it.
        seen_bytes: Of what is kept of the video: an adapter, or visual tokens.
        cache_bytes: Of the keys and values that the language model holds for the prompt.
    """

    visual_tokens: int
    encode: int
    see: int
    prompt: int
    token: int
    seen_bytes: int
    cache_bytes: int


class Counter:
    """Counts what the models of one config compute; their weights are never made.

    Args:
        config: Of ViPE; the twins have the same parts.
        dtype: Of the language model and of what is kept of a video.
        prompt_tokens: Tokens of the question's text, chat template included.

    Raises:
        ModelError: A backbone is nowhere to be found.
    """

    def __init__(
        self,
        config: ViPEConfig,
        *,
        dtype: torch.dtype = torch.float32,
        prompt_tokens: int = 40,
    ) -> None:
        self.config, self.dtype, self.prompt_tokens = config, dtype, prompt_tokens
        # The plain attention is made of products that the counter knows on every device.
        self.language_model = language_model_shapes(
            config.language_model, dtype=dtype, attn_implementation="eager"
        )
        with torch.device("meta"):
            self.encoder = replace(config.encoder, pretrained=False).build()
            self.vision = VideoToWeights(
                config, channels=self.encoder.channels, language_model=self.language_model
            ).eval()
        # What several methods or lengths have alike is counted once.
        self._merges: dict[tuple[int, bool], tuple[VisualTokens, int]] = {}
        self._answers: dict[object, tuple[int, int, int]] = {}

    def count(self, method: Method, frames: int) -> Operations:
        """Count for a video of so many frames."""
        weights, visual, see, seen_bytes = None, 0, 0, 0
        if method == "vipe":
            recognise = self.vision.recognise if self.vision.perception.recollects else None
            tokens, merge = self._merge(frames, recognise)
            weights, write = _counted(lambda: self.vision(tokens)[0])
            weights, see = weights.to(dtype=self.dtype), merge + write
            seen_bytes = weights.nbytes
        elif method != "text":
            width: Any = self.language_model.get_input_embeddings()
            with torch.device("meta"):
                projector = Projector(
                    method,
                    self.config,
                    channels=self.encoder.channels,
                    width=width.weight.shape[1],
                ).eval()
            tokens, merge = self._tokens(method, frames)
            soft, project = _counted(lambda: projector(tokens))
            values, see = soft.values, merge + project
            visual = values.shape[1]
            seen_bytes = values.shape[1] * values.shape[2] * self.dtype.itemsize
        prompt, token, cache_bytes = self._answer(weights, visual)
        return Operations(
            visual_tokens=visual,
            encode=self._encode * frames if method != "text" else 0,
            see=see,
            prompt=prompt,
            token=token,
            seen_bytes=seen_bytes,
            cache_bytes=cache_bytes,
        )

    @cached_property
    def _encode(self) -> int:
        """Operations to encode one frame."""
        size = self.encoder.image_size
        return _operations(lambda: self.encoder(torch.empty(1, 3, size, size, device="meta")))

    def _features(self, frames: int) -> PatchFeatures:
        encoder = self.encoder
        shape = (frames, encoder.patches, encoder.channels)
        return PatchFeatures(
            features=torch.empty(shape, device="meta"),
            position=patch_positions(torch.empty(frames, device="meta"), encoder.grid),
        )

    def _merge(self, frames: int, recognise: Recognise | None = None) -> tuple[VisualTokens, int]:
        """What the merge leaves of so many frames, and its operations."""
        key = frames, recognise is None
        if key not in self._merges:
            self._merges[key] = _counted(lambda: self._merged(frames, recognise))
        return self._merges[key]

    def _merged(self, frames: int, recognise: Recognise | None) -> VisualTokens:
        config = self.config.merging
        merge = HierarchicalMerge(config, recognise=recognise)
        for start in range(0, frames, config.frames_per_clip):
            clip = self._features(min(config.frames_per_clip, frames - start))
            merge.push(*clip.as_batch())
        return merge.result()

    def _tokens(self, method: Reads, frames: int) -> tuple[VisualTokens, int]:
        if method == "patches":
            return every_patch(*self._features(frames).as_batch()), 0
        return self._merge(frames)

    def _answer(self, weights: PerceptualWeights | None, visual: int) -> tuple[int, int, int]:
        """Operations to the first token and to the next, and bytes of keys and values."""
        key = None if weights is None else _sizes(weights), visual
        if key not in self._answers:
            self._answers[key] = self._count_answer(weights, visual)
        return self._answers[key]

    def _count_answer(self, weights: PerceptualWeights | None, visual: int) -> tuple[int, int, int]:
        model: Any = self.language_model
        embeddings: Any = model.get_input_embeddings()
        width = embeddings.weight.shape[1]
        attached = nullcontext() if weights is None else weights.attached_to(model)

        def step(tokens: int, cache: Any) -> Any:
            given = torch.empty(1, tokens, width, dtype=self.dtype, device="meta")
            return model(
                inputs_embeds=given, past_key_values=cache, use_cache=True, logits_to_keep=1
            )

        with attached, torch.no_grad():
            out, prompt = _counted(lambda: step(self.prompt_tokens + visual, None))
            held = sum(
                tensor.nbytes
                for layer in out.past_key_values.layers
                for tensor in (layer.keys, layer.values)
            )
            token = _operations(lambda: step(1, out.past_key_values))
        return prompt, token, held


def prompt_operations(config: Any, tokens: int) -> int:
    """Return by formula what a Llama-like model computes to the first token after t tokens.

    Every parameter of a layer multiplies every token; attention multiplies every two tokens twice
    (masked ones too: that is what is computed); the output layer reads the last token alone.

    Args:
        config: Of the language model, as transformers has it.
        tokens: t.
    """
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    hidden = config.hidden_size
    attention = 2 * hidden * heads * size + 2 * hidden * groups * size
    layer = attention + 3 * hidden * config.intermediate_size
    between = 2 * tokens * heads * size
    per_token = config.num_hidden_layers * (layer + between)
    return 2 * (tokens * per_token + hidden * config.vocab_size)


def update_operations(weights: PerceptualWeights, tokens: int) -> int:
    """Return by formula what the update of one video adds to t tokens: A x, and B of that.

    Args:
        weights: Attached to the language model.
        tokens: t.
    """
    factors = (factor for target in weights.targets for factor in weights.factors(target))
    return 2 * tokens * sum(factor.shape[-2] * factor.shape[-1] for factor in factors)


def flop_counter() -> FlopCounterMode:
    """Return torch's counter, which also counts products that are added in place (`addmm_`)."""

    def added(
        total: Sequence[int], one: Sequence[int], two: Sequence[int], *_: object, **__: object
    ) -> int:
        return 2 * one[0] * one[1] * two[1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: added})


def _sizes(weights: PerceptualWeights) -> tuple[object, ...]:
    return tuple((name, *(f.shape for f in weights.factors(name))) for name in weights.targets)


def _counted(call: Callable[[], _T]) -> tuple[_T, int]:
    with flop_counter() as counter, torch.no_grad():
        result = call()
    return result, counter.get_total_flops()


def _operations(call: Callable[[], object]) -> int:
    return _counted(call)[1]
