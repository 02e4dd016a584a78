"""Segments seen apart become one update: at their times the whole's, as a mean without them."""

from __future__ import annotations

import itertools
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import tiny
import tiny_backbones
from vipe import PerceptualWeights, ViPE, ViPEConfig
from vipe.adapter_state import FILE
from vipe.composing import place
from vipe.errors import AdapterError
from vipe.frames import Frames
from vipe.merging import MergeConfig

AT = [0.0, 2.0, 4.0]


@pytest.fixture(scope="module")
def model(tiny_config: ViPEConfig) -> ViPE:
    """A model with a static part in every layer."""
    made = tiny_backbones.model(tiny_config)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        for shift in made.video_to_weights.perception.shift.values():
            shift.normal_(std=0.2).copy_(shift.bfloat16())  # as loaded
    return made


@pytest.fixture
def video() -> Frames:
    return tiny.frames(12, size=64)


@pytest.fixture
def parts(model: ViPE, video: Frames) -> list[PerceptualWeights]:
    return [model.see(segment(video, place, place + 4)) for place in (0, 4, 8)]


def segment(video: Frames, first: int, last: int) -> Frames:
    start = first * 0.5
    return Frames(
        pixels=video.pixels[first:last],
        seconds=video.seconds[first:last] - start,
        duration=last * 0.5 - start,
    )


def same(one: PerceptualWeights, other: PerceptualWeights) -> bool:
    return all(torch.equal(one.B[t], other.B[t]) for t in one.targets)


def test_clips_seen_apart_are_the_whole_once_they_are_at_their_times(
    model: ViPE, video: Frames, parts: list[PerceptualWeights]
) -> None:
    whole = model.see(video)
    composed = PerceptualWeights.compose(parts, at=AT)
    (tokens,), (seen) = composed.tokens, whole.tokens[0]
    assert_close(tokens.centre, seen.centre, rtol=0, atol=1e-5)
    assert torch.equal(tokens.size, seen.size)
    assert torch.equal(tokens.duration, seen.duration)
    for target in whole.targets:
        # Times are added up in another order; B's standard deviation is about 1. Seen: 1e-5.
        assert_close(composed.B[target], whole.B[target], rtol=0, atol=1e-3)
        assert composed.A[target] is whole.A[target]
    assert composed.rank == whole.rank
    assert tokens.count <= model.config.merging.budget
    mean = PerceptualWeights.compose(parts)
    target = whole.targets[0]
    assert (mean.B[target] - whole.B[target]).abs().max() > 0.05, "which a mean is not"


def test_a_part_counts_by_its_duration(model: ViPE, video: Frames) -> None:
    dense = model.see(segment(video, 0, 4))
    slow = segment(video, 4, 8)
    sparse = model.see(replace(slow, seconds=slow.seconds * 3, duration=slow.duration * 3))
    seen = [*dense.tokens, *sparse.tokens]
    tokens = place(seen, [0.0, 2.0], MergeConfig(budget=100))  # nothing merges across
    early = tokens.size[tokens.centre[..., 0] < 2].sum()
    assert_close(tokens.size.sum(), torch.tensor(2 * 4 * 4.0))
    assert_close(early / tokens.size.sum(), torch.tensor(0.25))
    assert float(tokens.duration) == 8


def test_a_composition_is_a_part_again(model: ViPE, parts: list[PerceptualWeights]) -> None:
    first = PerceptualWeights.compose(parts[:2], at=AT[:2])
    again = PerceptualWeights.compose([first, parts[2]], at=[0.0, 4.0])
    at_once = PerceptualWeights.compose(parts, at=AT)
    for target in again.targets:
        assert_close(again.B[target], at_once.B[target], rtol=0, atol=1e-3)


def test_one_part_is_itself(parts: list[PerceptualWeights]) -> None:
    for composed in (
        PerceptualWeights.compose(parts[:1]),
        PerceptualWeights.compose(parts[:1], at=[0.0]),
        sum(parts[:1]),
    ):
        assert isinstance(composed, PerceptualWeights)
        assert same(composed, parts[0])
    later = PerceptualWeights.compose(parts[:1], at=[3.0])
    assert not same(later, parts[0])
    assert later.metadata["seconds"] == "5.000"


def test_order_matters_through_times_alone(parts: list[PerceptualWeights]) -> None:
    in_time, mean = PerceptualWeights.compose(parts, at=AT), PerceptualWeights.compose(parts)
    for order in itertools.permutations(range(3)):
        turned = [parts[i] for i in order]
        assert same(PerceptualWeights.compose(turned, at=[AT[i] for i in order]), in_time)
        for target in mean.targets:
            other = PerceptualWeights.compose(turned).B[target]
            assert_close(other, mean.B[target], rtol=0, atol=1e-5)
    assert not same(PerceptualWeights.compose(parts, at=AT[::-1]), in_time)


def test_what_is_alike_for_all_videos_is_in_a_sum_once(
    model: ViPE, parts: list[PerceptualWeights]
) -> None:
    static = model.video_to_weights.perception.static_weights().B
    for composed, factors in (
        (sum(parts), (1, 1, 1)),
        (0.5 * parts[0] + parts[1] * 2 + parts[2], (0.5, 2, 1)),
        (PerceptualWeights.compose(parts), (1 / 3, 1 / 3, 1 / 3)),
    ):
        assert isinstance(composed, PerceptualWeights)
        for target in composed.targets:
            own = sum(
                factor * (part.B[target] - static[target])
                for factor, part in zip(factors, parts, strict=True)
            )
            assert_close(composed.B[target], static[target] + own, rtol=0, atol=1e-5)
        assert composed.alpha == parts[0].alpha
    carried = next(t for t in parts[0].targets if t.endswith("q_proj"))
    assert torch.equal(sum(parts).B[carried], static[carried])
    assert same(0 * parts[0], model.video_to_weights.perception.static_weights())


def test_a_mean_goes_by_duration(model: ViPE, video: Frames) -> None:
    short, long = model.see(segment(video, 0, 3)), model.see(segment(video, 3, 12))
    composed = PerceptualWeights.compose([short, long])
    for target in short.targets:
        expected = 0.25 * short.B[target] + 0.75 * long.B[target]
        assert_close(composed.B[target], expected, rtol=0, atol=1e-5)
    assert composed.metadata == {"frames": "12", "seconds": "6.000", "parts": "2"}
    undated = [replace(part, tokens=(), metadata={}) for part in (short, long)]
    halves = PerceptualWeights.compose(undated)
    target = short.targets[0]
    assert_close(halves.B[target], (short.B[target] + long.B[target]) / 2, rtol=0, atol=1e-5)


def test_loaded_parts_compose_by_the_model(
    model: ViPE, parts: list[PerceptualWeights], tmp_path: Path
) -> None:
    for number, part in enumerate(parts):
        part.save(tmp_path / str(number))
    loaded = [PerceptualWeights.load(tmp_path / str(number)) for number in range(3)]
    assert same(sum(loaded), sum(parts))
    assert same(PerceptualWeights.compose(loaded), PerceptualWeights.compose(parts))
    with pytest.raises(AdapterError, match=r"by the model that wrote them: ViPE\.compose"):
        PerceptualWeights.compose(loaded, at=AT)
    assert same(model.compose(loaded, at=AT), PerceptualWeights.compose(parts, at=AT))
    copied = pickle.loads(pickle.dumps(parts[0]))
    assert copied.writer is None
    assert same(model.compose([copied, *loaded[1:]], at=AT), model.compose(parts, at=AT))


def test_folders_without_our_file_still_add_up(
    model: ViPE, parts: list[PerceptualWeights], tmp_path: Path
) -> None:
    for number, part in enumerate(parts[:2]):
        part.save(tmp_path / str(number), state=False)
        assert not (tmp_path / str(number) / FILE).exists()
    old = [PerceptualWeights.load(tmp_path / str(number)) for number in range(2)]
    assert (old[0].static, old[0].tokens) == (None, ())
    assert same(old[0] + parts[1], parts[0] + parts[1]), "A says that they are of one model"
    target = old[0].targets[0]
    assert torch.equal((old[0] + old[1]).B[target], old[0].B[target] + old[1].B[target])
    for found in (model.compose(old), PerceptualWeights.compose(old)):
        expected = PerceptualWeights.compose(parts[:2]).B[target]
        assert_close(found.B[target], expected, rtol=0, atol=1e-5)
    with pytest.raises(AdapterError, match=r"part 1: keeps no visual tokens"):
        model.compose(old, at=AT[:2])


def test_the_file_goes_with_its_weights_alone(
    parts: list[PerceptualWeights], tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    parts[0].save(one)
    parts[1].save(other)
    shutil.copyfile(other / FILE, one / FILE)
    assert PerceptualWeights.load(one).tokens == ()
    parts[2].save(one)  # the weights and the file alone are replaced
    tokens = PerceptualWeights.load(one).tokens[0]
    assert torch.equal(tokens.features, parts[2].tokens[0].features)
    assert torch.equal(tokens.duration, parts[2].tokens[0].duration)
    parts[0].save(one, state=False)
    assert not (one / FILE).exists()
    (other / FILE).write_bytes((other / FILE).read_bytes()[:-9])
    with pytest.raises(AdapterError, match=f"{FILE}: damaged") as caught:
        PerceptualWeights.load(other)
    assert "\n" not in str(caught.value)


def test_a_batch_keeps_what_was_seen_of_each(parts: list[PerceptualWeights]) -> None:
    batch = PerceptualWeights.batch(parts)
    assert same(
        PerceptualWeights.compose(list(batch), at=AT), PerceptualWeights.compose(parts, at=AT)
    )
    assert batch[-1].tokens == parts[2].tokens
    assert [len(batch[[0, 2]]), len(batch[1:].tokens)] == [2, 2]
    assert (batch + parts[0]).tokens == (), "a sum was not made of them"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda part: replace(part, base_model="another"), "different models"),
        (lambda part: replace(part, alpha=3.0), r"alpha is 16\.0 in one update and 3\.0"),
        (
            lambda part: replace(
                part,
                A={t: torch.cat([A, A]) for t, A in part.A.items()},
                B={t: torch.cat([B, B], dim=1) for t, B in part.B.items()},
                static={t: torch.cat([B, B], dim=1) for t, B in part.static.items()},
            ),
            "rank is 2 in one update and 4",
        ),
        (
            lambda part: replace(part, A={t: A.detach() + 1 for t, A in part.A.items()}),
            r"A of model\.layers\.0\.\S+ differs",
        ),
        (
            lambda part: replace(part, static={t: B + 1 for t, B in part.static.items()}),
            r"the static part of B of model\.layers\.0\.\S+ differs",
        ),
    ],
)
def test_parts_of_different_models_are_refused(
    parts: list[PerceptualWeights], change: object, said: str
) -> None:
    other = change(parts[1])  # type: ignore[operator]
    for combine in (
        lambda: PerceptualWeights.compose([parts[0], other]),
        lambda: PerceptualWeights.compose([parts[0], other], at=[0, 2]),
        lambda: sum([parts[0], other]),
    ):
        with pytest.raises(AdapterError, match=said) as caught:
            combine()
        assert "\n" not in str(caught.value)


def test_what_makes_no_sense_is_refused(model: ViPE, parts: list[PerceptualWeights]) -> None:
    for make, said in (
        (lambda: PerceptualWeights.compose([]), "nothing to compose"),
        (lambda: PerceptualWeights.compose(parts, at=[0.0]), "3 parts but 1 times"),
        (lambda: PerceptualWeights.compose(parts, at=[0, 1, -1]), "at 0 seconds or later"),
        (lambda: PerceptualWeights.compose([PerceptualWeights.batch(parts)]), "one by one"),
    ):
        with pytest.raises(ValueError, match=said):
            make()
