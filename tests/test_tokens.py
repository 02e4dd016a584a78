"""The twin's trained part: visual tokens in the language model's embedding space."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import tiny
from vipe import ViPE
from vipe.merging import VisualTokens
from vipe.tokens import Reads, VideoToTokens


def make(vipe: ViPE, reads: Reads) -> VideoToTokens:
    torch.manual_seed(0)
    return VideoToTokens(reads, vipe.config, channels=5, language_model=vipe.language_model)


def test_learned_queries_are_read_whole(tiny_vipe: ViPE) -> None:
    config = replace(
        tiny_vipe.config, injection=replace(tiny_vipe.config.injection, learned_queries=3)
    )
    model = VideoToTokens("queries", config, channels=5, language_model=tiny_vipe.language_model)
    soft = model(VisualTokens.batch([tiny.tokens(1, count, channels=5) for count in (2, 7)]))
    assert soft.values.shape[:2] == (2, 3)
    assert soft.present.all()


@pytest.mark.parametrize("reads", ["patches", "merged"])
def test_what_all_tokens_share_is_not_read(tiny_vipe: ViPE, reads: Reads) -> None:
    model, tokens = make(tiny_vipe, reads).train(), tiny.tokens(4, 9, channels=5)
    shared = replace(tokens, features=tokens.features + 100 * torch.randn(5))
    assert_close(model(shared).values, model(tokens).values, rtol=1e-3, atol=1e-3)
    # And what differs is, however little of the whole it is.
    little = replace(tokens, features=100 + tokens.features / 10)
    assert_close(model(little).values, model(tokens).values, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("reads", ["patches", "merged", "queries"])
def test_padding_does_not_count(tiny_vipe: ViPE, reads: Reads) -> None:
    tokens = tiny.tokens(4, 6, channels=5)
    for training in (True, False):
        bare, padded = (make(tiny_vipe, reads).train(training) for _ in range(2))
        expected, found = bare(tokens), padded(tokens.pad(16))
        assert found.present.sum() == expected.present.sum()
        assert_close(found.values[found.present], expected.values[expected.present])
        statistics, same = bare.projector.norm, padded.projector.norm
        assert_close(same.running_mean, statistics.running_mean)
        assert_close(same.running_var, statistics.running_var)


def test_some_of_the_videos_keep_their_tokens(tiny_vipe: ViPE) -> None:
    tokens = VisualTokens.batch([tiny.tokens(1, count, channels=5) for count in (2, 7, 4)])
    soft = make(tiny_vipe, "merged").eval()(tokens)
    last = soft[1:]
    assert_close(last.values, soft.values[1:])
    assert last.present.sum(dim=1).tolist() == [7, 4]
