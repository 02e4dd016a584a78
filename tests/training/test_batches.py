"""Batches: a function of the seed and the step, in any process; every clip once an epoch."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast

import tiny
from vipe.data.clip import Clip
from vipe.merging import MergeConfig, VisualTokens
from vipe.training.batches import Batch, Batches, Phase, _order, _turns
from vipe.training.features import FeatureStore
from vipe.training.packing import Packer


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    store = FeatureStore(tmp_path_factory.mktemp("features"))
    store.add(tiny.ColourClips(), tiny.ColourEncoder())
    return store


def make(
    store: FeatureStore,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int = 0,
    sources: list[tuple[tiny.ColourClips, int]] | None = None,
    ratios: tuple[float, ...] = (0.0, 0.5, 0.8),
    before: Sequence[Phase] = (),
    kinds: Sequence[tuple[str, ...] | None] | None = None,
) -> Batches:
    sources = sources or [(tiny.ColourClips(), 2), (tiny.ColourClips(["red", "blue", "white"]), 1)]
    phase = Phase(clips=tuple(count for _, count in sources), merge_ratios=ratios)
    return Batches(
        [source for source, _ in sources],  # type: ignore[misc]
        store,
        Packer(tokenizer, 200),
        merging=MergeConfig(frames_per_clip=3, budget=9),
        phases=[*before, phase],
        kinds=kinds,
        seed=seed,
    )


def same(one: Batch, other: Batch) -> bool:
    tensors = [
        (getattr(getattr(one, part), name), getattr(getattr(other, part), name))
        for part, names in (
            ("tokens", ("features", "size", "centre", "duration")),
            ("rows", ("input_ids", "position_ids", "labels", "turn")),
        )
        for name in names
    ]
    return one.rows.turns == other.rows.turns and all(
        a.shape == b.shape and torch.equal(a, b) for a, b in tensors
    )


def test_a_step_has_the_same_batch_each_time(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    one, other = make(store, tiny_tokenizer), make(store, tiny_tokenizer)
    for step in (0, 1, 5, 40):
        assert same(one[step], other[step])
        assert same(one[step], one[step])
    assert not same(one[0], one[1])
    assert not same(one[0], make(store, tiny_tokenizer, seed=1)[0])


def test_a_stream_gives_the_steps_in_order(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    batches = make(store, tiny_tokenizer)
    for steps in (range(3, 7), range(1, 8, 3)):
        streamed = list(batches.stream(steps))
        assert len(streamed) == len(steps)
        assert all(map(same, streamed, map(batches.__getitem__, steps)))
    assert list(batches.stream(range(0))) == []
    with pytest.raises(KeyError):
        list(make(FeatureStore(store.folder / "empty"), tiny_tokenizer).stream(range(1)))


_DRAWS = """
import random, sys
sys.path.insert(0, sys.argv[1])
import tiny
from vipe.training.batches import _order, _turns
clip = tiny.ColourClips().clip(3)
print([(_order(f"0/{i}", 20).tolist(), _turns(clip, random.Random(f"0/{i}"))) for i in range(3)])
"""


def test_another_process_draws_the_same() -> None:
    # Python's own hashes differ from process to process; nothing may depend on them.
    drawn = subprocess.run(
        [sys.executable, "-c", _DRAWS, str(Path(tiny.__file__).parent)],
        env=os.environ | {"PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    clip = tiny.ColourClips().clip(3)
    names = [f"0/{i}" for i in range(3)]
    here = [(_order(name, 20).tolist(), _turns(clip, random.Random(name))) for name in names]
    assert drawn.strip() == repr(here)


class Noting(tiny.ColourClips):
    """Notes which clips it is asked for."""

    def __init__(self, count: int) -> None:
        super().__init__(list(tiny.COLOURS)[:count])
        self.asked: list[tuple[int, int]] = []

    def clip(self, index: int, epoch: int = 0) -> Clip:
        self.asked.append((epoch, index))
        return super().clip(index, epoch)


def test_every_clip_of_a_source_comes_once_an_epoch(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    large, small = Noting(5), Noting(2)
    batches = make(store, tiny_tokenizer, sources=[(large, 3), (small, 1)])
    for step in range(10):
        batches[step]
    assert sorted(large.asked) == [(epoch, i) for epoch in range(6) for i in range(5)]
    assert sorted(small.asked) == [(epoch, i) for epoch in range(5) for i in range(2)]
    assert [epoch for epoch, _ in large.asked] == sorted(epoch for epoch, _ in large.asked)
    orders = {tuple(i for e, i in large.asked if e == epoch) for epoch in range(6)}
    assert len(orders) > 1, "in another order each epoch"


def test_clips_of_mixed_lengths_keep_their_places(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    source = tiny.ColourClips()
    batches = make(store, tiny_tokenizer)
    clips = [source.clip(i) for i in (2, 0, 5, 1, 3, 4, 0)]  # 8, 1, 8, 2, 1, 2, 1 frames
    batch = batches.collate(clips, random.Random(0), 0.5)
    assert len(batch.tokens) == len(batch.rows.turns) == 7
    for row, clip in enumerate(clips):
        alone = batches.collate([clip], random.Random(0), 0.5).tokens
        count = alone.count
        assert (batch.tokens.size[row, count:] == 0).all()
        assert torch.equal(batch.tokens.size[row, :count], alone.size[0])
        assert_close(batch.tokens.features[row, :count], alone.features[0])
        assert torch.equal(batch.tokens.centre[row, :count], alone.centre[0])
        frames = sum(len(shot.index) for shot in clip.shots)
        assert alone.size.sum() == 4 * frames
        assert alone.duration.item() == pytest.approx(0.5 * frames)
        assert {turn.kind for turn in batch.rows.turns[row]} <= {q.kind for q in clip.questions}


def test_videos_of_two_batches_are_seen_in_one_pass(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    one, other = (make(store, tiny_tokenizer)[step] for step in (0, 1))
    both = one.tokens_with(other)
    assert one.tokens_with(None) is one.tokens
    assert len(both) == len(one.tokens) + len(other.tokens)
    for row, tokens in ((0, one.tokens), (len(one.tokens), other.tokens)):
        assert torch.equal(both.features[row, : tokens.count], tokens.features[0])
        assert (both.size[row, tokens.count :] == 0).all()
    assert (one.place, other.place) == (0, 1)


def test_a_ratio_is_drawn_for_each_step(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    source = tiny.ColourClips(["red"], stills=[2])
    for ratios, wanted in (((0.0,), {8}), ((0.5,), {4}), ((0.0, 0.5), {4, 8})):
        batches = make(store, tiny_tokenizer, sources=[(source, 1)], ratios=ratios)
        assert {batches[step].tokens.count for step in range(12)} == wanted


def test_each_phase_has_its_ratios_and_clips(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    source = tiny.ColourClips(["red"], stills=[2])
    first = Phase(clips=(3,), merge_ratios=(0.5,), steps=2)
    never = Phase(clips=(9,), merge_ratios=(0.9,), steps=0)
    batches = make(
        store, tiny_tokenizer, sources=[(source, 1)], ratios=(0.0,), before=[first, never]
    )
    shapes = [(len(batches[i].tokens), batches[i].tokens.count) for i in range(4)]
    assert shapes == [(3, 4), (3, 4), (1, 8), (1, 8)]


def test_a_phase_goes_on_with_the_clips_that_the_one_before_left(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    source = Noting(6)
    first = Phase(clips=(2,), merge_ratios=(0.5,), steps=2)
    batches = make(store, tiny_tokenizer, sources=[(source, 1)], before=[first])
    for step in range(4):
        batches[step]
    assert sorted(source.asked) == [(0, i) for i in range(6)]


def test_a_step_beyond_the_last_phase_is_an_error(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    batches = make(store, tiny_tokenizer)
    batches.phases = (Phase(clips=(1, 1), merge_ratios=(0.5,), steps=3),)
    with pytest.raises(IndexError, match="step 3: the phases have 3 steps"):
        batches[3]


def test_the_words_of_a_step_are_those_of_its_batch(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    batches = make(store, tiny_tokenizer)
    for step in (0, 7):
        batch = batches[step]
        assert batches.bags_and_sightings(step) == (batch.bags, batch.seen)
        assert len(batch.bags) == len(batch.tokens)
        assert [one.video for one in batch.asked] == [
            video for video, turns in enumerate(batch.rows.turns) for _ in turns
        ]


def test_rows_hold_the_kinds_of_their_source_and_bags_all_words(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    some = make(store, tiny_tokenizer, kinds=[("presence",), None])
    every = make(store, tiny_tokenizer)
    for step in range(10):
        one, other = some[step], every[step]
        assert one.bags == other.bags == some.bags_and_sightings(step)[0]
        for row, turns in enumerate(one.rows.turns):
            kinds = {turn.kind for turn in turns}
            assert kinds == {"presence"} if row < 2 else turns == other.rows.turns[row]
        assert {asked.video for asked in one.asked} == {0, 1, 2}


def test_a_caption_comes_first_and_one_of_each_kind_before_the_second_of_any() -> None:
    clip = tiny.ColourClips().clip(0)
    firsts = set()
    for seed in range(20):
        turns = _turns(clip, random.Random(seed))
        assert sorted(turn.question for turn in turns) == sorted(q.text for q in clip.questions)
        kinds = [turn.kind for turn in turns]
        assert kinds[0] == "caption"
        assert set(kinds[:4]) == {"caption", "colour", "presence", "pass"}
        assert kinds[4] == "presence"
        firsts.add(turns[1])
        answers = {q.text: q.answers for q in clip.questions}
        assert all(turn.answer in answers[turn.question] for turn in turns)
    assert len(firsts) > 3


def test_an_order_is_a_permutation() -> None:
    assert sorted(_order("0/1/2", 9).tolist()) == list(range(9))
    assert _order("0/1/2", 9).tolist() != _order("0/1/3", 9).tolist()


def test_tokens_are_what_seeing_the_clip_gives(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast
) -> None:
    """Training merges cached features as `see` merges those of a file."""
    from vipe.frames import Frames
    from vipe.merging import merge_video

    source, encoder = tiny.ColourClips(), tiny.ColourEncoder()
    batches = make(store, tiny_tokenizer)
    clip = source.clip(5)
    pixels = torch.cat([source.render(s.key).pixels[list(s.index)] for s in clip.shots])
    seconds = torch.tensor([second for shot in clip.shots for second in shot.seconds])
    features = encoder.encode(Frames(pixels=pixels, seconds=seconds, duration=4.0))
    config = MergeConfig(merge_ratio=0.0, frames_per_clip=3, budget=99)
    wanted = merge_video(
        features.features[None].half().float(),
        features.position[None],
        torch.tensor([features.duration]),
        config,
    )
    batches.merging = config
    seen: VisualTokens = batches.collate([clip], random.Random(0), 0.0).tokens
    for name in ("features", "size", "centre", "duration"):
        assert torch.equal(getattr(seen, name), getattr(wanted, name)), name


def test_features_survive_a_second_store(
    store: FeatureStore, tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    other = FeatureStore(tmp_path)
    other.add(tiny.ColourClips(), tiny.ColourEncoder(), entries_per_shard=2)
    assert same(make(store, tiny_tokenizer)[3], make(other, tiny_tokenizer)[3])
