"""Serving: a language model as a folder that other servers load, with prompts that are ours."""

from __future__ import annotations

import shutil
import uuid
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from vipe.backbones import language_model_config, load_language_model
from vipe.backbones.lookup import quiet_transformers
from vipe.chat import Message, prompt_ids
from vipe.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What `vipe.chat` writes where a tokenizer has no template. A server has to be given one.
_PLAIN = (
    "{% for m in messages %}"
    "{{ {'user': 'Question', 'assistant': 'Answer', 'system': 'System'}[m['role']] }}"
    ": {{ m['content'] }}\n{% endfor %}Answer:"
)
_SAMPLE = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="What is it?"),
    Message(role="assistant", content="A dog."),
    Message(role="user", content="What does it do?"),
)


def export_language_model(name: str, folder: str | PathLike[str]) -> None:
    """Write a language model as transformers does: safetensors, config, tokenizer, chat template.

    The numbers are those of the source, in its dtype. A server that applies the chat template to
    the messages `{"role": "user", "content": question}` gets the prompts of `ViPE.ask`, token for
    token.

    Args:
        name: As `vipe.backbones` looks it up.
        folder: Where to; it must not exist, or be empty.

    Raises:
        ModelError: There is no such model, or the folder cannot be written.
    """
    import torch

    final = Path(folder)
    if final.exists() and not (final.is_dir() and not any(final.iterdir())):
        raise ModelError(f"{final}: exists; give a new folder for the language model")
    dtype = language_model_config(name).dtype
    model, tokenizer = load_language_model(
        name, dtype=dtype if isinstance(dtype, torch.dtype) else torch.float32
    )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = plain_template(tokenizer)
    fresh = final.with_name(f".{final.name}.{uuid.uuid4().hex}.new")
    try:
        fresh.mkdir(parents=True)
        with quiet_transformers():
            model.save_pretrained(fresh)
            tokenizer.save_pretrained(fresh)
        for weights in fresh.glob("*.safetensors"):  # else only its owner can read it
            weights.chmod((fresh / "config.json").stat().st_mode)
        if final.exists():
            final.rmdir()
        fresh.rename(final)
    except OSError as error:
        raise ModelError(f"{final}: the language model cannot be written ({error})") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def plain_template(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a chat template that writes the prompts of a tokenizer that has none.

    Raises:
        ModelError: No template does.
    """
    begin = str(tokenizer.decode(tokenizer("").input_ids))
    template = begin.replace("{", "{{ '{' }}") + _PLAIN
    for end in range(1, len(_SAMPLE), 2):
        turns = [{"role": m["role"], "content": m["content"]} for m in _SAMPLE[: end + 1]]
        text = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False)
        written = tokenizer(str(text), add_special_tokens=False).input_ids
        if list(written) != prompt_ids(tokenizer, _SAMPLE[: end + 1]):
            raise ModelError("the prompts of this tokenizer cannot be written as a chat template")
    return template
