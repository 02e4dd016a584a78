"""Evaluation, how sure a figure is: bootstrap intervals over videos, and two models compared.

Questions about one video are not independent: a video that is misread is misread in all of them.
So whole videos are drawn, with all of their rows (the cluster bootstrap: Davison and Hinkley,
"Bootstrap Methods and their Application", 1997, sect. 3.8; for evaluations of language models
Miller, "Adding Error Bars to Evals", 2024, sect. 2.2). Intervals are percentiles.

Dimensions: n rows, c clusters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypedDict

import numpy as np

RESAMPLES = 10_000


class Interval(TypedDict):
    """A mean with its 95% interval.

    `clusters` is how many videos it is from; with one there is no interval, and `low` and `high`
    are the mean.
    """

    mean: float
    low: float
    high: float
    n: int
    clusters: int


class Comparison(TypedDict):
    """The second model's mean less the first's, on the same rows.

    `p` is two-sided: how often a difference at least this far from 0 is drawn where there is none.
    """

    difference: float
    low: float
    high: float
    p: float
    n: int
    clusters: int


def interval(values: Sequence[float], clusters: Sequence[Hashable], *, seed: int = 0) -> Interval:
    """Return the mean of rows with its 95% interval.

    Args:
        values: Of each row: 1 for a right answer and 0 for a wrong one, or any score.
        clusters: Each row's video.
        seed: Of the resampling.

    Raises:
        ValueError: There are no rows, or not as many clusters as values.
    """
    return _with_interval(values, *_resampled(values, clusters, seed))


def compare(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    seed: int = 0,
) -> Comparison:
    """Compare two models' scores of the same rows, row by row.

    What is hard for both cancels out, so a difference shows that is far smaller than either
    model's interval.

    Args:
        first: One model's score of each row.
        second: The other's.
        clusters: Each row's video.
        seed: Of the resampling.

    Raises:
        ValueError: There are no rows, or the lengths differ.
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    means, count = _resampled(differences, clusters, seed)
    found = _with_interval(differences, means, count)
    # Drawn around 0 in place of the mean. One more than counted: the data itself is one draw.
    as_far = np.abs(means - found["mean"]) >= abs(found["mean"]) - 1e-12
    return {
        "difference": found["mean"],
        "low": found["low"],
        "high": found["high"],
        "p": float((as_far.sum() + 1) / (len(means) + 1)),
        "n": found["n"],
        "clusters": found["clusters"],
    }


def _with_interval(values: Sequence[float], means: np.ndarray, clusters: int) -> Interval:
    """The mean, and the percentiles of the resamples' means."""
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "mean": float(np.mean(values)),
        "low": float(low),
        "high": float(high),
        "n": len(values),
        "clusters": clusters,
    }


def _resampled(
    values: Sequence[float], clusters: Sequence[Hashable], seed: int
) -> tuple[np.ndarray, int]:
    """The mean of each resample, and the number of clusters."""
    if not values or len(values) != len(clusters):
        raise ValueError(f"{len(values)} values but {len(clusters)} clusters")
    numbers: dict[Hashable, int] = {}
    at = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    sums = np.bincount(at, weights=np.asarray(values, float))
    sizes = np.bincount(at)
    rng = np.random.default_rng(seed)
    # How often each cluster is drawn says all of a resample.
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES)
    return drawn @ sums / (drawn @ sizes), len(sums)
