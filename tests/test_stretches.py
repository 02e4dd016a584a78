"""Frames in a row, which are recognised together."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from vipe.stretches import FRAMES, Stretches
from vipe.visual_tokens import VisualTokens


def frames(videos: int, count: int, tokens: int = 3, channels: int = 5) -> VisualTokens:
    shape = (videos * count, tokens)
    return VisualTokens(
        features=torch.randn(*shape, channels),
        size=torch.randint(1, 4, shape).float(),
        centre=torch.rand(*shape, 3),
        duration=torch.full((videos * count,), 60.0),
    )


def seconds(videos: int, count: int, every: float = 0.5) -> torch.Tensor:
    return (every * torch.arange(count) + 7).expand(videos, -1)


@pytest.mark.parametrize("count", [4, 5, 6, 7, 8, 64])
def test_near_frames_are_all_in_some_stretch(count: int) -> None:
    found = Stretches.of(frames(2, count), seconds(2, count))
    assert found is not None
    assert found.covered.shape == (2, len(found.tokens) // 2, count)
    assert found.covered.sum(dim=2).eq(FRAMES).all()
    assert found.covered.any(dim=1).all()


def test_fewer_frames_make_none() -> None:
    assert Stretches.of(frames(1, 3), seconds(1, 3)) is None


def test_a_stretch_is_a_video_of_its_frames_which_starts_at_its_first() -> None:
    given, shown = frames(2, 6), seconds(2, 6, every=0.4)
    found = Stretches.of(given, shown)
    assert found is not None
    last = found.tokens.videos(torch.tensor([len(found.tokens) - 1]), found.tokens.count)
    for name in ("features", "size"):
        assert_close(getattr(last, name)[0], getattr(given, name)[-FRAMES:].flatten(0, 1))
    assert_close(last.centre[0, :, 1:], given.centre[-FRAMES:].flatten(0, 1)[:, 1:])
    assert_close(last.centre[0, :, 0].view(FRAMES, -1)[:, 0], torch.tensor([0.2, 0.6, 1.0, 1.4]))
    assert_close(last.duration, torch.tensor([1.6]))


def test_frames_that_are_far_apart_are_told_by_themselves() -> None:
    shown = seconds(1, 8).clone()
    shown[:, 4:] += 100
    found = Stretches.of(frames(1, 8), shown)
    assert found is not None
    assert found.covered.any(dim=2).tolist() == [[True, False, True]]
    shown[:, 6:] += 100
    found = Stretches.of(frames(1, 8), shown)
    assert found is not None
    assert found.covered.any(dim=2).tolist() == [[True, False, False]]
    own = torch.randn(1, 8, 6).log_softmax(dim=-1)
    sparse = Stretches.of(frames(1, 8), seconds(1, 8, every=5.0))
    assert sparse is not None
    together = torch.randn(1, 3, 6).log_softmax(dim=-1)
    assert_close(sparse.share_out(own, together), own.exp())


def test_what_a_stretch_does_not_hold_counts_less() -> None:
    found = Stretches.of(frames(1, 8), seconds(1, 8))
    assert found is not None
    nothing, seen = torch.tensor([0.1, 0.9]), torch.tensor([0.9, 0.1])
    own = nothing.repeat(1, 8, 1).log()
    own[0, 5] = seen.log()
    around = nothing.repeat(1, 3, 1).log()
    shares = found.share_out(own, around)
    assert_close(shares.sum(dim=-1), torch.ones(1, 8))
    assert_close(shares[0, 5], torch.tensor([0.5, 0.5]))
    assert_close(shares[0, 0], nothing)
    around[0, 1] = seen.log()  # of frames 2 to 5
    shares = found.share_out(own, around)
    assert shares[0, :, 0].tolist() == pytest.approx([0.1, 0.1, 0.25, 0.25, 0.25, 0.75, 0.1, 0.1])
