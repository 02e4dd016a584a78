"""How things in a scene look: drawn at random, within what can be recognised and named."""

from __future__ import annotations

import colorsys
import math

from numpy.random import Generator

from vipe.data.drawing import RGB, Appearance, Background, Shape
from vipe.data.pictures import LINES

# Ranges of hue (degrees), saturation and value in which a colour keeps its name.
COLORS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((354, 364), (0.8, 1.0), (0.72, 0.95)),
    "orange": ((24, 33), (0.85, 1.0), (0.93, 1.0)),
    "yellow": ((50, 58), (0.7, 1.0), (0.92, 1.0)),
    "green": ((95, 145), (0.55, 1.0), (0.4, 0.8)),
    "blue": ((208, 236), (0.65, 1.0), (0.55, 0.98)),
    "purple": ((268, 286), (0.5, 0.9), (0.4, 0.75)),
    "pink": ((325, 346), (0.3, 0.55), (0.96, 1.0)),
    "brown": ((20, 28), (0.6, 0.8), (0.32, 0.45)),
    "black": ((0, 360), (0.0, 0.3), (0.0, 0.08)),
    "white": ((0, 360), (0.0, 0.03), (0.95, 1.0)),
    "gray": ((0, 360), (0.0, 0.05), (0.42, 0.65)),
}


def named_color(rng: Generator, name: str) -> RGB:
    """A shade of a named colour."""
    hue, saturation, value = (rng.uniform(*limits) for limits in COLORS[name])
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def sample_background(rng: Generator, with_photographs: bool) -> Background:
    """A background: plain more often than not, for its colour is asked of."""
    draw = rng.random()
    seed = int(rng.integers(2**31))
    grain = float(rng.choice([0, 0, 0, 3, 6, 10]))
    name, other = (str(color) for color in rng.choice(list(COLORS), 2, replace=False))
    if draw < 0.62:
        color = named_color(rng, name)
        return Background(kind="plain", name=name, colors=(color, color), grain=grain, seed=seed)
    angle, period = float(rng.uniform(0, 360)), float(rng.uniform(0.08, 0.4))
    if with_photographs and draw > 0.82:
        return Background(
            kind="photograph",
            name="",
            colors=((0, 0, 0), (0, 0, 0)),
            seed=seed,
            blur=float(rng.choice([0, 0, 1.5, 4])),
        )
    if draw < 0.72:  # light from one side: two shades of one colour, which keeps its name
        colors = (named_color(rng, name), named_color(rng, name))
        return Background(
            kind="gradient", name=name, colors=colors, angle=angle, grain=grain, seed=seed
        )
    kind = str(rng.choice(["gradient", "gradient", "stripes", "checks", "blobs"]))
    colors = (named_color(rng, name), named_color(rng, other))
    return Background(
        kind=kind, name="", colors=colors, angle=angle, period=period, grain=grain, seed=seed
    )


def sample_appearance(rng: Generator, style: str) -> Appearance:
    """How a picture of a style is drawn."""
    lines = str(rng.choice(LINES, p=[0.34, 0.14, 0.18, 0.26, 0.08]))
    looks = ["plain", "gray", "poster", "edges"]
    outline = rng.random()
    return Appearance(
        style=style,
        lines=lines if style == "openmoji" else "normal",
        look=str(rng.choice(looks, p=[0.8, 0.08, 0.08, 0.04])),
        tint=round(float(rng.normal(0, 7)), 2),
        saturation=round(float(rng.uniform(0.55, 1.4)), 3),
        brightness=round(float(rng.uniform(0.78, 1.15)), 3),
        contrast=round(float(rng.uniform(0.75, 1.25)), 3),
        blur=round(float(rng.uniform(0.3, 2.2)), 2) if rng.random() < 0.25 else 0.0,
        rotation=round(float(rng.normal(0, 9)), 2),
        flip=bool(rng.random() < 0.5),
        outline=int(rng.integers(2, 7)) if outline < 0.22 else 0,
        outline_color=(255, 255, 255) if outline < 0.12 else (25, 25, 30),
    )


def sample_shapes(rng: Generator) -> tuple[Shape, ...]:
    """A few plain shapes, behind the pictures or small before them."""
    if rng.random() < 0.65:
        return ()
    shapes = []
    for _ in range(int(rng.integers(1, 5))):
        in_front = bool(rng.random() < 0.2)
        shapes.append(
            Shape(
                corners=int(rng.choice([0, 2, 3, 4, 5])),
                x=round(float(rng.random()), 4),
                y=round(float(rng.random()), 4),
                size=round(float(rng.uniform(0.03, 0.08 if in_front else 0.16)), 4),
                angle=round(float(rng.uniform(0, 2 * math.pi)), 4),
                color=named_color(rng, str(rng.choice(list(COLORS)))),
                in_front=in_front,
            )
        )
    return tuple(shapes)
