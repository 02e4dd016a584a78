"""Evaluation, cost: the curves as a picture, cost against frames on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vipe.evaluation.cost import Cost
from vipe.evaluation.operations import METHODS

LABELS = {
    "text": "bare language model",
    "vipe": "ViPE",
    "patches": "all patches as tokens",
    "merged": "merged tokens",
    "queries": "perceptual queries as tokens",
}


def plot(costs: Sequence[Cost], path: Path) -> None:
    """Draw operations, and where there are any, times to the first token.

    Args:
        costs: What was measured.
        path: The picture; its ending says the format.

    Raises:
        ValueError: The format is unknown.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    timed = any(cost.times is not None for cost in costs)
    figure, axes = plt.subplots(1, 1 + timed, figsize=(6.5 * (1 + timed), 5), squeeze=False)
    for method in METHODS:
        own = [cost for cost in costs if cost.method == method]
        style = {"marker": ".", "label": LABELS[method]}
        style |= {"linestyle": "--", "color": "black"} if method == "text" else {}
        if own:
            axes[0, 0].plot(
                [c.frames for c in own], [c.operations.prompt / 1e9 for c in own], **style
            )
        if seen := [(c.frames, c.times.first_token) for c in own if c.times is not None]:
            axes[0, 1].plot(*zip(*seen, strict=True), **style)
    labels = ["language model's operations to the first token, 10⁹", "seconds to the first token"]
    for axis, label in zip(axes[0], labels, strict=False):
        axis.set(xscale="log", yscale="log", xlabel="frames", ylabel=label)
        axis.set_xticks(sorted({c.frames for c in costs}))
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.minorticks_off()
        axis.legend()
    figure.tight_layout()
    try:
        figure.savefig(path, dpi=110)
    finally:
        plt.close(figure)
