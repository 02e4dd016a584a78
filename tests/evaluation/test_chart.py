"""The picture: a bar and its interval where there is a figure, and any text as it stands."""

from __future__ import annotations

import warnings
from xml.etree import ElementTree

import pytest

from vipe.evaluation.chart import bars, colours, lines
from vipe.evaluation.intervals import Interval


def of(mean: float, low: float, high: float) -> Interval:
    return {"mean": mean, "low": low, "high": high, "n": 9, "clusters": 3}


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def bar_widths(svg: str, colour: str) -> list[float]:
    """The widths of the bars of a colour, in points."""
    widths = []
    for path in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path"):
        if colour in path.get("style", "") and "clip-path" in path.attrib:
            across = [float(x) for x in path.attrib["d"].replace("z", "").split()[1::3]]
            widths.append(max(across) - min(across))
    return widths


def test_bars_are_as_long_as_their_means() -> None:
    svg = bars(
        ["all", "object"], [[of(0.2, 0.1, 0.3), of(0.8, 0.7, 0.9)], [of(0.4, 0.4, 0.4), None]]
    )
    first, second = colours(2)
    short, long = bar_widths(svg, first)
    assert long == pytest.approx(4 * short, rel=1e-3)
    assert bar_widths(svg, second) == pytest.approx([2 * short], rel=1e-3)
    assert {"all", "object", "accuracy"} <= set(texts(svg))


def test_a_model_without_any_figure_and_rounding_do_no_harm() -> None:
    beyond = of(0.5, 0.5 + 1e-16, 0.5 - 1e-16)
    assert bar_widths(bars(["all"], [[None], [beyond]]), colours(1)[0]) == []


def test_any_label_stands_as_it_is() -> None:
    labels = ["<script>", "$x", r"$\frac{$", "_hidden", "犬 & 猫"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = bars([*labels, "\ud800"], [[of(0.5, 0.4, 0.6)] * 6])
    assert "<script" not in svg
    assert {*labels, "?"} <= set(texts(svg))


def test_the_same_figures_are_the_same_picture() -> None:
    assert bars(["all"], [[of(0.5, 0.4, 0.6)]]) == bars(["all"], [[of(0.5, 0.4, 0.6)]])


def test_ten_models_have_colours_of_their_own() -> None:
    assert len(set(colours(10))) == 10
    assert colours(12)[10:] == colours(2)


def points(svg: str, colour: str) -> list[tuple[float, float]]:
    """Where the marks of a colour are, in points, from the left and from the top."""
    marks = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}use")
    places = [
        (float(mark.attrib["x"]), float(mark.attrib["y"]))
        for mark in marks
        if f"fill: {colour}" in mark.get("style", "")
    ]
    return [*dict.fromkeys(places)]


def test_lines_are_as_high_as_their_means_over_the_logarithm_of_frames() -> None:
    line = [(frames, of(mean, mean, mean)) for frames, mean in ((10, 0.9), (100, 0.5), (1000, 0.1))]
    svg = lines([line, line[:1], []])
    first, second, _ = colours(3)
    (x, y), middle, (last, lowest) = points(svg, first)
    assert middle == pytest.approx(((x + last) / 2, (y + lowest) / 2), abs=0.01)
    assert (x, y) < (last, lowest)
    assert points(svg, second) == [(x, y)]
    assert {"10", "100", "1,000", "frames", "accuracy"} <= set(texts(svg))


def test_lines_of_no_figures_do_no_harm() -> None:
    assert lines([[]]).startswith("<svg")
