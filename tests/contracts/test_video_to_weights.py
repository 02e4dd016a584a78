"""What holds whichever factor the video decides, for every kind of language model."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import PreTrainedModel, PreTrainedTokenizerFast

import tiny
import tiny_backbones
from vipe.merging import VisualTokens
from vipe.perception import Factor
from vipe.training.language import TrainingLanguageModel
from vipe.training.packing import Packer, Turn
from vipe.vision import VideoToWeights

MODELS = ("Llama", "Qwen2", "Qwen3", "Mistral", "Gemma", "Gemma2", "Gemma3",
          "Gemma3 with eyes")  # fmt: skip
factors = pytest.mark.parametrize("factor", get_args(Factor))


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, tiny_tokenizer: PreTrainedTokenizerFast) -> Any:
    """Random models with grouped queries: biases in Qwen2, norms of queries in Qwen3."""
    return tiny_backbones.any_language_model(request.param, tiny_tokenizer)


def build(model: nn.Module, factor: str, *, started: bool = False) -> VideoToWeights:
    return tiny_backbones.video_to_weights(
        model,
        started=started,
        factor=factor,
        targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    )


def logits(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    return model(ids, use_cache=False).logits


@factors
def test_at_the_start_the_update_is_exactly_zero(model: Any, factor: str) -> None:
    weights = build(model, factor)(tiny.tokens(3))
    weights.check_fits(model)
    assert len(weights) == 3
    ids = torch.randint(3, 200, (3, 9))
    with torch.no_grad():
        before = logits(model, ids)
        with weights.attached_to(model):
            assert torch.equal(logits(model, ids), before)
    for target in weights.targets:
        assert not weights.delta(target).any()


@factors
def test_gradients_reach_every_parameter_that_learns_after_one_step(
    model: Any, factor: str
) -> None:
    module, ids = build(model, factor).train(), torch.randint(3, 200, (4, 9))
    model.requires_grad_(False)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    seen = tiny.tokens(4)
    for _ in range(2):
        optimizer.zero_grad()
        with module(seen).attached_to(model):
            logits(model, ids).logsumexp(-1).mean().backward()
        optimizer.step()
    # Biases that a norm or a softmax takes away, and nothing else.
    stay = {
        f"injection.gist.pool.{name}.bias" for name in ("attend", "value", "attend_joint", "out")
    }
    stay.add(f"perception.blocks.{len(module.perception.blocks) - 1}.block.feed_forward.2.bias")
    assert {name for name, part in module.named_parameters() if not part.requires_grad} == stay
    for name, parameter in module.named_parameters():
        if name in stay:
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name
    assert all(parameter.grad is None for parameter in model.parameters())


@factors
def test_a_batch_is_its_videos(model: Any, factor: str) -> None:
    module = build(model, factor, started=True)
    videos = [tiny.tokens(1, count) for count in (4, 7, 2)]
    together = module(VisualTokens.batch(videos))
    ids = torch.randint(3, 200, (3, 9))
    with torch.no_grad(), together.attached_to(model):
        all_logits = logits(model, ids)
    for i, video in enumerate(videos):
        alone = module(video)
        assert len(alone) == 1
        for target in alone.targets:
            assert_close(together[i].delta(target), alone[0].delta(target), rtol=1e-4, atol=1e-5)
        with torch.no_grad(), alone[0].attached_to(model):
            assert_close(logits(model, ids[i : i + 1])[0], all_logits[i], rtol=1e-3, atol=1e-3)


@factors
def test_training_computes_what_answering_does(
    model: Any, factor: str, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    weights = build(model, factor, started=True)(tiny.tokens(2))
    turns = [Turn(question="What is it?", answer="A dog.", kind="animal")]
    rows = Packer(tiny_tokenizer, 100).pack([turns, turns])
    used = int((rows.turn[0] >= 0).sum())
    with torch.no_grad(), weights.attached_to(model):
        plain = logits(model, rows.input_ids[:, :used])
    targets = list(weights.targets)
    language = TrainingLanguageModel(model, targets)
    with torch.no_grad(), language.attached(weights):
        trained, labels = language(rows)
    length = len(labels) // 2
    assert length == len("A dog.") + 1
    wanted = plain[:, -length:].flatten(0, 1)
    # float32 with two kinds of attention; the logits' standard deviation is 1.1. Seen: 1e-5.
    assert_close(trained, wanted, rtol=0, atol=1e-4)
    assert not torch.allclose(trained[:length], trained[length:], atol=1e-2), "videos differ"
    with torch.no_grad():
        bare, _ = language(rows)
    assert not torch.allclose(bare, trained, atol=0.1), "the update matters"
