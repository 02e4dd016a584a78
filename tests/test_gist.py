"""Gists: of the whole video, and of its moments and places by the same pool."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import tiny
from vipe.gist import WHOLE, parts_of
from vipe.injection import Injection, InjectionConfig
from vipe.merging import VisualTokens


@pytest.fixture
def injection() -> Injection:
    return InjectionConfig(width=32, heads=4, depth=2).build(8).eval()


def test_parts_are_the_whole_then_moments_then_places_row_by_row() -> None:
    parts = parts_of(3, 2)
    assert parts[0] == WHOLE
    assert parts[1:4] == ((0.0, None, None), (0.5, None, None), (1.0, None, None))
    assert parts[4:] == tuple(
        (None, pytest.approx(y), pytest.approx(x)) for y in (0.22, 0.78) for x in (0.22, 0.78)
    )
    assert parts_of(0, 0) == (WHOLE,)
    assert parts_of(1, 1) == (WHOLE, (0.5, None, None), (None, 0.5, 0.5))


@pytest.mark.parametrize(("moments", "places"), [(4, 3), (2, 0), (0, 1), (0, 0)])
def test_there_are_as_many_gists_as_the_config_says(moments: int, places: int) -> None:
    config = InjectionConfig(width=32, heads=4, moments=moments, places=places)
    gists = config.build(8).gists(tiny.tokens(2, 5))
    assert gists.shape == (2, config.gists, 32)
    assert config.gists == len(parts_of(moments, places))


def test_the_first_gist_holds_what_was_where_and_when_in_any_order(injection: Injection) -> None:
    video = tiny.tokens(2, 5)
    gist = injection.gists(video)[:, 0]
    order = torch.stack([torch.randperm(5), torch.randperm(5)])
    assert_close(injection.gists(video.take(order))[:, 0], gist)
    # The same patches and the same places, but not together.
    for change in (
        {"features": video.features.flip(1)},
        {"centre": video.centre.flip(1)},
        {"duration": video.duration + 3},
        {"features": video.features + torch.rand_like(video.features)},
    ):
        changed = injection.gists(replace(video, **change))[:, 0]
        assert not torch.allclose(changed, gist, atol=1e-3)


def at(*centres: tuple[float, float, float]) -> VisualTokens:
    """One video of 10 seconds with a token at each centre: share of the time, y, x."""
    tokens = tiny.tokens(1, len(centres))
    centre = torch.tensor([centres]) * torch.tensor([10.0, 1, 1])
    return replace(tokens, centre=centre, duration=torch.full((1,), 10.0))


def test_a_part_is_read_of_what_is_near_it(injection: Injection) -> None:
    # One thing early at the top left, another late at the bottom right.
    both = at((0.05, 0.2, 0.2), (0.95, 0.8, 0.8))
    early, late = (both.take(torch.tensor([[i]])) for i in (0, 1))
    pool = {
        name: injection.gist.pool(injection.project(injection.norm(video.features)), video)
        for name, video in (("both", both), ("early", early), ("late", late))
    }
    parts = parts_of(4, 3)
    first, last = parts.index((0.0, None, None)), parts.index((1.0, None, None))
    assert_close(pool["both"][:, first], pool["early"][:, first], rtol=0, atol=1e-4)
    assert_close(pool["both"][:, last], pool["late"][:, last], rtol=0, atol=1e-4)
    corners = [i for i, (t, y, x) in enumerate(parts) if t is None and y == x and y is not None]
    assert_close(pool["both"][:, corners[0]], pool["early"][:, corners[0]], rtol=0, atol=1e-4)
    assert_close(pool["both"][:, corners[-1]], pool["late"][:, corners[-1]], rtol=0, atol=1e-4)
    # The whole is of both, and so is the middle.
    for part in (0, corners[1]):
        for other in ("early", "late"):
            assert not torch.allclose(pool["both"][:, part], pool[other][:, part], atol=1e-2)


def test_of_a_picture_every_moment_is_the_whole(injection: Injection) -> None:
    video = tiny.tokens(1, 6)
    picture = replace(
        video, centre=video.centre * torch.tensor([0.0, 1, 1]), duration=torch.zeros(1)
    )
    patches = injection.project(injection.norm(picture.features))
    pooled = injection.gist.pool(patches, picture)
    for moment in range(1, 5):
        assert_close(pooled[:, moment], pooled[:, 0])


def test_in_a_gist_a_token_of_size_two_is_two(injection: Injection) -> None:
    where = injection.gist.pool.where
    columns = 2 * len(where.scales)
    with torch.no_grad():  # what says the size as such
        where.project.weight[:, 9 + 4 * columns : 9 + 5 * columns] = 0
        where.project.weight[:, 4] = 0
    video = tiny.tokens(2, 5)
    one = replace(video, size=torch.full_like(video.size, 2))
    twice = replace(
        video,
        features=video.features.repeat_interleave(2, 1),
        centre=video.centre.repeat_interleave(2, 1),
        size=torch.ones(2, 10),
    )
    assert_close(injection.gists(one), injection.gists(twice))


def test_gists_of_a_training_batch_have_unit_variance_over_videos(injection: Injection) -> None:
    gists = injection.train().gists(tiny.tokens(12, 5))
    assert_close(gists.mean(0), torch.zeros(14, 32), rtol=0, atol=1e-5)
    # Less the norm's epsilon beside the little that random videos differ by.
    assert (gists.var(0, unbiased=False) - 1).abs().max() < 0.02


def test_biases_that_stay_as_they_are_change_nothing(injection: Injection) -> None:
    tokens = tiny.tokens(12, 5)
    before = injection.train().gists(tokens)
    stay = [part for part in injection.gist.parameters() if not part.requires_grad]
    assert len(stay) == 4
    for bias in stay:
        bias += torch.randn_like(bias)
    assert_close(injection.gists(tokens), before, rtol=0, atol=1e-3)


def test_it_is_built_on_the_meta_device_too() -> None:
    # As large models are, to count their operations.
    with torch.device("meta"):
        injection = InjectionConfig(width=32, heads=4).build(8)
    assert injection.gist.pool.centres.shape == (14, 3)
