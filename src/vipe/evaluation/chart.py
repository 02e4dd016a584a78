"""Evaluation, a report's picture: means with their intervals, models side by side → SVG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any

from matplotlib import rc_context
from matplotlib.colors import TABLEAU_COLORS, to_hex
from matplotlib.figure import Figure

from vipe.evaluation.intervals import Interval

_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be found, and any alphabet is drawn
    "svg.hashsalt": "vipe",  # the same figures, the same picture
    "text.parse_math": False,  # a "$" is a "$"
}
_UNSAID = dict.fromkeys(["Date", "Creator", "Format", "Type"])


def colours(count: int) -> list[str]:
    """Return a colour, as "#rrggbb", for each model; after ten they come again."""
    return list(islice(cycle(map(to_hex, TABLEAU_COLORS.values())), count))


def bars(labels: Sequence[str], models: Sequence[Sequence[Interval | None]]) -> str:
    """Draw horizontal bars from 0 to 1 with their intervals.

    Args:
        labels: What the groups of bars are, from the top down.
        models: Of each model, as many as there are labels: None where it has no such figure.

    Returns:
        An `<svg>` element to stand in a page.
    """

    def draw(axis: Any) -> None:
        height = 0.8 / len(models)
        for number, (found, colour) in enumerate(zip(models, colours(len(models)), strict=True)):
            offset = (number - (len(models) - 1) / 2) * height
            known = [(place + offset, one) for place, one in enumerate(found) if one is not None]
            axis.barh(
                [place for place, _ in known],
                [one["mean"] for _, one in known],
                height,
                xerr=_beside([one for _, one in known]),
                color=colour,
                error_kw={"elinewidth": 1, "capsize": 2},
            )
        printable = [label.encode(errors="replace").decode() for label in labels]
        axis.set_yticks(range(len(labels)), printable)
        axis.set(xlim=(0, 1), ylim=(len(labels) - 0.4, -0.6), xlabel="accuracy")
        axis.grid(axis="x", alpha=0.3)

    return _svg(0.8 + 0.2 * len(labels) * (len(models) + 1), draw)


def lines(models: Sequence[Sequence[tuple[int, Interval]]]) -> str:
    """Draw accuracy against the number of frames, which is on a log axis, with its intervals.

    Args:
        models: Of each model, the numbers of frames and the accuracy at each; none if there are
            none.

    Returns:
        An `<svg>` element to stand in a page.
    """

    def draw(axis: Any) -> None:
        for found, colour in zip(models, colours(len(models)), strict=True):
            axis.errorbar(
                [frames for frames, _ in found],
                [one["mean"] for _, one in found],
                yerr=_beside([one for _, one in found]),
                color=colour,
                marker="o",
                elinewidth=1,
                capsize=2,
            )
        ticks = sorted({frames for found in models for frames, _ in found})
        axis.set(xscale="log", xlabel="frames", ylabel="accuracy", ylim=(0, 1.02))
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)

    return _svg(3.2, draw)


def _svg(height: float, draw: Callable[[Any], None]) -> str:
    """Draw on an axis of so many inches; the `<svg>` element."""
    with rc_context(_SETTINGS), warnings.catch_warnings():
        # The reader's fonts draw the text, not matplotlib's.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(8, height), layout="constrained")
        axis = figure.subplots()
        draw(axis)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=_UNSAID)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _beside(found: Sequence[Interval]) -> list[list[float]]:
    """How far the intervals reach below and above; a percentile may lie beyond the mean."""
    return [
        [max(0.0, one["mean"] - one["low"]) for one in found],
        [max(0.0, one["high"] - one["mean"]) for one in found],
    ]
