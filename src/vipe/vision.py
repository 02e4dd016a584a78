"""Stages 4 and 5 together, VisualTokens → PerceptualWeights: the trained part of a model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe import composing
from vipe.config import ViPEConfig
from vipe.encoders.encoder import resolve_precision
from vipe.injection import Injection
from vipe.merging import VisualTokens, reduce_to
from vipe.perception import Perception
from vipe.recognition import PICTURE_TOKENS, Recognised
from vipe.static_lora import StaticLora, beside
from vipe.stretches import Looked, Stretches
from vipe.weights import PerceptualWeights


class VideoToWeights(nn.Module):
    """Injection, perception and what goes with every video: the weights of a model folder.

    Attributes:
        injection: VisualTokens → PerceptualQueries.
        perception: PerceptualQueries → PerceptualWeights.
        language_lora: A LoRA of the language model that was tuned with them, or None.
    """

    def __init__(self, config: ViPEConfig, *, channels: int, language_model: nn.Module) -> None:
        super().__init__()
        self.merging = config.merging
        self.injection: Injection = config.injection.build(channels)
        self.perception: Perception = config.perception.build(
            language_model,
            name=config.language_model,
            gists=config.injection.gists,
            clock=config.injection.clock,
        )
        self.language_lora: StaticLora | None = None
        if config.lora is not None:
            self.language_lora = config.lora.build(language_model, name=config.language_model)

    @property
    def targets(self) -> tuple[str, ...]:
        """Full names of all layers that an adapter updates."""
        lora = {} if self.language_lora is None else self.language_lora.names
        own = (*self.perception.targets, *self.perception.static_targets)
        return tuple(dict.fromkeys((*own, *lora)))

    def forward(self, tokens: VisualTokens) -> PerceptualWeights:
        """Return the weights of a batch of videos, in one forward pass."""
        return self._with_lora(self.perception(self.injection(tokens)))

    def decide(
        self,
        slots: Float[Tensor, "b s d"],
        gists: Float[Tensor, "b g d"],
        times: Float[Tensor, "b g f"] | None = None,
        recognised: Recognised | None = None,
        length: Float[Tensor, " b"] | None = None,
        *,
        lora: bool = True,
    ) -> PerceptualWeights:
        """Turn what the slots read, and the gists, into weights; see `Perception.decide`.

        Args:
            slots: What `Perception.read` returned.
            gists: The videos'.
            times: `Injection.times`, where there is a clock.
            recognised: In the videos' frames, where that is looked for.
            length: Seconds of each video, which goes with it.
            lora: Whether the language model's LoRA goes with them.
        """
        weights = self.perception.decide(slots, gists, times, recognised, length)
        return self._with_lora(weights) if lora else weights

    @torch.no_grad()
    def recognise(self, frames: VisualTokens, seconds: Float[Tensor, "b t"]) -> Recognised:
        """Return what videos hold, of the tokens of their frames, each alone and some in a row.

        Args:
            frames: `b · t` videos of one frame each, of clips of equal length.
            seconds: When each is shown.

        Raises:
            ValueError: The model has no concepts.
        """
        device = seconds.device.type
        # Stretches lie within clips: cut between these, parts of a video recognise what it does.
        clips = seconds.reshape(-1, min(seconds.shape[1], self.merging.frames_per_clip))
        quick = resolve_precision("auto", device) is torch.bfloat16
        with torch.autocast(device, dtype=torch.bfloat16) if quick else nullcontext():
            looked = self.look(frames, clips)
        return Recognised.of_frames(looked.shares().reshape(*seconds.shape, -1), seconds)

    def look(self, frames: VisualTokens, seconds: Float[Tensor, "b t"]) -> Looked:
        """Return what the frames of clips are said to hold, each alone and some in a row.

        Args:
            frames: `b · t` videos of one frame each.
            seconds: When each is shown, in order.

        Raises:
            ValueError: The model has no concepts.
        """
        few = self._few_readings(frames)
        own = self._sight(self.injection.gist_of_pictures(few)).unflatten(0, seconds.shape)
        stretches = Stretches.of(few, seconds)
        if stretches is None:
            return Looked(own=own)
        together = self._sight(self.injection.gist_of_readings(stretches.tokens))
        return Looked(own, stretches, together.unflatten(0, (len(seconds), -1)))

    def frame_logits(self, frames: VisualTokens) -> Float[Tensor, "b k"]:
        """Return the logits of what concepts each of some frames holds, by itself.

        Raises:
            ValueError: The model has no concepts.
        """
        return self._sight(self.injection.gist_of_pictures(self._few_readings(frames)))

    def _few_readings(self, frames: VisualTokens) -> VisualTokens:
        """Return a few tokens of each frame, with what gists read of them for their features."""
        few = reduce_to(frames, PICTURE_TOKENS, by="time", locality=self.merging.locality)
        return replace(few, features=self.injection.readings(few))

    def _sight(self, gists: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        binding, recollection = self.perception.binding, self.perception.recollection
        if binding is None:
            raise ValueError("a perception without concepts recognises nothing")
        sight = binding.recognise if recollection is None else recollection.sight
        logits: Tensor = sight(gists)
        return logits.float()

    def static_weights(self) -> PerceptualWeights:
        """Return what is alike for all videos; see `Perception.static_weights`."""
        return self._with_lora(self.perception.static_weights())

    def _with_lora(self, weights: PerceptualWeights) -> PerceptualWeights:
        lora = self.language_lora
        return weights if lora is None else beside(weights, lora.weights())

    @torch.no_grad()
    def write(self, tokens: VisualTokens) -> PerceptualWeights:
        """Return the weights of one video, which keep the tokens, to be composed with others."""
        weights = self(tokens)[0]
        static = weights.static and {name: part.detach() for name, part in weights.static.items()}
        return replace(weights, static=static, tokens=(tokens,), writer=self)

    def place(self, parts: Sequence[VisualTokens], at: Sequence[float | int]) -> VisualTokens:
        """Return the tokens of a video of which these are parts, each from a second on."""
        return composing.place(parts, at, self.merging)
