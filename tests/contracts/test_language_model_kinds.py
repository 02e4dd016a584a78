"""Which language models work: docs/bring-your-own-backbone.md's table, kind by kind.

Tiny random ones of each: an update changes what they say, and training, where the table says that
it works, computes what answering does.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast

import pages
import tiny
import tiny_backbones
from vipe.errors import ModelError
from vipe.training.language import TrainingLanguageModel
from vipe.training.packing import Packer, Turn
from vipe.weights import PerceptualWeights

PAGE = "docs/bring-your-own-backbone.md"


class Kind(NamedTuple):
    name: str
    targets: tuple[str, ...]
    static_targets: tuple[str, ...]
    trains: bool


def kinds() -> list[Kind]:
    """The rows of the table, one for each kind that they name."""
    text = (pages.ROOT / PAGE).read_text(encoding="utf-8")
    table = text.split("| transformers' |")[1].split("\n\n")[0]
    found = []
    for line in table.splitlines()[2:]:
        names, targets, static, trains = (cell.strip() for cell in line.strip("|").split("|"))
        layers = [tuple(re.findall("`(.*?)`", cell)) for cell in (targets, static)]
        found += [Kind(name, *layers, trains.startswith("yes")) for name in names.split(", ")]
    return found


def test_the_table_has_what_the_readme_promises() -> None:
    assert len(kinds()) > 15
    assert {"Llama", "Qwen2", "Mistral", "Gemma"} <= {kind.name for kind in kinds() if kind.trains}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_a_kind_is_as_the_table_says(kind: Kind, tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    model: Any = tiny_backbones.any_language_model(kind.name, tiny_tokenizer)
    weights = some_weights(model, kind)
    turns = [Turn(question="What is it?", answer="A dog.", kind="animal")]
    rows = Packer(tiny_tokenizer, 100).pack([turns, turns])
    used = int((rows.turn[0] >= 0).sum())

    def logits() -> torch.Tensor:
        return model(rows.input_ids[:, :used], use_cache=False).logits

    with torch.no_grad():
        bare = logits()
        with weights.attached_to(model):
            plain = logits()
    assert not torch.allclose(bare, plain, atol=1e-3)
    assert not torch.allclose(plain[0], plain[1], atol=1e-3), "videos differ"
    targets = list(weights.targets)
    if not kind.trains:
        with pytest.raises(ModelError):
            TrainingLanguageModel(model, targets)
        return
    language = TrainingLanguageModel(model, targets)
    with torch.no_grad(), language.attached(weights):
        trained, labels = language(rows)
    # As in test_video_to_weights; seen: at most 2e-5.
    assert_close(trained, plain[:, -(len(labels) // 2) :].flatten(0, 1), rtol=0, atol=1e-4)


def some_weights(model: Any, kind: Kind) -> PerceptualWeights:
    """What two videos become, of which they differ."""
    module = tiny_backbones.video_to_weights(
        model, started=True, targets=kind.targets, static_targets=kind.static_targets
    )
    return module(tiny.tokens(2))


def test_a_model_without_linear_layers_is_refused(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    config = transformers.GPT2Config(vocab_size=len(tiny_tokenizer), n_embd=32, n_layer=2, n_head=4)
    model = transformers.GPT2LMHeadModel(config)
    with pytest.raises(ModelError, match="no linear module c_proj"):
        some_weights(model, Kind("GPT2", ("c_proj",), (), False))
