"""Between stages: a question → the language model's prompt, by its own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_HERE = "\ue000"  # of the private use area: no template or question has it


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
    begin = tokenizer.chat_template is None  # else the template writes its own beginning
    prompt = prompt_text(tokenizer, as_messages(question))
    return list(tokenizer(prompt, add_special_tokens=begin).input_ids)


def prompt_around(
    tokenizer: PreTrainedTokenizerBase, question: str | Sequence[Message]
) -> tuple[list[int], list[int]]:
    """Return the token ids before and after the place of visual tokens in a prompt.

    That is before the first words of the user, as in LLaVA (Liu et al., NeurIPS 2023). For a model
    that reads them; ViPE's own prompts have no such place (`prompt_ids`).

    Raises:
        ValueError: Nothing is asked: there is no turn of the user.
    """
    messages = as_messages(question)
    first = next((i for i, m in enumerate(messages) if m["role"] == "user"), None)
    if first is None:
        raise ValueError("a conversation needs a turn of the user")
    marked = Message(role="user", content=_HERE + messages[first]["content"])
    messages[first] = marked
    before, _, after = prompt_text(tokenizer, messages).partition(_HERE)
    begin = tokenizer.chat_template is None  # else the template writes its own beginning
    return (
        list(tokenizer(before, add_special_tokens=begin).input_ids),
        list(tokenizer(after, add_special_tokens=False).input_ids),
    )


def prompt_text(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = True,
    **settings: Any,
) -> str:
    """Return the text of a prompt, up to where the answer begins unless told otherwise.

    Args:
        tokenizer: The language model's.
        messages: The conversation.
        add_generation_prompt: Whether the answer is to begin.
        settings: Further ones of the tokenizer's `apply_chat_template`.
    """
    if tokenizer.chat_template is None and "chat_template" not in settings:
        names = {"user": "Question", "assistant": "Answer", "system": "System"}
        turns = "\n".join(f"{names[m['role']]}: {m['content']}" for m in messages)
        return f"{turns}\nAnswer:" if add_generation_prompt else turns
    plain = [{"role": m["role"], "content": m["content"]} for m in messages]
    return str(
        tokenizer.apply_chat_template(
            plain, tokenize=False, add_generation_prompt=add_generation_prompt, **settings
        )
    )
