"""The twin: the same parts as ViPE, but what was seen is read as tokens before the question.

A model of `vipe.tokens` with ViPE's two verbs. It is what ViPE is measured against: every question
pays for the visual tokens again.

Dimensions: m visual tokens, t tokens of a prompt, e the language model's width.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from vipe import model_files
from vipe.allocator import keep_freed_memory
from vipe.answering import Question
from vipe.backbones import cast_parameters, load_language_model
from vipe.chat import prompt_around
from vipe.config import ViPEConfig
from vipe.encoders import Encoder
from vipe.frames import Frames, Sampling
from vipe.generation import Decoding, TextStream, generate_after, iterate
from vipe.merging import HierarchicalMerge, VisualTokens
from vipe.model import ViPE
from vipe.pieces import Video
from vipe.scoring import log_likelihoods_after
from vipe.tokens import Reads, VideoToTokens, every_patch
from vipe.watching import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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


class TokenTwin:
    """A model of ViPE's parts that reads a video as tokens, with the same two verbs.

    Attributes:
        config: Of the parts.
        encoder: The frozen vision backbone.
        video_to_tokens: The trained part.
        language_model: The language model; the LoRA is written into a loaded twin's.
        tokenizer: The language model's tokenizer, with its chat template.
    """

    def __init__(
        self,
        config: ViPEConfig,
        *,
        encoder: Encoder,
        video_to_tokens: VideoToTokens,
        language_model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.config, self.encoder, self.video_to_tokens = config, encoder, video_to_tokens
        self.language_model, self.tokenizer = language_model, tokenizer
        self._embed: Callable[[Tensor], Tensor] = language_model.get_input_embeddings()

    @property
    def reads(self) -> Reads:
        """What becomes a visual token."""
        return self.video_to_tokens.reads

    @classmethod
    def of(cls, model: ViPE, reads: Reads) -> TokenTwin:
        """Make the twin of a model on its very encoder and language model, untrained."""
        with model.language_model.device:
            video_to_tokens = VideoToTokens(
                reads,
                model.config,
                channels=model.encoder.channels,
                language_model=model.language_model,
            )
        return cls(
            model.config,
            encoder=model.encoder,
            video_to_tokens=video_to_tokens.eval(),
            language_model=model.language_model,
            tokenizer=model.tokenizer,
        )

    @classmethod
    def from_pretrained(
        cls, name: str | os.PathLike[str], *, dtype: torch.dtype | None = None
    ) -> TokenTwin:
        """Load a twin that `vipe train` made of a recipe with `method: tokens`.

        Args:
            name: A local folder or a hub id.
            dtype: Of the language model; float32 unless given.

        Raises:
            ModelError: The model or a backbone is missing, damaged, does not fit, or is no twin.
        """
        folder = model_files.resolve_folder(name)
        config, reads = model_files.read_twin(folder)
        encoder = config.encoder.build()
        language_model, tokenizer = load_language_model(config.language_model)
        language_model.requires_grad_(False)
        keep_freed_memory()  # not before: what loading frees is given back
        video_to_tokens = VideoToTokens(
            reads, config, channels=encoder.channels, language_model=language_model
        )
        model_files.load_weights(folder, config, video_to_tokens)
        with torch.no_grad():
            video_to_tokens.weights().merge_into(language_model)
        if dtype is not None:
            cast_parameters(language_model, dtype)
        return cls(
            config,
            encoder=encoder,
            video_to_tokens=video_to_tokens.eval(),
            language_model=language_model,
            tokenizer=tokenizer,
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a model folder: the config and the trained part (the backbones are named)."""
        model_files.save_twin(
            Path(folder), self.config, self.reads, self.video_to_tokens.state_dict()
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
            spent=seconds,
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
            values = torch.cat([self.video_to_tokens(tokens).values[0] for tokens in parts])
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

    def score(self, seen: SoftPrompt, question: Question, answers: Sequence[str]) -> list[float]:
        """Return log p(answer) of each of some answers, in nats, the end included."""
        prompts = [self.embed(seen, question)] * len(answers)
        scores = log_likelihoods_after(self.language_model, self.tokenizer, prompts, answers)
        return scores.tolist()

    def stream(
        self, seen: SoftPrompt, question: Question, *, decoding: Decoding | None = None
    ) -> Iterator[str]:
        """Answer a question about one video, piece by piece as it is decoded.

        Raises:
            ValueError: The decoding is a beam search, which knows its answer only at the end.
        """
        decoding = decoding or Decoding()
        if decoding.num_beams > 1:
            raise ValueError("a beam search cannot be streamed")
        prompt = self.embed(seen, question)

        def run(on_text: Callable[[str], None]) -> None:
            streamer = TextStream(self.tokenizer, on_text)
            generate_after(
                self.language_model, self.tokenizer, [prompt], decoding, streamer=streamer
            )

        return iterate(run)

    @torch.no_grad()
    def embed(self, seen: SoftPrompt, question: Question) -> Float[Tensor, "t e"]:
        """Return the prompt of a question: embeddings of its text around the visual tokens."""
        before, after = (
            self._embed(torch.tensor(ids, dtype=torch.long, device=seen.values.device))
            for ids in prompt_around(self.tokenizer, question)
        )
        return torch.cat([before, seen.values.to(before.dtype), after])
