"""A ViPE model as one of transformers': sees what the processor prepared, and generates."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from vipe import model_files
from vipe.backbones import load_language_model
from vipe.generation import Decoding
from vipe.integrations.transformers.configuration import ViPEConfig
from vipe.integrations.transformers.settings import hub_only, parted
from vipe.integrations.transformers.tensors import VIDEO_INPUTS, as_frames
from vipe.model import ViPE
from vipe.weights import PerceptualWeights

_LOADING_INFO = ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs")


class ViPEModel(PreTrainedModel, GenerationMixin):
    """A `vipe.ViPE`, whose parts are this module's children; all else of it is in `vipe`.

    Attributes:
        vipe: The model itself, with its verbs `see` and `ask`.
        encoder: The frozen vision backbone.
        video_to_weights: Injection and perception, the trained part, which alone is saved.
        language_model: The frozen language model.
    """

    config_class = ViPEConfig
    main_input_name = "input_ids"
    input_modalities = ["text", "video", "image"]  # noqa: RUF012  # as transformers declares it
    output_modalities = ("text",)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    def __init__(self, config: ViPEConfig, vipe: ViPE | None = None) -> None:
        """Take a model, or make one of a config, whose trained part is fresh.

        Raises:
            ModelError: A backbone is nowhere to be found.
        """
        super().__init__(config)
        self.vipe = ViPE.from_config(config.plain()) if vipe is None else vipe
        # In the order of the flow: the first is what inputs are made for.
        self.encoder: nn.Module = self.vipe.encoder
        self.video_to_weights: nn.Module = self.vipe.video_to_weights
        self.language_model: Any = self.vipe.language_model
        tokenizer = self.vipe.tokenizer
        padding = (
            tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        )
        self.generation_config = GenerationConfig(
            **Decoding().arguments(), eos_token_id=tokenizer.eos_token_id, pad_token_id=padding
        )
        self.eval()

    @classmethod
    def of(cls, vipe: ViPE) -> ViPEModel:
        """Wrap a model."""
        return cls(ViPEConfig.of(vipe.config), vipe)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **settings: Any
    ) -> ViPEModel:
        """Load a model folder or a hub id.

        Args:
            pretrained_model_name_or_path: Which; "default" for the one that comes with the package.
            settings: Of transformers: `dtype` of the language model ("auto" is float32, as for
                `ViPE.from_pretrained`); `quantization_config`, `device_map`, `attn_implementation`
                and others, with which the language model is loaded; `revision`, `token`,
                `cache_dir`, `local_files_only` and `force_download`.

        Raises:
            ModelError: The model or a backbone is missing, damaged, or does not fit.
        """
        name = pretrained_model_name_or_path
        folder = model_files.resolve_folder(name, **hub_only(settings))
        config, given = parted(folder, settings)
        dtype = given.pop("dtype", None)
        with_info = given.pop("output_loading_info", False)
        plain, language_model = config.plain(), None
        if given:
            language_model, _tokenizer = load_language_model(
                plain.language_model, dtype=dtype, **given
            )
        vipe = ViPE.from_config(plain, language_model=language_model)
        model_files.load_weights(folder, plain, vipe.video_to_weights)
        if language_model is None:
            vipe.to(dtype=dtype)
        else:  # the rest goes where its inputs are
            vipe.encoder.to(vipe.language_model.device)
            vipe.video_to_weights.to(vipe.language_model.device)
        model: Any = cls.of(vipe)
        model.config.name_or_path = model.name_or_path = str(name)
        if hasattr(vipe.language_model, "hf_device_map"):
            model.hf_device_map = vipe.language_model.hf_device_map
        return (model, {key: [] for key in _LOADING_INFO}) if with_info else model

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **settings: Any
    ) -> None:
        """Write a model folder, as `ViPE.save_pretrained` does; other files in it stay.

        Args:
            save_directory: Where to.
            push_to_hub: Whether to upload it as well.
            settings: `repo_id` and others of `push_to_hub`; those of how the file is cut up mean
                nothing here: it has the trained part alone.
        """
        self.vipe.save_pretrained(Path(save_directory))
        if push_to_hub:
            name = settings.pop("repo_id", Path(save_directory).name)
            names = ("commit_message", "private", "token")
            self.push_to_hub(name, **{k: v for k, v in settings.items() if k in names})

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        commit_message: str | None = None,
        private: bool | None = None,
        token: str | bool | None = None,
        **_: Any,
    ) -> str:
        """Upload the model folder to the hub, as `ViPE.push_to_hub` does.

        Returns:
            The commit's address.

        Raises:
            ModelError: The name is none, or the hub does not take it.
        """
        message = {} if commit_message is None else {"message": commit_message}
        return self.vipe.push_to_hub(
            repo_id, private=private, token=token if isinstance(token, str) else None, **message
        )

    def to(self, *where: Any, **more: Any) -> ViPEModel:  # type: ignore[override]
        """Move the model; a dtype is the language model's alone, as of `ViPE.to`."""
        device, dtype, _, _ = torch._C._nn._parse_to(*where, **more)
        self.vipe.to(device=device, dtype=dtype)
        return self

    def get_input_embeddings(self) -> nn.Module:
        """Return the language model's."""
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        """Return the language model's."""
        return self.language_model.get_output_embeddings()

    def see(
        self,
        pixel_values_videos: Tensor,
        video_seconds: Tensor,
        video_frames: Tensor,
        video_duration: Tensor,
    ) -> PerceptualWeights:
        """Look at videos that the processor prepared; `vipe.see` takes files, of any length.

        Args:
            pixel_values_videos: `(b, f, 3, p, p)`, uint8, padded on the left.
            video_seconds: `(b, f)`, when each frame is shown.
            video_frames: `(b,)`, how many of the frames are no padding.
            video_duration: `(b,)`, in seconds.

        Returns:
            A batch of b updates.
        """
        videos = as_frames(pixel_values_videos, video_seconds, video_frames, video_duration)
        return self.vipe.see_batch(videos)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        seen: PerceptualWeights | Sequence[PerceptualWeights] | None = None,
        **inputs: Any,
    ) -> CausalLMOutputWithPast:
        """Run the language model with each sample's video in its weights.

        Args:
            input_ids: `(b, t)`.
            attention_mask: `(b, t)`.
            seen: What was seen; else videos are among the inputs, or there are none.
            inputs: The processor's of the videos, and the language model's own (`labels`, …).

        Returns:
            What the language model returns.
        """
        with self._with_videos(seen, inputs):
            return self.language_model(input_ids=input_ids, attention_mask=attention_mask, **inputs)

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        seen: PerceptualWeights | Sequence[PerceptualWeights] | None = None,
        **settings: Any,
    ) -> Any:
        """Generate after the prompts, as the language model does; greedy unless told otherwise.

        Args:
            inputs: The prompts, `(b, t)`, padded on the left.
            generation_config: How to decode; this model's own unless given.
            input_ids: As `inputs`.
            attention_mask: `(b, t)`.
            seen: What was seen; else videos are among the settings, or there are none.
            settings: The processor's tensors of the videos, and `generate`'s.

        Returns:
            Prompts and answers, `(b, t')`, or whatever `generate` was asked to return.
        """
        decoding = copy.deepcopy(generation_config or self.generation_config)
        for name in ("eos_token_id", "pad_token_id"):
            if getattr(decoding, name) is None:
                setattr(decoding, name, getattr(self.generation_config, name))
        with self._with_videos(seen, settings):
            return self.language_model.generate(
                input_ids=inputs if input_ids is None else input_ids,
                attention_mask=attention_mask,
                generation_config=decoding,
                **decoding.update(**settings),
            )

    @contextmanager
    def _with_videos(
        self,
        seen: PerceptualWeights | Sequence[PerceptualWeights] | None,
        inputs: dict[str, Any],
    ) -> Iterator[None]:
        """Attach what is seen; the inputs that are of videos are taken out of `inputs`."""
        given = [name for name in VIDEO_INPUTS if inputs.get(name) is not None]
        shown = {name: inputs.pop(name) for name in given}
        if shown and seen is not None:
            raise ValueError("give either videos or what was seen of them, not both")
        if shown:
            seen = self.see(**shown)
        elif isinstance(seen, Sequence):  # as pipelines put batches together
            seen = PerceptualWeights.batch([one for batch in seen for one in batch])
        if seen is None:
            yield
            return
        with (seen[0] if len(seen) == 1 else seen).attached_to(self.language_model):
            yield
