"""The exported language model: the same numbers, and chat messages become our prompts."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from vipe.chat import Message, prompt_ids
from vipe.errors import ModelError
from vipe.serving.language_model import export_language_model, plain_template

TALKS: list[list[Message]] = [
    [Message(role="user", content="What is in the video?")],
    [Message(role="system", content="Be {{ brief }}."), Message(role="user", content="Who?\n")],
    [
        Message(role="user", content="What is it?"),
        Message(role="assistant", content="A dog."),
        Message(role="user", content=" And then? "),
    ],
]


def as_a_server_does(tokenizer: Any, talk: list[Message]) -> list[int]:
    """What vLLM makes of messages: its chat endpoint's `add_special_tokens` is false."""
    text = tokenizer.apply_chat_template(
        [dict(m) for m in talk], add_generation_prompt=True, tokenize=False
    )
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def without_template(tokenizer: PreTrainedTokenizerFast, *, begin: bool) -> PreTrainedTokenizerFast:
    plain = copy.deepcopy(tokenizer)
    plain.chat_template = None
    if begin:
        plain.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<|im_start|> $A", special_tokens=[("<|im_start|>", plain.bos_token_id)]
        )
    return plain


def test_the_folder_is_the_model(tiny_language_model_folder: Path, tmp_path: Path) -> None:
    export_language_model(str(tiny_language_model_folder), tmp_path / "new" / "lm")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lm"]
    ids = torch.randint(3, 200, (2, 9))
    logits = []
    for folder in (tiny_language_model_folder, tmp_path / "new" / "lm"):
        with torch.no_grad():
            logits.append(AutoModelForCausalLM.from_pretrained(folder)(input_ids=ids).logits)
    assert torch.equal(*logits)
    modes = {path.stat().st_mode for path in (tmp_path / "new" / "lm").iterdir()}
    assert len(modes) == 1, "whoever may read the config may read the weights"


def test_the_dtype_is_the_sources(tiny_language_model_folder: Path, tmp_path: Path) -> None:
    half = AutoModelForCausalLM.from_pretrained(tiny_language_model_folder, dtype=torch.bfloat16)
    half.save_pretrained(tmp_path / "half")
    AutoTokenizer.from_pretrained(tiny_language_model_folder).save_pretrained(tmp_path / "half")
    export_language_model(str(tmp_path / "half"), tmp_path / "lm")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "lm", dtype="auto")
    assert exported.dtype == torch.bfloat16
    for one, two in zip(exported.parameters(), half.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("talk", TALKS, ids=len)
def test_messages_become_our_prompts(
    tiny_language_model_folder: Path, tmp_path: Path, talk: list[Message]
) -> None:
    export_language_model(str(tiny_language_model_folder), tmp_path / "lm")
    ours = AutoTokenizer.from_pretrained(tiny_language_model_folder)
    server = AutoTokenizer.from_pretrained(tmp_path / "lm")
    assert as_a_server_does(server, talk) == prompt_ids(ours, talk)


@pytest.mark.parametrize("begin", [False, True])
@pytest.mark.parametrize("talk", TALKS, ids=len)
def test_a_tokenizer_without_a_template_gets_one(
    tiny_tokenizer: PreTrainedTokenizerFast, talk: list[Message], begin: bool
) -> None:
    plain = without_template(tiny_tokenizer, begin=begin)
    assert (prompt_ids(plain, "Who?")[0] == plain.bos_token_id) == begin
    server = copy.deepcopy(plain)
    server.chat_template = plain_template(plain)
    assert as_a_server_does(server, talk) == prompt_ids(plain, talk)


def test_what_no_template_can_write(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    """Such as an end of its own behind every text."""
    plain = without_template(tiny_tokenizer, begin=False)
    plain.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|im_end|>", special_tokens=[("<|im_end|>", plain.eos_token_id)]
    )
    with pytest.raises(ModelError, match="cannot be written as a chat template"):
        plain_template(plain)


def test_nothing_is_replaced(tiny_language_model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    for taken in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ModelError, match="exists"):
            export_language_model(str(tiny_language_model_folder), taken)
    with pytest.raises(ModelError, match="cannot be written"):
        export_language_model(
            str(tiny_language_model_folder), tmp_path / "mine" / "thesis.txt" / "lm"
        )
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_empty_folder_is_filled(tiny_language_model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lm").mkdir()
    export_language_model(str(tiny_language_model_folder), tmp_path / "lm")
    assert (tmp_path / "lm" / "model.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["lm"]


def test_no_such_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        export_language_model(str(tmp_path / "nowhere"), tmp_path / "lm")
    assert list(tmp_path.iterdir()) == []
