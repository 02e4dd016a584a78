"""Between stages: a question → the language model's prompt, by its own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Message(TypedDict):
    """One turn of a conversation: `role` is "system", "user" or "assistant"."""

    role: str
    content: str


def as_messages(question: str | Sequence[Message]) -> list[Message]:
    """Turn a question into a conversation of one turn; a conversation stays what it is."""
    if isinstance(question, str):
        return [Message(role="user", content=question)]
    return list(question)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, question: str | Sequence[Message]) -> list[int]:
    """Return the token ids of a prompt, up to where the answer begins. No visual token is in it.

    A tokenizer without a chat template gets the lines "Question: …" and "Answer:".
    """
    messages = as_messages(question)
    if tokenizer.chat_template is None:
        names = {"user": "Question", "assistant": "Answer", "system": "System"}
        text = "\n".join(f"{names[m['role']]}: {m['content']}" for m in messages) + "\nAnswer:"
        return list(tokenizer(text).input_ids)
    turns = [{"role": m["role"], "content": m["content"]} for m in messages]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(str(prompt), add_special_tokens=False).input_ids)
