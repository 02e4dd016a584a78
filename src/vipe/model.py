"""The whole flow, with its two verbs: `see` a video once, `ask` about it as often as wanted."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from vipe import hub, model_files
from vipe.allocator import keep_freed_memory
from vipe.answering import Answers
from vipe.backbones import (
    cast_parameters,
    language_model_shapes,
    load_language_model,
    load_tokenizer,
)
from vipe.combining import check_one_model
from vipe.composing import compose
from vipe.config import ViPEConfig
from vipe.encoders import Encoder
from vipe.errors import AdapterError
from vipe.frames import Frames, Sampling
from vipe.merging import HierarchicalMerge, MergeConfig, Recognise
from vipe.pieces import Video
from vipe.recognition import Sight, sights
from vipe.streaming import see_parts, watch_stream
from vipe.vision import VideoToWeights
from vipe.watching import Watch, Witness
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ViPE(Answers):
    """A model that writes a video into a language model's weights, and answers from them.

    Attributes:
        config: What it is.
        encoder: The frozen vision backbone.
        video_to_weights: Injection and perception, the trained part.
        language_model: The frozen language model.
        tokenizer: The language model's tokenizer, with its chat template.
    """

    def __init__(
        self,
        config: ViPEConfig,
        *,
        encoder: Encoder,
        video_to_weights: VideoToWeights,
        language_model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
    ) -> None:
        self.config, self.encoder, self.video_to_weights = config, encoder, video_to_weights
        self.language_model, self.tokenizer = language_model, tokenizer

    @classmethod
    def from_config(
        cls,
        config: ViPEConfig,
        *,
        only_see: bool = False,
        language_model: PreTrainedModel | None = None,
    ) -> ViPE:
        """Load the backbones and make a model whose trained part is fresh: its update is zero.

        Args:
            config: What it is.
            only_see: Leave out the language model's weights; it has its shapes alone then.
            language_model: The config's as it is loaded already: quantised, or over several
                devices.

        Raises:
            ModelError: A backbone is nowhere to be found.
        """
        encoder = config.encoder.build()
        name = config.language_model
        if language_model is not None:
            tokenizer = load_tokenizer(name)
        elif only_see:
            language_model, tokenizer = language_model_shapes(name), load_tokenizer(name)
        else:
            language_model, tokenizer = load_language_model(name)
        language_model.requires_grad_(False)
        keep_freed_memory()  # not before: what loading frees is given back
        video_to_weights = VideoToWeights(
            config, channels=encoder.channels, language_model=language_model
        )
        return cls(
            config,
            encoder=encoder,
            video_to_weights=video_to_weights.eval(),
            language_model=language_model,
            tokenizer=tokenizer,
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str] | None = None,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        only_see: bool = False,
        language_model: PreTrainedModel | None = None,
    ) -> ViPE:
        """Load a model: the default one, a local folder, or a hub id.

        Args:
            name: None or "default" for the model that comes with the package.
            device: Where to; the CPU unless given.
            dtype: Of the language model; float32 unless given.
            only_see: Leave out the language model's weights: such a model sees and cannot answer,
                for where another server answers.
            language_model: The one that the model is for, as it is loaded already: quantised, or
                over several devices.

        Raises:
            ModelError: The model or a backbone is missing, damaged, or does not fit.
        """
        folder = model_files.resolve_folder(name)
        config = model_files.read_config(folder)
        model = cls.from_config(config, only_see=only_see, language_model=language_model)
        model_files.load_weights(folder, config, model.video_to_weights)
        return model.to(device=device, dtype=dtype)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write a model folder: the config and the trained part (the backbones are named)."""
        model_files.save_model(Path(folder), self.config, self.video_to_weights.state_dict())

    def push_to_hub(
        self,
        name: str,
        *,
        private: bool | None = None,
        message: str = "Upload a ViPE model",
        token: str | None = None,
    ) -> str:
        """Upload the model folder to the hub in one commit; `from_pretrained` takes its name.

        Args:
            name: The hub id, `owner/name`; the repository is made if there is none.
            private: Whether a new repository is; None for the owner's default.
            message: Of the commit.
            token: Of the hub; None for the one that is logged in with.

        Returns:
            The commit's address.

        Raises:
            ModelError: The name is none, or the hub does not take it.
        """
        return hub.push_model(self, name, private=private, message=message, token=token)

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ViPE:
        """Move the model; `dtype` is the language model's alone."""
        if device is not None:
            self.encoder.to(device)
            self.video_to_weights.to(device)
            if self.language_model.device.type != "meta":  # there is nothing to move
                nn.Module.to(self.language_model, device)
        if dtype is not None:
            cast_parameters(self.language_model, dtype)
        return self

    def see(
        self,
        video: Video | Iterable[Frames],
        *,
        frames: int | Sampling | None = None,
        merge_ratio: float | None = None,
        recognise: bool = False,
        seconds: dict[str, float] | None = None,
        witness: Witness | None = None,
    ) -> PerceptualWeights:
        """Look at a video once and return what it saw, as weights.

        Args:
            video: A path, an open binary file, `Frames`, or `Frames` that come in pieces.
            frames: How many to sample evenly, or another sampling; the config's number unless
                given. Of no effect on frames that are already decoded.
            merge_ratio: Share of tokens merged away; the config's unless given.
            recognise: Whether frames are also looked at one by one, for `recognised`; a model that
                recollects always does.
            seconds: Is filled with the time spent in "decode", "encode" and "see".
            witness: Is told how it goes on.

        Raises:
            VideoError: It cannot be read.
            ValueError: `merge_ratio` is not at least 0 and below 1, or frames are to be recognised
                by a model without concepts.
        """
        config = self._merging(merge_ratio)
        watch = Watch(
            self.encoder,
            video,
            self.config.frames if frames is None else frames,
            clip=config.frames_per_clip,
            spent=seconds,
        )
        merge = HierarchicalMerge(
            config, trace=witness is not None, recognise=self._recognise(recognise)
        )
        encoded = 0
        for clip in watch:
            merge.push(*clip.as_batch())
            if witness is not None:
                witness.encoded(encoded := encoded + len(clip))
        with watch.timed("see"):
            tokens = merge.result()
            if witness is not None:
                witness.merged(tokens)
                tokens = replace(tokens, assignment=None)  # weights keep their tokens
            weights = self.video_to_weights.write(tokens)
        return replace(weights, metadata=watch.about)

    def see_stream(
        self,
        video: Video | Iterable[Frames],
        *,
        every: int | float = 10.0,
        frames: int | Sampling | None = None,
        merge_ratio: float | None = None,
        recognise: bool = False,
        until: int | float | None = None,
        seconds: dict[str, float] | None = None,
    ) -> Iterator[PerceptualWeights]:
        """Look at a video while it goes on; yield the weights of all that was seen so far.

        Each is what `see` returns for the frames up to there, and the last, at the video's end,
        what it returns for the whole, with the same sampling: bit for bit, for the clips are the
        same. Their metadata has in "until" the second, and in "cut_off" why a video broke off, if
        it did: what came before is kept, and the log has a warning. What is held is bounded: some
        clips of frames, and tokens that grow with the logarithm of their number. Closing the
        iterator stops the decoding.

        Args:
            video: As of `see`, or live: a binary file that cannot be sought in (a pipe, a response
                to a request, `Following` of a file that grows), an address ("rtsp://…"), a device
                ("/dev/video0"), a named pipe, or frames in pieces.
            every: Seconds of the video from one yield to the next.
            frames: Two a second of a file, and all of decoded frames, unless given. A live video
                has to be sampled by `Rate` or `EveryFrame`, of effect also on frames in pieces.
            merge_ratio: Share of tokens merged away; the config's unless given.
            recognise: As of `see`.
            until: The second of the video at which to end; its end unless given.
            seconds: Is filled with the time spent in "decode", "encode" and "see".

        Raises:
            VideoError: It cannot be read and nothing was seen of it; or it is live and the sampling
                needs its length.
            ValueError: `every` or `until` is not above 0, `merge_ratio` not at least 0 and below 1,
                or frames are to be recognised by a model without concepts.
        """
        if not 0 < every < math.inf:
            raise ValueError(f"every must be above 0 seconds, got {every}")
        if until is not None and not until > 0:
            raise ValueError(f"until must be above 0 seconds, got {until}")
        config = self._merging(merge_ratio)
        watch = watch_stream(
            self.encoder,
            video,
            frames,
            clip=config.frames_per_clip,
            until=None if until is None else float(until),
            spent=seconds,
        )

        looks = self._recognise(recognise)

        def weights() -> Iterator[PerceptualWeights]:
            with closing(see_parts(watch, config, float(every), looks)) as parts:
                for part in parts:
                    with watch.timed("see"):
                        seen = self.video_to_weights.write(part.tokens)
                    yield replace(seen, metadata=part.about)

        return weights()

    def see_batch(
        self,
        videos: Sequence[Video],
        *,
        frames: int | Sampling | None = None,
        merge_ratio: float | None = None,
    ) -> PerceptualWeights:
        """Look at several videos; the weights are one batch, one sample a video, in order.

        Videos are seen one by one, so memory does not grow with their number.
        """
        seen = [self.see(video, frames=frames, merge_ratio=merge_ratio) for video in videos]
        return PerceptualWeights.batch(seen)

    def compose(
        self, parts: Sequence[PerceptualWeights], *, at: Sequence[float | int] | None = None
    ) -> PerceptualWeights:
        """Return one update for several videos, or segments, that this model saw.

        As `PerceptualWeights.compose`, and of loaded adapters too: what is alike for all videos,
        and how parts are put at their times, this model knows.

        Raises:
            AdapterError: Another model saw them, or a part keeps no tokens and there is `at`.
            ValueError: There are no parts, not as many times, or a part is a batch.
        """
        module = self.video_to_weights
        if module.perception.config.factor == "B":
            own = module.static_weights()
            check_one_model([own, *parts])
            static = {target: part.detach() for target, part in own.B.items()}
            parts = [replace(part, static=static) for part in parts]
        return compose(parts, at=at, writer=self.video_to_weights)

    def recognised(self, seen: PerceptualWeights, *, at_least: float = 0.5) -> list[Sight]:
        """Return what was recognised frame by frame, in the order in which it was seen first.

        A by-product of seeing, of the things that the model was trained to name; answers know more.

        Args:
            seen: What `see` with `recognise` returned, or a loaded adapter that keeps it.
            at_least: The share of a frame that a thing must have had, within 0 and 1.

        Raises:
            AdapterError: Nothing was looked for in its frames.
            ValueError: There is more than one video.
        """
        if len(seen) != 1:
            raise ValueError(f"{len(seen)} videos, and one to look through")
        found = seen.tokens[0].recognised if seen.tokens else None
        if found is None:
            raise AdapterError("nothing was recognised in its frames, or it was not kept")
        return sights(found, self.config.perception.things, at_least)

    def _recognise(self, asked: bool) -> Recognise | None:
        perception = self.video_to_weights.perception
        if asked and perception.binding is None:
            raise ValueError("a model without concepts recognises nothing")
        return self.video_to_weights.recognise if asked or perception.recollects else None

    def _merging(self, merge_ratio: float | None) -> MergeConfig:
        config = self.config.merging
        return config if merge_ratio is None else replace(config, merge_ratio=merge_ratio)
