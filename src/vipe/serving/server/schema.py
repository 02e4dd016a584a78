"""What requests and answers look like: OpenAI's chat completions, with vLLM's videos in them."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vipe.chat import Message
from vipe.entry import Entry
from vipe.serving.server.refusals import Refusal
from vipe.serving.server.together import MOST_VIDEOS

# What would change the answer, and is not done here: better refused than left out in silence.
_UNSUPPORTED = (
    "tools", "functions", "logprobs", "logit_bias", "presence_penalty", "frequency_penalty",
    "audio",
)  # fmt: skip


class Url(BaseModel):
    """Where a video or picture is."""

    url: str


class Text(BaseModel):
    """Words."""

    type: Literal["text"]
    text: str


class VideoUrl(BaseModel):
    """A video by its URL, as vLLM takes it."""

    type: Literal["video_url"]
    video_url: Url


class ImageUrl(BaseModel):
    """A picture by its URL, as OpenAI takes it: a video of one frame."""

    type: Literal["image_url"]
    image_url: Url


class SeenVideo(BaseModel):
    """A video that was seen already, by the id that /v1/videos gave."""

    type: Literal["video"]
    video: str


Part = Annotated[Text | VideoUrl | ImageUrl | SeenVideo, Field(discriminator="type")]


class Turn(BaseModel):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None

    @property
    def parts(self) -> list[Part]:
        """Its content as parts."""
        if isinstance(self.content, str):
            return [Text(type="text", text=self.content)]
        return self.content or []


class StreamOptions(BaseModel):
    """What comes with a stream."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A question, as /v1/chat/completions takes it.

    Attributes:
        model: Which; the one that is served.
        messages: The conversation, with a video somewhere in it, or two, unless `video` names them.
        video: A seen video's id, or a list of two.
        temperature: 0 for the likeliest token each time, which is the default here as it is of
            `vipe ask`.
        top_p: Of sampling, the share of probability that is kept.
        max_tokens: The longest answer; `max_completion_tokens` is its newer name.
        stop: Where the answer ends, before it.
        seed: Of sampling.
        n: One answer.
        stream: Piece by piece, as server-sent events.
    """

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    messages: Annotated[list[Turn], Field(min_length=1, max_length=1000)]
    video: str | Annotated[list[str], Field(min_length=1, max_length=MOST_VIDEOS)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _supported(self) -> ChatRequest:
        given = self.model_extra or {}
        if wanted := [name for name in _UNSUPPORTED if given.get(name)]:
            raise ValueError(f"{wanted[0]} is not supported")
        if (self.response_format or {}).get("type", "text") != "text":
            raise ValueError("response_format is not supported but as text")
        return self

    @property
    def longest(self) -> int | None:
        """The longest answer in tokens; None where it is left open."""
        newer = self.max_completion_tokens
        return self.max_tokens if newer is None else newer

    @property
    def stops(self) -> list[str]:
        """Texts at which the answer ends."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    def conversation(self) -> list[Message]:
        """Return the words alone, as the language model is given them.

        Raises:
            Refusal: Nothing is asked.
        """
        turns = [
            Message(
                role="system" if turn.role == "developer" else turn.role,
                content="\n".join(part.text for part in turn.parts if isinstance(part, Text)),
            )
            for turn in self.messages
        ]
        if not any(turn["role"] == "user" and turn["content"].strip() for turn in turns):
            raise Refusal(400, "messages: nothing is asked", param="messages")
        return turns

    def sources(self) -> list[Url | str]:
        """Return the conversation's videos: where each is, or the id of one that was seen.

        Raises:
            Refusal: There is none, or more than two.
        """
        found: dict[tuple[bool, str], Url | str] = {}  # in the order in which they are named
        for part in (part for turn in self.messages for part in turn.parts):
            match part:
                case VideoUrl():
                    found[True, part.video_url.url] = part.video_url
                case ImageUrl():
                    found[True, part.image_url.url] = part.image_url
                case SeenVideo():
                    found[False, part.video] = part.video
        for key in [self.video] if isinstance(self.video, str) else self.video or []:
            found[False, key] = key
        if not 1 <= len(found) <= MOST_VIDEOS:
            raise Refusal(
                400, "messages: a conversation is about one video or two; here "
                + (f"are {len(found)}" if found else "is no video"),
                param="messages", code="videos",
            )  # fmt: skip
        return list(found.values())


def usage(prompt: int, answer: int, visual: int, cost: dict[str, Any]) -> dict[str, Any]:
    """Count tokens, the visual ones of the prompt apart, and what they cost."""
    return {
        "prompt_tokens": prompt + visual,
        "completion_tokens": answer,
        "total_tokens": prompt + visual + answer,
        "prompt_tokens_details": {"visual_tokens": visual},
        "cost": cost,
    }


class Reply:
    """The frame of one answer: what all objects about it have in common.

    Args:
        model: Its name.
        videos: The ids of what it is about, for further questions.
    """

    def __init__(self, model: str, videos: list[str]) -> None:
        self._common = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "video": videos[0] if len(videos) == 1 else videos,
        }

    def whole(self, text: str, reason: str, counts: dict[str, Any]) -> dict[str, Any]:
        """The answer at once."""
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        return {
            **self._common,
            "object": "chat.completion",
            "choices": [choice],
            "usage": counts,
        }

    def piece(self, delta: dict[str, str], reason: str | None = None) -> dict[str, Any]:
        """A piece of it."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._common, "object": "chat.completion.chunk", "choices": [choice]}

    def counts(self, counts: dict[str, Any]) -> dict[str, Any]:
        """What comes after the last piece, if it was asked for."""
        return {
            **self._common,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": counts,
        }


def video_object(entry: Entry) -> dict[str, Any]:
    """A seen video, as /v1/videos shows it."""
    return {
        "id": entry.key,
        "object": "video",
        "created_at": int(entry.seen.timestamp()),
        "filename": entry.video,
        "seconds": entry.seconds,
        "frames": entry.frames,
        "sha256": entry.video_digest,
        "model": entry.model,
    }
