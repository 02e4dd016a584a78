"""One token of each row is drawn: as often as it is likely, and the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from vipe.training.drawing import Drawn

IDS = torch.zeros(1, 1, dtype=torch.long)


def drawn(scores: torch.Tensor, temperature: float = 1.0, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    left = Drawn(temperature)(IDS.expand(len(scores), 1), scores)
    assert left.shape == scores.shape
    assert (left.isfinite().sum(dim=1) == 1).all()  # one token of each row is left
    return left.argmax(dim=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_are_drawn_as_often_as_they_are_likely(temperature: float) -> None:
    scores = torch.tensor([1.0, -torch.inf, 0.0, 2.0, -1.0])
    tokens = drawn(scores.expand(40_000, -1), temperature)
    shares = tokens.bincount(minlength=5) / len(tokens)
    assert shares[1] == 0
    torch.testing.assert_close(
        shares, (scores / temperature).softmax(dim=0), atol=0.01, rtol=0
    )  # five standard deviations


def test_rows_are_drawn_by_themselves() -> None:
    scores = torch.full((3, 50), -torch.inf)
    scores[torch.arange(3), torch.tensor([0, 17, 49])] = 3.0
    assert drawn(scores).tolist() == [0, 17, 49]


def test_a_seed_draws_the_same() -> None:
    scores = torch.randn(20, 100, generator=torch.Generator().manual_seed(1))
    assert drawn(scores, seed=3).equal(drawn(scores, seed=3))
    assert not drawn(scores, seed=3).equal(drawn(scores, seed=4))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_is_above_zero(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        Drawn(temperature)
