"""Positions: where and when a token is."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.testing import assert_close

import tiny
from vipe.merging import VisualTokens
from vipe.positions import PositionEncoding, shares


def test_shares_are_of_the_length_and_the_frame() -> None:
    tokens = replace(tiny.tokens(1, 3), duration=torch.full((1,), 8.0))
    tokens = replace(tokens, centre=torch.tensor([[[2.0, 0.1, 0.9], [8.0, 0, 1], [9.0, 0.5, 0.5]]]))
    assert_close(shares(tokens), torch.tensor([[[0.25, 0.1, 0.9], [1, 0, 1], [1, 0.5, 0.5]]]))
    picture = replace(tokens, duration=torch.zeros(1))
    assert_close(shares(picture)[..., 0], torch.full((1, 3), 0.5))


def test_positions_vary_as_much_as_features_at_the_start() -> None:
    encoding = PositionEncoding(5, 384)
    positions = encoding(tiny.tokens(4, 50))
    assert positions.shape == (4, 50, 384)
    # Features leave a norm with variance 1, and positions have to be told apart beside them.
    assert 1.5 < positions.var(dim=-1).mean() < 2  # seen over ten seeds: 1.71 … 1.80


def test_a_picture_has_a_position_too() -> None:
    # Its duration is 0.
    tokens = tiny.tokens(1, 4)
    still = VisualTokens(
        features=tokens.features,
        size=tokens.size,
        centre=tokens.centre * torch.tensor([0.0, 1.0, 1.0]),
        duration=torch.zeros(1),
    )
    positions = PositionEncoding(5, 32)(still)
    assert positions.isfinite().all()
    assert (positions[0, 0] - positions[0, 1]).abs().max() > 0.1


def test_a_picture_is_where_the_one_frame_of_a_short_video_is() -> None:
    # Training has stills as videos of a length, their frame in the middle; a file has no length.
    tokens = tiny.tokens(1, 4)
    space = tokens.centre * torch.tensor([0.0, 1.0, 1.0])
    picture = replace(tokens, centre=space, duration=torch.zeros(1))
    short = replace(
        tokens, centre=space + torch.tensor([5e-3, 0, 0]), duration=torch.full((1,), 1e-2)
    )
    encoding = PositionEncoding(5, 32)
    # Seen: 0.04, of the time in seconds; at the start of a video it would be 0.95.
    assert (encoding(picture) - encoding(short)).abs().max() < 0.2
