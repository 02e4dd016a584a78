"""The task "video-text-to-text" of transformers' pipelines: a video and a question → an answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from transformers import AnyToAnyPipeline
from transformers.pipelines.any_to_any import ReturnType

from vipe.integrations.transformers.conversation import Turn

TASK = "video-text-to-text"


class VideoTextToTextPipeline(AnyToAnyPipeline):
    """Answers questions about videos and pictures; greedy, it says what `ViPE.ask` says."""

    def __call__(  # type: ignore[override]
        self,
        videos: Any = None,
        text: str | Sequence[str] | Sequence[Turn] | Sequence[Sequence[Turn]] | None = None,
        **settings: Any,
    ) -> Any:
        """Answer a question about a video, or several.

        Args:
            videos: A path, an address, an open binary file, a picture of Pillow's, `vipe.Frames`,
                or `vipe.PerceptualWeights` of what was seen already; a list of these, with a list
                of questions; or a chat, or a list of chats, whose turns hold parts such as
                `{"type": "video", "path": …}`; or mappings `{"video": …, "text": …}`.
            text: The question, or one for each video, or about the one video; or a chat, or chats.
            settings: `num_frames` or `fps` of the sampling, `max_new_tokens` and `generate_kwargs`
                of the answer, `return_full_text`, `batch_size`, ….

        Returns:
            `[{"generated_text": answer, "input_text": chat}]`, and for several a list of these.
            With `return_full_text` the text is the whole chat.

        Raises:
            VideoError: A video cannot be read.
            ValueError: Nothing is asked.
        """
        chats, many = _chats(videos, text)
        settings.setdefault("return_full_text", False)
        if "return_type" in settings or "return_tensors" in settings:
            del settings["return_full_text"]
        chat: Any = chats if many else chats[0]
        return super().__call__(text=chat, **settings)

    def postprocess(  # type: ignore[override]
        self, model_outputs: Mapping[str, Any], return_type: Any = None, **settings: Any
    ) -> list[dict[str, Any]]:
        """Decode what comes after the prompts."""
        if return_type != ReturnType.NEW_TEXT:
            return super().postprocess(model_outputs, return_type=return_type, **settings)
        chats, generated = model_outputs["prompt_text"], model_outputs["generated_sequence"]
        chats = chats if isinstance(chats, list) else [chats]
        new = generated.flatten(0, -2)[:, model_outputs["input_ids"].shape[-1] :]
        skip = settings.get("skip_special_tokens", True)
        tokenizer: Any = self.tokenizer
        answers = tokenizer.batch_decode(new, skip_special_tokens=skip)
        each = len(answers) // len(chats)  # of several beams or samples
        return [
            {"input_text": chats[i // each].messages, "generated_text": answer.strip()}
            for i, answer in enumerate(answers)
        ]

    def save_pretrained(self, save_directory: str | os.PathLike[str], **settings: Any) -> None:
        """Write the model folder, which is all that a pipeline is made of."""
        self.model.save_pretrained(save_directory, **settings)


def _chats(videos: Any, text: Any) -> tuple[list[list[Turn]], bool]:
    """Return all chats, and whether there may be several.

    Raises:
        ValueError: Nothing is asked, or there are not as many questions as videos.
    """
    if text is None and isinstance(videos, Mapping):
        return _chats(videos.get("video", videos.get("image")), videos["text"])
    if text is None and isinstance(videos, Iterable) and not isinstance(videos, str):
        items = list(videos)
        if items and _is_mapping(items[0], "role"):
            return [items], False
        if items and _is_mapping(items[0], "text"):
            return [_chats(item, None)[0][0] for item in items], True
        if items and isinstance(items[0], list | tuple):
            return [list(item) for item in items], True
    if text is None or len(text) == 0:
        raise ValueError("nothing is asked: give a question, or a chat")
    if not isinstance(text, str) and not isinstance(text[0], str):
        if videos is not None:
            raise ValueError("a chat holds its video itself, as a part of a turn")
        return _chats(text, None)
    questions = [text] if isinstance(text, str) else list(text)
    shown = list(videos) if isinstance(videos, list | tuple) else [videos] * len(questions)
    if len(shown) != len(questions):
        raise ValueError(f"{len(shown)} videos but {len(questions)} questions")
    many = not isinstance(text, str) or isinstance(videos, list | tuple)
    return [_chat(*pair) for pair in zip(shown, questions, strict=True)], many


def _chat(video: Any, question: str) -> list[Turn]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": question}]
    if video is not None:
        parts.insert(0, {"type": "video", "video": video})
    return [{"role": "user", "content": parts}]


def _is_mapping(value: Any, key: str) -> bool:
    return isinstance(value, Mapping) and key in value
