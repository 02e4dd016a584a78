"""Costs: every method at every length, and what takes too long is not timed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from vipe import ViPE, ViPEConfig
from vipe.encoders import HuggingFaceEncoderConfig
from vipe.evaluation import shapes
from vipe.evaluation.cost import Cost, as_json, measure
from vipe.evaluation.cost_plot import plot
from vipe.evaluation.operations import METHODS, Counter, Method
from vipe.evaluation.prompt import Prompt
from vipe.evaluation.random_weights import random_model
from vipe.evaluation.timing import Stopwatch, Times, _video
from vipe.frames import Frames
from vipe.injection import InjectionConfig
from vipe.merging import MergeConfig
from vipe.perception import PerceptionConfig
from vipe.twin import SoftPrompt


@pytest.fixture(scope="module")
def counter(tiny_config: ViPEConfig) -> Counter:
    return Counter(tiny_config, prompt_tokens=10)


class Pretending(Stopwatch):
    """A second for each frame, to all but ViPE and the bare model."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, tuple[Method, ...]]] = []

    def time(self, methods: Sequence[Method], frames: int) -> dict[Method, Times]:
        self.asked.append((frames, tuple(methods)))
        return {
            method: Times(
                see=1.0,
                first_token=0.1 if method in ("text", "vipe") else float(frames),
                token=0.01,
                end_to_end=2.0,
                peak_bytes=None,
            )
            for method in methods
        }


def test_every_method_at_every_length_in_order(counter: Counter) -> None:
    done: list[tuple[int, int]] = []
    costs = measure(counter, None, [8, 1, 8], progress=lambda *at: done.append(at))
    assert [(c.frames, c.method) for c in costs] == [(n, m) for n in (1, 8) for m in METHODS]
    assert all(cost.times is None for cost in costs)
    assert done == [(0, 2), (1, 2)]
    values = json.loads(json.dumps(as_json(costs)))
    assert values[0]["method"] == "text"
    assert values[0]["first_token_seconds"] is None
    assert values[1]["prompt"] == counter.count("vipe", 1).prompt


def test_what_would_take_too_long_is_counted_but_not_timed(counter: Counter) -> None:
    watch = Pretending()
    costs = measure(counter, watch, [1, 10, 100, 1000], patience=30.0)
    assert watch.asked[0] == (1, METHODS)
    # Merged tokens stop growing; all patches cost ten times as much at every length, or more.
    timed = dict(watch.asked)
    assert "patches" in timed[10]
    assert "patches" not in timed[100] + timed[1000]
    assert all({"text", "vipe"} <= set(methods) for methods in timed.values())
    late = [c for c in costs if c.frames == 1000 and c.method == "patches"]
    assert late[0].times is None
    assert late[0].operations.visual_tokens == 4000


def test_a_stopwatch_times_real_answers(tiny_vipe: ViPE) -> None:
    prompt = Prompt.of(tiny_vipe.tokenizer, "What is it?")
    watch = Stopwatch.of(tiny_vipe, prompt, new_tokens=3, repeats=2)
    times = watch.time(METHODS, 3)
    assert list(times) == list(METHODS)
    for method, taken in times.items():
        assert taken.first_token > 0
        assert taken.token >= 0
        assert (taken.see > 0) or method == "text"
        assert taken.peak_bytes is None or taken.peak_bytes > 1e6
    with pytest.raises(ValueError, match="new_tokens"):
        Stopwatch.of(tiny_vipe, prompt, new_tokens=1)


@pytest.fixture
def drawn(tiny_shapes: None) -> Iterator[ViPE]:
    """A model of random weights, of the shapes that stand for the large ones."""
    config = ViPEConfig(
        language_model=shapes.VICUNA,
        encoder=HuggingFaceEncoderConfig(name=shapes.CLIP),
        merging=MergeConfig(frames_per_clip=4, budget=12),
        injection=InjectionConfig(width=32, heads=2, depth=1),
        perception=PerceptionConfig(width=32, heads=2, depth=1, rank=2),
    )
    with shapes.shapes_of(config) as known:
        yield random_model(known, device="cpu")


def test_random_weights_are_timed_as_real_ones(drawn: ViPE) -> None:
    model = drawn.language_model
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.config._attn_implementation == "sdpa"
    assert model.get_input_embeddings().weight.float().std() == pytest.approx(0.02, rel=0.1)
    frequencies = model.get_buffer("model.rotary_emb.inv_freq")
    assert frequencies.dtype == torch.float32
    torch.testing.assert_close(frequencies, 1e4 ** (-torch.arange(4) / 4))
    assert drawn.encoder.get_buffer("_std").flatten().tolist() == pytest.approx(
        [68.5, 66.6, 70.3], abs=0.1
    )

    counter = Counter(drawn.config, dtype=torch.bfloat16, prompt_tokens=9)
    prompt = Prompt.random(9, vocabulary=64)
    assert len(prompt.ids) == 9
    assert prompt.around[0] + prompt.around[1] == prompt.ids
    watch = Stopwatch.of(drawn, prompt, new_tokens=2, repeats=1)
    known: list[list[Cost]] = []
    costs = measure(counter, watch, [1, 2], methods=("vipe", "patches"), found=known.append)
    assert [cost for some in known for cost in some] == costs
    for cost in as_json(costs):
        assert None not in cost.values()
        assert min(cost["see_seconds"], cost["first_token_seconds"]) > 0
        assert cost["end_to_end_seconds"] > cost["see_seconds"]
    seen = watch._see("vipe", _video(2, 32)), watch._see("patches", _video(2, 32))
    assert [s.nbytes for s in seen if s is not None] == [
        counter.count("vipe", 2).seen_bytes, counter.count("patches", 2).seen_bytes
    ]  # fmt: skip


@pytest.mark.parametrize("sees", [True, False])
def test_what_runs_out_of_memory_is_not_timed(
    counter: Counter, tiny_vipe: ViPE, sees: bool, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def see(video: Frames) -> SoftPrompt:
        asked.append(len(video))
        if sees and len(video) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        width = 32 if sees or len(video) != 2 else 10**6
        return SoftPrompt(values=torch.zeros(3, width))

    class Small(Stopwatch):
        def _around(self, seen: SoftPrompt) -> Tensor:
            if seen.values.shape[1] > 32:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super()._around(seen)

    prompt = Prompt.of(tiny_vipe.tokenizer, "What is it?")
    watch = Small(
        tiny_vipe.language_model,
        prompt,
        {"vipe": tiny_vipe.see, "patches": see},
        image_size=64,
        new_tokens=2,
        repeats=1,
    )
    costs = measure(counter, watch, [1, 2, 3], methods=("vipe", "patches"))
    timed = [(c.frames, c.method) for c in costs if c.times is not None]
    assert timed == [(1, "vipe"), (1, "patches"), (2, "vipe"), (3, "vipe")]
    assert costs[3].operations.visual_tokens == 8
    assert 3 not in asked
    assert "patches is not timed" in caplog.text


@pytest.mark.parametrize("timed", [False, True])
def test_the_curves_are_drawn(counter: Counter, tmp_path: Path, timed: bool) -> None:
    path = tmp_path / "cost.png"
    plot(measure(counter, Pretending() if timed else None, [1, 8]), path)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert (picture.width > 1000) == timed
