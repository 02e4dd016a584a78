"""Videos, pictures and chats → tensors: `AutoProcessor` of a model folder.

Frames are sampled and resized as `ViPE.see` does it, prompts are those of `ViPE.ask`. There are no
visual tokens: a prompt's ids are the words alone, and pixels go beside it.

Dimensions: b samples, t tokens, f frames of the longest video, p pixels a side.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import BatchFeature
from transformers.processing_utils import ProcessorMixin

from vipe import model_files
from vipe.backbones import load_tokenizer
from vipe.chat import prompt_text
from vipe.config import ViPEConfig
from vipe.errors import ModelError
from vipe.frames import Rate, Sampling, Uniform
from vipe.integrations.transformers.conversation import Turn, look, read
from vipe.integrations.transformers.settings import hub_only
from vipe.integrations.transformers.tensors import VIDEO_INPUTS, as_tensors
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FILE = "processor_config.json"


class ViPEProcessor(ProcessorMixin):
    """Turns what is shown and said into a model's inputs.

    Attributes:
        tokenizer: The language model's; it pads on the left.
        language_model: Its name.
        frames: How many are sampled from a video, unless the caller says.
        image_size: p, of the encoder.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        language_model: str,
        frames: int,
        image_size: int,
    ) -> None:
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left"
        super().__init__(tokenizer, chat_template=tokenizer.chat_template)
        self.language_model, self.frames, self.image_size = language_model, frames, image_size

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **where: Any
    ) -> ViPEProcessor:
        """Load the processor of a model folder, a hub id, or what `save_pretrained` wrote.

        Args:
            pretrained_model_name_or_path: Which; "default" for the one that comes with the package.
            where: On the hub: `revision`, `token`, `cache_dir`, ….

        Raises:
            ModelError: There is no such model, or it is damaged.
        """
        name = pretrained_model_name_or_path
        saved = Path(name) / FILE
        if saved.is_file():
            try:
                values = json.loads(saved.read_text(encoding="utf-8"))
                made = {key: values[key] for key in ("language_model", "frames", "image_size")}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ModelError(f"{saved}: not a processor's config: {error}") from error
            return cls(load_tokenizer(made["language_model"]), **made)
        return cls.of(model_files.read_config(model_files.resolve_folder(name, **hub_only(where))))

    @classmethod
    def of(cls, config: ViPEConfig) -> ViPEProcessor:
        """Make the processor of a model.

        Raises:
            ModelError: A backbone is nowhere to be found.
        """
        return cls(
            load_tokenizer(config.language_model),
            language_model=config.language_model,
            frames=config.frames,
            image_size=config.encoder.find_image_size(),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: what `save_pretrained` writes."""
        return {
            "processor_class": type(self).__name__,
            "language_model": self.language_model,
            "frames": self.frames,
            "image_size": self.image_size,
        }

    def save_pretrained(
        self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **_: Any
    ) -> list[str]:
        """Write the processor into a folder, beside a model or alone; backbones are named.

        Raises:
            ValueError: It is to be pushed: `ViPEModel.push_to_hub` is enough.
        """
        if push_to_hub:
            raise ValueError("a processor is made from its model: push the model to the hub alone")
        file = Path(save_directory) / FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{FILE}.{os.getpid()}.tmp")
        fresh.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        fresh.replace(file)
        return [str(file)]

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        audio: None = None,
        *,
        num_frames: int | None = None,
        fps: float | int | None = None,
        return_tensors: str = "pt",
        **of_tokenizer: Any,
    ) -> BatchFeature:
        """Prepare prompts and what they are about.

        Args:
            images: As `videos`: a picture is a video of one frame.
            text: One prompt, or one for each sample, with its chat template applied.
            videos: One for each prompt (or None): a path, an address, an open binary file, a
                picture of Pillow's, `Frames`, or `PerceptualWeights` of what was seen already; a
                list of one of these.
            audio: None.
            num_frames: How many frames to sample evenly; the config's number unless given.
            fps: Frames a second to sample, instead.
            return_tensors: "pt".
            of_tokenizer: Further settings of the tokenizer.

        Returns:
            `input_ids` and `attention_mask`, `(b, t)`, padded on the left; of videos
            `pixel_values_videos`, `(b, f, 3, p, p)` uint8, and `video_seconds`, `(b, f)`, padded
            on the left, `video_frames` and `video_duration`, `(b,)`; or `seen`, a batch of
            `PerceptualWeights`.

        Raises:
            VideoError: A video cannot be read.
            ValueError: There is sound, or a sample shows none or several videos.
        """
        if audio is not None or return_tensors != "pt":
            raise ValueError("ViPE hears nothing, and gives tensors of PyTorch ('pt')")
        if num_frames is not None and fps is not None:
            raise ValueError("num_frames or fps, not both")
        data: dict[str, Any] = {}
        if text is not None:
            prompts = [text] if isinstance(text, str) else list(text)
            begins = self.tokenizer.chat_template is None  # else the template writes the beginning
            data |= self.tokenizer(
                prompts,
                return_tensors="pt",
                **{"padding": True, "add_special_tokens": begins} | of_tokenizer,
            )
            data.pop("token_type_ids", None)
        shown = [one for many in (videos, images) if many is not None for one in _listed(many)]
        if shown:
            sampling = Uniform(num_frames or self.frames) if fps is None else Rate(fps)
            data |= self._shown(shown, sampling)
            if text is not None and len(shown) != len(prompts):
                raise ValueError(f"{len(prompts)} prompts but {len(shown)} videos: one for each")
        return BatchFeature(data)

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: Sequence[Turn] | Sequence[Sequence[Turn]],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        continue_final_message: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str = "pt",
        processor_kwargs: Mapping[str, Any] | None = None,
        **of_template: Any,
    ) -> Any:
        """Turn a chat, or several, into prompts, and with `tokenize` into a model's inputs.

        Args:
            conversation: Turns, whose content is a text or parts: `{"type": "text", "text": …}`,
                `{"type": "video", "path": …}` (or "video", "url"), `{"type": "image", …}`. A chat
                is about one video.
            chat_template: Instead of the tokenizer's own.
            add_generation_prompt: Whether the answer comes next.
            continue_final_message: Whether the last turn goes on.
            tokenize: Whether to return ids.
            return_dict: Whether to return all inputs, and not the ids alone.
            return_tensors: "pt".
            processor_kwargs: As of `__call__`.
            of_template: Further variables of the template, and arguments of `__call__`.

        Raises:
            VideoError: A video cannot be read.
            ValueError: A chat is about several videos, or only some chats are about one.
        """
        many = not isinstance(conversation[0], Mapping)
        read_ones = [read(one) for one in (conversation if many else [conversation])]  # type: ignore[arg-type]
        options = dict(processor_kwargs or {})
        options |= {k: of_template.pop(k) for k in ("num_frames", "fps") if k in of_template}
        prompts = [
            prompt_text(
                self.tokenizer,
                one.turns,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                **({} if chat_template is None else {"chat_template": chat_template}),
                **of_template,
            )
            for one in read_ones
        ]
        if not tokenize:
            return prompts if many else prompts[0]
        for one in read_ones:
            if len(one.shown) > 1:
                raise ValueError(f"a chat is about one video or picture, not {len(one.shown)}")
        shown = [video for one in read_ones for video in one.shown]
        if shown and len(shown) != len(read_ones):
            raise ValueError("some of the chats are about a video and some about none")
        inputs = self(text=prompts, videos=shown or None, return_tensors=return_tensors, **options)
        return inputs if return_dict else inputs["input_ids"]

    @property
    def model_input_names(self) -> list[str]:
        """Names of a model's inputs."""
        return ["input_ids", "attention_mask", *VIDEO_INPUTS, "seen"]

    def _shown(self, shown: Sequence[Any], sampling: Sampling) -> dict[str, Any]:
        seen = [one for one in shown if isinstance(one, PerceptualWeights)]
        if len(seen) == len(shown):
            return {"seen": PerceptualWeights.batch(seen)}
        if seen:
            raise ValueError("some of the videos were seen already and some were not")
        return as_tensors([look(one, sampling, self.image_size) for one in shown])


def _listed(videos: Any) -> list[Any]:
    """Return one video for each sample, of one, a list, or (as transformers nests) lists of one."""
    if not isinstance(videos, list | tuple):
        return [videos]
    nested = [one if isinstance(one, list | tuple) else [one] for one in videos]
    if any(len(one) != 1 for one in nested):
        raise ValueError("each prompt is about one video or picture")
    return [one[0] for one in nested]
