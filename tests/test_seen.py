"""What counts as seen, of what was recognised."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from vipe.recognition import Recognised
from vipe.seen import FEW, MANY, Seen

CONCEPTS = 40


def recognised(*shares: list[float]) -> Recognised:
    """Videos whose concepts have these shares, the n-th at its number's second."""
    share = torch.zeros(len(shares), CONCEPTS)
    for row, own in enumerate(shares):
        share[row, : len(own)] = torch.tensor(own)
    at = torch.arange(CONCEPTS).float().expand(len(shares), -1)
    return Recognised(share=share, first=at, last=at + 1, times=at, every=torch.ones(len(shares)))


def test_concepts_keep_their_seconds() -> None:
    seen = Seen.of(recognised([0.2, 0.9, 0.01, 0.6]), torch.tensor([9.0]))
    assert seen.which.tolist() == [[1, 3, 0]]
    assert seen.first.tolist() == [[1, 3, 0]]
    assert seen.last.tolist() == [[2, 4, 1]]
    assert seen.there.tolist() == [[1, 1, 1]]
    assert seen.odds[0, 0] > 0 > seen.odds[0, 2]


def test_what_another_video_of_the_batch_shows_is_not_there() -> None:
    seen = Seen.of(recognised([0.9], [0.0, 0.9, 0.8]), torch.tensor([9.0, 9.0]))
    assert seen.there.tolist() == [[1, 0], [1, 1]]
    assert_close(seen.sure * (1 - seen.there), torch.zeros(2, 2))


def test_the_concept_of_nothing_is_never_seen() -> None:
    found = recognised([0.5])
    found.share[0, -1] = 0.9
    assert Seen.of(found, torch.ones(1)).which.tolist() == [[0]]


def test_few_and_many() -> None:
    counts = (0, 1, int(FEW), int(MANY), 30)
    seen = [Seen.of(recognised([0.98] * count), torch.ones(1)) for count in counts]
    crowded = [one.crowded.item() for one in seen]
    assert crowded[:3] == [0, 0, 0]
    assert crowded[3] > 0.95
    assert crowded[4] == 1
    assert all(torch.isfinite(one.doublings).all() for one in seen)
