"""Clips seen in segments: cut where drawn, composed as the library does, and learned from."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast

import tiny
from vipe import PerceptualWeights, ViPE
from vipe.data.clip import Clip
from vipe.merging import MergeConfig
from vipe.training import loop
from vipe.training.batches import Batches, Phase
from vipe.training.features import FeatureStore
from vipe.training.packing import Packer
from vipe.training.recipe import Recipe
from vipe.training.run import Run
from vipe.training.segments import Segments, composed, cut

CONFIG = MergeConfig(frames_per_clip=4, budget=12)
SECONDS = [0.5 * i + 0.25 for i in range(8)]
CLIP = Clip(shots=(), questions=())


def drawn(seed: int, clip: Clip = CLIP, **settings: Any) -> Any:
    torch.manual_seed(seed)
    segments = Segments(**settings) if settings else None
    features = torch.randn(8, 4, 6)
    return cut(clip, features, SECONDS, rng=random.Random(seed), segments=segments), features


def test_parts_are_the_clip_cut() -> None:
    counts = set()
    for seed in range(60):
        parts, features = drawn(seed, share=1.0, most=5)
        counts.add(len(parts.parts))
        assert torch.equal(torch.cat([part.features for part in parts.parts]), features)
        own = [part.start + second for part in parts.parts for second in part.seconds]
        assert own == pytest.approx(SECONDS)
        assert parts.parts[0].start == 0
        assert sum(part.duration for part in parts.parts) == pytest.approx(4.0)
        assert all(0 < second < part.duration for part in parts.parts for second in part.seconds)
        assert not parts.summed
    assert counts == {2, 3, 4, 5}


def test_shares() -> None:
    cuts = [len(drawn(seed, share=0.3, summed=0.5)[0].parts) > 1 for seed in range(300)]
    assert 60 < sum(cuts) < 120
    summed = [drawn(seed, share=1.0, summed=0.5)[0].summed for seed in range(300)]
    assert 110 < sum(summed) < 190
    state = random.Random(0)
    for settings in ({}, {"share": 0.0, "summed": 1.0}):
        parts, features = drawn(0, **settings)
        assert (len(parts.parts), parts.summed) == (1, False)
        assert parts.parts[0].seconds == tuple(SECONDS)
    cut(CLIP, features, SECONDS, rng=state, segments=Segments())
    assert state.random() == random.Random(0).random(), "other recipes draw what they drew"


def test_videos_are_always_cut_apart() -> None:
    pair = replace(CLIP, cuts=(3,))
    (parts, _) = drawn(0, pair)
    assert [len(part.seconds) for part in parts.parts] == [3, 5]
    assert [part.start for part in parts.parts] == [0.0, 1.5]


def test_a_whole_clip_is_as_it_was_and_segments_are_put_at_their_times(tiny_vipe: ViPE) -> None:
    clips = [drawn(seed)[0] for seed in range(2)]
    whole = composed(clips, CONFIG)
    assert (whole.mix, whole.frames) == (None, None)
    halves = [drawn(seed, replace(CLIP, cuts=(4,)))[0] for seed in range(2)]
    cut_apart = composed(halves, CONFIG)
    assert cut_apart.mix is None
    alone, tokens = whole.tokens, cut_apart.tokens
    # Clips of four frames merge by themselves either way.
    assert torch.equal(tokens.size, alone.size)
    assert_close(tokens.centre, alone.centre)
    assert_close(tokens.features, alone.features)
    patches = composed(halves, None)
    assert patches.tokens.count == 32, "a model that reads patches reads them all"


def test_summed_segments_are_the_mean_that_the_library_takes(run: Run, tiny_vipe: ViPE) -> None:
    module = copy.deepcopy(tiny_vipe.video_to_weights).eval()
    channels = tiny_vipe.encoder.channels
    features = torch.randn(8, 4, channels)
    some = Segments(share=1.0, summed=1.0)
    parts = cut(CLIP, features, SECONDS, rng=random.Random(1), segments=some)
    whole = cut(CLIP, features.flip(0), SECONDS, rng=random.Random(1), segments=None)
    seen = composed([whole, parts], CONFIG)
    tokens, mix = seen.tokens, seen.mix
    assert parts.summed
    assert mix is not None
    assert mix.shape == (2, 1 + len(parts.parts))
    assert_close(mix.sum(dim=1), torch.ones(2))
    method = run.method
    batch = replace(run.train[0], tokens=tokens, mix=mix)
    method.module = module
    with torch.no_grad():
        queries = module.injection(tokens)
        weights = method._decide(module.perception.read(queries), queries.gists, batch)
        singles = [
            module.write(composed([type(parts)(parts=(part,))], CONFIG).tokens)
            for part in parts.parts
        ]
        alone = module.write(composed([whole], CONFIG).tokens)
    expected = PerceptualWeights.compose(singles)
    for target in expected.targets:
        assert_close(weights.B[target][1], expected.B[target], rtol=1e-3, atol=1e-4)
        assert_close(weights.B[target][0], alone.B[target], rtol=1e-3, atol=1e-4)


def test_frames_are_those_of_each_video_at_their_times() -> None:
    torch.manual_seed(0)
    halves = cut(
        replace(CLIP, cuts=(4,)),
        torch.randn(8, 4, 6),
        SECONDS,
        rng=random.Random(0),
        segments=None,
    )
    summed = replace(halves, summed=True)
    seen = composed([halves, summed], CONFIG, frames=True)
    frames = seen.frames
    assert frames is not None
    assert frames.video.tolist() == [0] * 8 + [1] * 4 + [2] * 4
    assert_close(frames.seconds, torch.tensor([*SECONDS, *SECONDS[:4], *SECONDS[:4]]))
    assert_close(frames.every, torch.full((3,), 0.5))
    assert_close(frames.tokens.size.sum(dim=1), torch.full((16,), 4.0))
    shares = torch.eye(16)
    recognised = frames.recognised(shares)
    assert_close(recognised.first[0, :8], torch.tensor(SECONDS))
    assert_close(recognised.share.sum(dim=1), torch.tensor([8.0, 4.0, 4.0]))


def test_what_passes_is_recognised_and_what_is_merged_stands_for_it() -> None:
    torch.manual_seed(0)
    first, last, between = torch.randn(2, 4, 6), torch.randn(2, 4, 6), torch.randn(1, 4, 6)
    parts = cut(
        CLIP,
        torch.cat([first, last]),
        [0.25, 0.75, 9.25, 9.75],
        rng=random.Random(0),
        segments=Segments(share=1.0),
        passing=(between, [5.25]),
    )
    assert len(parts.parts) == 1, "it is not cut as well"
    seen = composed([parts], CONFIG, frames=True)
    assert seen.tokens.duration.item() == 10.0
    assert_close(seen.tokens.size.sum(), torch.tensor(20 * 4.0))  # twenty frames of four patches
    assert seen.frames is not None
    found = seen.frames.recognised(torch.eye(5)[[0, 1, 2, 3, 4]])
    assert found.first[0].tolist() == [0.25, 0.75, 9.25, 9.75, 5.25]
    assert composed([parts], CONFIG).frames is None


@pytest.fixture
def batches(tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast) -> Batches:
    store = FeatureStore(tmp_path)
    store.add(tiny.ColourClips(), tiny.ColourEncoder())
    phase = Phase(clips=(4,), merge_ratios=(0.5,), segments=Segments(share=1.0, most=3, summed=0.5))
    before = replace(phase, steps=2, segments=None)
    return Batches(
        [tiny.ColourClips()],
        store,
        Packer(tiny_tokenizer, 200),
        merging=MergeConfig(frames_per_clip=3, budget=9),
        phases=[before, phase],
        seed=0,
    )


def test_batches_hold_segments_in_their_phase_alone(batches: Batches) -> None:
    assert [batches[step].mix for step in (0, 1)] == [None, None]
    mixes = [batches[step].mix for step in range(2, 8)]
    assert any(mix is not None for mix in mixes)
    for step, mix in enumerate(mixes, start=2):
        batch = batches[step]
        assert len(batch.rows.turns) == len(batch.bags) == 4
        assert len(batch.tokens) == (4 if mix is None else mix.shape[1])
        assert (mix is None) == (batches[step].mix is None), "the same every time"


def test_gradients_flow_through_what_is_composed(run: Run) -> None:
    run.train.phases = (
        *run.train.phases[:-1],
        replace(run.train.phases[-1], segments=Segments(share=1.0, most=2, summed=1.0)),
    )
    step = next(s for s in range(20) if run.train[s].mix is not None)
    module = run.module
    with torch.no_grad():
        for parameter in module.perception.heads_B.parameters():
            parameter.normal_(std=0.1)
    values = loop.train_step(run, run.train[step], step)
    assert values["loss"] > 0
    assert values["gradient_norm"] > 0
    loss, _ = run.model(run.train[step], step, None)
    loss.backward()
    for name in ("perception.slots", "injection.position.project.weight"):
        gradient = module.get_parameter(name).grad
        assert gradient is not None
        assert gradient.abs().sum() > 0


def test_a_model_that_reads_tokens_sums_nothing() -> None:
    values: dict[str, Any] = {
        "name": "twin",
        "method": "tokens",
        "sources": [{"clips": 1, "source": {"kind": "scenes"}}],
        "optimizer": {"steps": 1},
    }
    Recipe.model_validate(values | {"segments": {"share": 0.5}})
    with pytest.raises(ValidationError, match="writes no weights"):
        Recipe.model_validate(values | {"segments": {"share": 0.5, "summed": 0.5}})
    with pytest.raises(ValidationError):
        Recipe.model_validate(values | {"segments": {"shares": 0.5}})
