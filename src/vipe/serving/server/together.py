"""Several videos in one question: how what was seen of each becomes one update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vipe.composing import length_of
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from vipe.model import ViPE

MOST_VIDEOS = 2


def together(model: ViPE, videos: Sequence[PerceptualWeights]) -> PerceptualWeights:
    """Return one update that holds all of some videos.

    They are put one after another on one time line; where one keeps no visual tokens, or has no
    length, as a picture, they are averaged.

    Args:
        model: Who saw them.
        videos: In their order.

    Raises:
        AdapterError: Another model saw one of them.
    """
    if len(videos) == 1:
        return videos[0]
    lengths = [length_of(video) for video in videos]
    if not all(lengths) or not all(video.tokens for video in videos):
        return model.compose(videos)
    begins = [sum(length or 0.0 for length in lengths[:i]) for i in range(len(videos))]
    return model.compose(videos, at=begins)
