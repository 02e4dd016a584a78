"""Operations: counted without weights as with them, and as the formula says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoConfig, LlamaForCausalLM

import tiny
from vipe import ViPE, ViPEConfig
from vipe.evaluation.operations import (
    METHODS,
    Counter,
    Method,
    flop_counter,
    prompt_operations,
    update_operations,
)
from vipe.evaluation.shapes import vicuna_7b
from vipe.twin import TokenTwin


@pytest.fixture(scope="module")
def counter(tiny_config: ViPEConfig) -> Counter:
    return Counter(tiny_config, prompt_tokens=10)


def test_the_formula_is_what_torch_counts(
    counter: Counter, tiny_language_model: LlamaForCausalLM
) -> None:
    config = tiny_language_model.config
    assert counter.count("text", 1).prompt == prompt_operations(config, 10)
    for method in ("patches", "merged", "queries"):
        counted = counter.count(method, 5)
        assert counted.prompt == prompt_operations(config, 10 + counted.visual_tokens)


def test_an_update_s_formula_is_what_torch_counts(counter: Counter, tiny_vipe: ViPE) -> None:
    added = update_operations(tiny_vipe.see(tiny.frames(2)), 10)
    assert counter.count("vipe", 5).prompt == counter.count("text", 5).prompt + added > added > 0


@pytest.mark.parametrize("method", METHODS)
def test_the_meta_device_counts_what_is_really_computed(
    counter: Counter, method: Method, tiny_vipe: ViPE
) -> None:
    counted = counter.count(method, 5)
    frames = tiny.frames(5, size=64)
    model = tiny_vipe.language_model
    usual = model.config._attn_implementation
    model.config._attn_implementation = "eager"
    try:
        if method == "text":
            seen, see = None, 0
        else:
            twin = tiny_vipe if method == "vipe" else TokenTwin.of(tiny_vipe, method)
            # The counter does not know a CPU's fused attention.
            with sdpa_kernel(SDPBackend.MATH), flop_counter() as see_counter:
                seen = twin.see(frames)
            see = see_counter.get_total_flops()
        # Distances between patches are products on a CPU where there are many: not here.
        assert see == (counted.encode if seen is not None else 0) + counted.see
        with torch.no_grad(), flop_counter() as prompt_counter:
            given = torch.zeros(1, 10 + counted.visual_tokens, 32)
            if method == "vipe":
                with seen.attached_to(model):
                    model(inputs_embeds=given, logits_to_keep=1)
            else:
                model(inputs_embeds=given, logits_to_keep=1)
        assert prompt_counter.get_total_flops() == counted.prompt
        if seen is not None:
            assert seen.nbytes == counted.seen_bytes
    finally:
        model.config._attn_implementation = usual


def test_an_answer_of_vipe_costs_the_same_at_any_length(counter: Counter) -> None:
    short, long = counter.count("vipe", 2), counter.count("vipe", 200)
    for name in ("visual_tokens", "prompt", "token", "seen_bytes", "cache_bytes"):
        assert getattr(short, name) == getattr(long, name)
    assert short.visual_tokens == 0
    bare = counter.count("text", 200)
    assert (bare.encode, bare.see, bare.seen_bytes) == (0, 0, 0)
    assert long.cache_bytes == bare.cache_bytes
    assert long.encode == 100 * short.encode
    # Three layers, keys and values of two heads of eight, ten tokens, four bytes.
    assert bare.cache_bytes == 3 * 2 * 2 * 8 * 10 * 4


def test_twins_pay_for_every_token_they_read(counter: Counter) -> None:
    counted = {method: counter.count(method, 20) for method in METHODS}
    assert counted["patches"].visual_tokens == 80
    assert counted["merged"].visual_tokens == counted["queries"].visual_tokens == 12
    prompts = [counted[method].prompt for method in ("text", "vipe", "merged", "patches")]
    assert prompts == sorted(prompts)
    assert counted["patches"].cache_bytes == 9 * counted["text"].cache_bytes


def test_half_the_bytes_in_half_the_precision(tiny_config: ViPEConfig, counter: Counter) -> None:
    half = Counter(tiny_config, dtype=torch.bfloat16, prompt_tokens=10)
    for method in ("vipe", "merged"):
        one, other = counter.count(method, 3), half.count(method, 3)
        assert (2 * other.seen_bytes, 2 * other.cache_bytes) == (one.seen_bytes, one.cache_bytes)
        assert other.prompt == one.prompt


def test_a_7b_model_is_counted_without_its_weights() -> None:
    with vicuna_7b() as config:
        assert AutoConfig.from_pretrained(config.language_model).num_hidden_layers == 32
        counter = Counter(replace(config), dtype=torch.bfloat16, prompt_tokens=40)
        parameters = sum(p.numel() for p in counter.language_model.parameters())
        assert parameters == 6_738_415_616  # as published
        assert all(p.is_meta for p in counter.language_model.parameters())
        patches = counter.count("patches", 8)
        vipe = counter.count("vipe", 8)
    assert patches.visual_tokens == 8 * 576
    assert vipe.prompt < 0.02 * patches.prompt
    assert not Path(config.language_model).exists()
