"""The twin: the same parts as ViPE, but what was seen is read as tokens before the question.

LLaVA (Liu et al., "Visual Instruction Tuning", NeurIPS 2023; the two-layer projector of LLaVA-1.5,
CVPR 2024) on ViPE's encoder, merge and language model. It is what ViPE is measured against: every
question pays for the visual tokens again.

Dimensions: b videos, m visual tokens, c channels of the encoder, e the language model's width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vipe.chat import prompt_around
from vipe.config import ViPEConfig
from vipe.encoders import Encoder
from vipe.frames import Frames, Sampling
from vipe.generation import Decoding, generate_after
from vipe.injection import PositionEncoding
from vipe.merging import HierarchicalMerge, VisualTokens
from vipe.model import Question, ViPE
from vipe.watching import Video, Watch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Reads = Literal["patches", "merged", "queries"]
"""What becomes a visual token: every patch of every frame, what the hierarchical merge leaves of
them, or the perceptual queries (the same, in context)."""


@dataclass(frozen=True, kw_only=True)
class SoftPrompt:
    """What a twin saw: visual tokens in the language model's embedding space.

    Attributes:
        values: `(m, e)`.
        metadata: As of `PerceptualWeights`.
    """

    values: Float[Tensor, "m e"]
    metadata: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes of the visual tokens."""
        return self.values.nbytes


class Projector(nn.Module):
    """VisualTokens → visual tokens of the language model: all of a twin that is trained.

    Args:
        reads: What becomes a token.
        config: The model's; its injection is in front of "queries".
        channels: c.
        width: e.
    """

    def __init__(self, reads: Reads, config: ViPEConfig, *, channels: int, width: int) -> None:
        super().__init__()
        self.reads = reads
        self.injection = config.injection.build(channels) if reads == "queries" else None
        inputs = config.injection.width if reads == "queries" else channels
        self.norm = nn.LayerNorm(inputs)
        self.project = nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
        # Patches come row by row, frame by frame, and their place in the prompt says where and
        # when; what is merged is anywhere.
        self.position = (
            PositionEncoding(config.injection.frequencies, inputs) if reads == "merged" else None
        )

    def forward(self, tokens: VisualTokens) -> Float[Tensor, "b m e"]:
        """Project the tokens; those of padding are of no meaning."""
        x = tokens.features if self.injection is None else self.injection(tokens).values
        x = self.norm(x)
        if self.position is not None:
            x = x + self.position(tokens)
        return self.project(x)


class TokenTwin:
    """A model of ViPE's parts that reads a video as tokens, with the same two verbs.

    Attributes:
        config: Of the parts; perception is not used.
        reads: What becomes a visual token.
        encoder: The frozen vision backbone.
        projector: The trained part.
        language_model: The language model.
        tokenizer: The language model's tokenizer, with its chat template.
    """

    def __init__(
        self,
        config: ViPEConfig,
        reads: Reads,
        *,
        encoder: Encoder,
        language_model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.config, self.reads, self.encoder = config, reads, encoder
        self.language_model, self.tokenizer = language_model, tokenizer
        self._embed: Callable[[Tensor], Tensor] = language_model.get_input_embeddings()
        embeddings: Any = self._embed
        projector = Projector(
            reads, config, channels=encoder.channels, width=embeddings.weight.shape[1]
        )
        self.projector = projector.to(language_model.device).eval()

    @classmethod
    def of(cls, model: ViPE, reads: Reads) -> TokenTwin:
        """Make the twin of a model on its very encoder and language model, the projector fresh."""
        return cls(
            model.config,
            reads,
            encoder=model.encoder,
            language_model=model.language_model,
            tokenizer=model.tokenizer,
        )

    def see(
        self,
        video: Video | Iterable[Frames],
        *,
        frames: int | Sampling | None = None,
        merge_ratio: float | None = None,
        seconds: dict[str, float] | None = None,
    ) -> SoftPrompt:
        """Look at a video once and return its visual tokens; arguments as those of `ViPE.see`.

        Raises:
            VideoError: It cannot be read.
            ValueError: `merge_ratio` is not at least 0 and below 1.
        """
        merging = self.config.merging
        if merge_ratio is not None:
            merging = replace(merging, merge_ratio=merge_ratio)
        watch = Watch(
            self.encoder,
            video,
            self.config.frames if frames is None else frames,
            clip=merging.frames_per_clip,
            spent={} if seconds is None else seconds,
        )
        merge = HierarchicalMerge(merging)
        patches: list[VisualTokens] = []
        for clip in watch:
            if self.reads == "patches":
                patches.append(every_patch(*clip.as_batch()))
            else:
                merge.push(*clip.as_batch())
        with watch.timed("see"), torch.no_grad():
            # A patch's token does not depend on the others: clips need not be joined before.
            parts = patches or [merge.result()]
            values = torch.cat([self.projector(tokens)[0] for tokens in parts])
        return SoftPrompt(values=values, metadata=watch.about)

    def ask(self, seen: SoftPrompt, question: Question, *, decoding: Decoding | None = None) -> str:
        """Answer a question, with all visual tokens in the prompt."""
        return self.ask_batch([seen], [question], decoding=decoding)[0]

    def ask_batch(
        self,
        seen: Sequence[SoftPrompt],
        questions: Sequence[Question],
        *,
        decoding: Decoding | None = None,
    ) -> list[str]:
        """Answer one question for each of several videos.

        Raises:
            ValueError: There are more or fewer videos than questions.
        """
        prompts = [self.embed(one, question) for one, question in zip(seen, questions, strict=True)]
        return generate_after(self.language_model, self.tokenizer, prompts, decoding or Decoding())

    @torch.no_grad()
    def embed(self, seen: SoftPrompt, question: Question) -> Float[Tensor, "t e"]:
        """Return the prompt of a question: embeddings of its text around the visual tokens."""
        before, after = (
            self._embed(torch.tensor(ids, dtype=torch.long, device=seen.values.device))
            for ids in prompt_around(self.tokenizer, question)
        )
        return torch.cat([before, seen.values.to(before.dtype), after])


def every_patch(
    features: Float[Tensor, "b t n c"],
    position: Float[Tensor, "b t n 3"],
    duration: Float[Tensor, " b"],
) -> VisualTokens:
    """Make every patch of a clip a token of its own."""
    return VisualTokens(
        features=features.flatten(1, 2),
        size=features.new_ones(features.shape[0], features.shape[1] * features.shape[2]),
        centre=position.flatten(1, 2),
        duration=duration,
    )
