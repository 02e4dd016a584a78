"""Which scenes there are: a seed → the description of a scene, the same for ever.

`VERSION` is part of every scene's key. Whoever changes what a seed gives, here, in the table of
pictures or in how scenes are drawn, raises it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

from numpy.random import Generator, default_rng

from vipe.data.drawing import Appearance, Background
from vipe.data.pictures import STYLES, Picture, confusable, pictures
from vipe.data.scene_looks import sample_appearance, sample_background, sample_shapes
from vipe.data.scenes import Actor, Pose, Scene

VERSION = 1

WEIGHTS = {
    "still": 0.16,  # one picture that stays where it is
    "move": 0.26,  # one picture that moves in one of four directions
    "change": 0.12,  # one picture that grows, shrinks or turns
    "pair": 0.08,  # two pictures, at least one of which moves
    "several": 0.12,  # two to four pictures at places that have names
    "copies": 0.10,  # one to five copies of a picture, perhaps beside another
    "sequence": 0.16,  # two or three pictures, one after another
}
"""How often each kind of scene comes."""

PLACES = {
    "left": (0.22, 0.5),
    "right": (0.78, 0.5),
    "top": (0.5, 0.22),
    "bottom": (0.5, 0.78),
    "center": (0.5, 0.5),
    "top left": (0.24, 0.24),
    "top right": (0.76, 0.24),
    "bottom left": (0.24, 0.76),
    "bottom right": (0.76, 0.76),
}
"""Centres of the places that have names."""

_LAYOUTS = (
    ("left", "right"),
    ("top", "bottom"),
    ("left", "center", "right"),
    ("top", "center", "bottom"),
    ("top left", "top right", "bottom"),
    ("top", "bottom left", "bottom right"),
    ("top left", "top right", "bottom left", "bottom right"),
)

_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def _names(text: str) -> frozenset[str]:
    return frozenset(" ".join(text.split()).split(", "))


# Turning is hardly seen on these.
_ROUND = _names("""
    apple, orange, lemon, peach, kiwi, coconut, blueberries, chestnut, cookie, donut, plate,
    disc, tire, gear, soccer ball, basketball, baseball, volleyball, target, sun, moon, star,
    snowflake, globe, planet, lifebuoy, crystal ball, compass, coin, clock, yarn, rock, cloud,
    balloon, egg, flower, sunflower, lotus, onion, eye, water drop, tornado, spiderweb, ladybug
""")

# Photographs may show these, so they are not drawn over photographs, nor asked for there.
_IN_PHOTOGRAPHS = _names("""
    dog, wolf, cat, horse, cow, sheep, goat, bird, duck, swan, fish, butterfly, car, taxi,
    truck, bus, motorcycle, bicycle, boat, ship, speedboat, canoe, skateboard, scooter,
    airplane, kite, balloon, umbrella, backpack, handbag, cup, bottle, plate, book, camera,
    phone, box, basket, hand, foot, eye, ear, nose, mouth, bucket, ladder, doll, teddy, traffic
    light, brick, parachute, microphone, trash can, guitar
""")
_GROUPS_IN_PHOTOGRAPHS = ("person", "clothing", "building", "nature", "plant", "furniture", "sport")


def sample_scene(
    seed: int, styles: Sequence[str] = STYLES, *, with_photographs: bool = False
) -> Scene:
    """The scene that a seed names.

    Args:
        seed: By convention training uses 0…999,999 and evaluation 1,000,000 and above.
        styles: The drawing styles that may occur.
        with_photographs: Whether some backgrounds are photographs (the scene names one by a
            number that is taken modulo how many there are).
    """
    rng = default_rng([VERSION, seed])
    kind = _kind(rng)
    background = sample_background(rng, with_photographs)
    chosen = _choose(rng, background, kind)
    style = _Styles(rng, styles)
    actors = _ACTORS[kind](rng, chosen, style)
    moves = any(actor.start != actor.end for actor in actors)
    if moves or kind == "sequence":
        frames = int(rng.choice([6, 8], p=[0.3, 0.7]))
    else:
        frames = int(rng.choice([1, 2, 4, 6, 8], p=[0.3, 0.15, 0.2, 0.1, 0.25]))
    return Scene(
        seed=seed,
        kind=kind,
        duration=float(rng.integers(4, 17)) / 2,
        frames=frames,
        background=background,
        actors=tuple(actors),
        shapes=sample_shapes(rng),
    )


def scene_kind(seed: int) -> str:
    """The kind of the scene that a seed names, without the rest of it."""
    return _kind(default_rng([VERSION, seed]))


def _kind(rng: Generator) -> str:
    total = sum(WEIGHTS.values())
    return str(rng.choice(list(WEIGHTS), p=[weight / total for weight in WEIGHTS.values()]))


def drawable_over_photographs(picture: Picture) -> bool:
    """Whether photographs of people and animals outdoors are unlikely to show such a thing."""
    return picture.name not in _IN_PHOTOGRAPHS and picture.group not in _GROUPS_IN_PHOTOGRAPHS


@cache
def _suitable(over_photograph: bool, countable: bool) -> list[Picture]:
    return [
        p
        for p in pictures().values()
        if (not over_photograph or drawable_over_photographs(p)) and (not countable or p.countable)
    ]


def _choose(rng: Generator, background: Background, kind: str) -> list[Picture]:
    """Four pictures that cannot be mistaken for one another and suit the scene."""
    table = _suitable(background.kind == "photograph", kind == "copies")
    chosen: list[Picture] = []
    while len(chosen) < 4:
        picture = table[int(rng.integers(len(table)))]
        if not any(confusable(picture, other) for other in chosen):
            chosen.append(picture)
    return chosen


class _Styles:
    """Draws the looks of a scene's pictures; one style to a scene as a rule."""

    def __init__(self, rng: Generator, styles: Sequence[str]):
        self.rng = rng
        self.styles = sorted(styles)
        self.style = str(rng.choice(self.styles))

    def appearance(self) -> Appearance:
        rng = self.rng
        style = str(rng.choice(self.styles)) if rng.random() < 0.25 else self.style
        return sample_appearance(rng, style)

    def actor(self, picture: Picture, motion: str, start: Pose, end: Pose, **more: object) -> Actor:
        options = {"place": "", **more}
        return Actor(
            name=picture.name,
            appearance=self.appearance(),
            motion=motion,
            start=start,
            end=end,
            **options,  # type: ignore[arg-type]
        )


def _at(rng: Generator, place: str, size: float, jitter: float = 0.035) -> Pose:
    x, y = PLACES[place]
    dx, dy = rng.uniform(-jitter, jitter, 2)
    return _pose(x + dx, y + dy, size)


def _near_center(rng: Generator, size: float) -> Pose:
    x, y = rng.uniform(0.38, 0.62, 2)
    return _pose(x, y, size)


def _pose(x: float, y: float, size: float, angle: float = 0.0) -> Pose:
    return Pose(x=round(x, 4), y=round(y, 4), size=round(size, 4), angle=round(angle, 2))


def _moving(
    rng: Generator, direction: str, size: float, lane: float | None = None
) -> tuple[Pose, Pose]:
    """Start and end of a straight path over at least 0.35 of the frame.

    Args:
        rng: Where the numbers come from.
        direction: One of four.
        size: Of the picture.
        lane: Where the path lies across the direction; drawn when None.
    """
    dx, dy = _DIRECTIONS[direction]
    travel = rng.uniform(0.38, 0.85)
    middle = 0.5 + rng.uniform(-1, 1) * (0.92 - travel) / 2
    across = rng.uniform(0.3, 0.7) if lane is None else lane + rng.uniform(-0.03, 0.03)
    drift = rng.uniform(-0.06, 0.06) if lane is None else 0.0
    ends = []
    for sign in (-1, 1):
        along = middle + sign * (dx + dy) * travel / 2
        aside = across + sign * drift / 2
        ends.append(_pose(along, aside, size) if dx else _pose(aside, along, size))
    return ends[0], ends[1]


def _still(rng: Generator, chosen: list[Picture], style: _Styles) -> list[Actor]:
    if rng.random() < 0.5:
        place = str(rng.choice(list(PLACES)))
        pose = _at(rng, place, rng.uniform(0.25, 0.48))
    else:  # anywhere, large
        place = ""
        pose = _near_center(rng, rng.uniform(0.4, 0.75))
    return [style.actor(chosen[0], "still", pose, pose, place=place)]


def _move(rng: Generator, chosen: list[Picture], style: _Styles) -> list[Actor]:
    direction = str(rng.choice(list(_DIRECTIONS)))
    start, end = _moving(rng, direction, rng.uniform(0.25, 0.5))
    return [style.actor(chosen[0], direction, start, end)]


def _change(rng: Generator, chosen: list[Picture], style: _Styles) -> list[Actor]:
    turnable = [p for p in chosen if p.name not in _ROUND]
    motion = str(rng.choice(["grow", "shrink", "turn"] if turnable else ["grow", "shrink"]))
    x, y = rng.uniform(0.42, 0.58, 2)
    if motion == "turn":
        turn = float(rng.choice([-1, 1]) * rng.uniform(150, 330))
        size = rng.uniform(0.3, 0.6)
        start, end = _pose(x, y, size), _pose(x, y, size, turn)
        return [style.actor(turnable[0], motion, start, end)]
    small = rng.uniform(0.15, 0.3)
    sizes = [small, min(0.85, small * rng.uniform(2.2, 3.2))]
    if motion == "shrink":
        sizes.reverse()
    return [style.actor(chosen[0], motion, _pose(x, y, sizes[0]), _pose(x, y, sizes[1]))]


def _pair(rng: Generator, chosen: list[Picture], style: _Styles) -> list[Actor]:
    across = bool(rng.random() < 0.5)  # lanes lie one above the other, or side by side
    places = ("top", "bottom") if across else ("left", "right")
    motions = [*(("left", "right") if across else ("up", "down")), "still"]
    first = int(rng.integers(2))  # this one moves for certain
    actors = []
    for i, place in enumerate(places):
        motion = str(rng.choice(motions[:2] if i == first else motions))
        size = rng.uniform(0.25, 0.38)
        lane = PLACES[place][1 if across else 0]
        start, end = _moving(rng, motions[0] if motion == "still" else motion, size, lane)
        if motion == "still":
            start = end = _at(rng, place, size)
        actors.append(
            style.actor(chosen[i], motion, start, end, place=place if motion == "still" else "")
        )
    return actors


def _several(rng: Generator, chosen: list[Picture], style: _Styles) -> list[Actor]:
    layout = _LAYOUTS[int(rng.integers(len(_LAYOUTS)))]
    actors = []
    for place, picture in zip(layout, chosen, strict=False):
        pose = _at(rng, place, rng.uniform(0.24, 0.4 if len(layout) < 3 else 0.33))
        actors.append(style.actor(picture, "still", pose, pose, place=place))
    return actors


def _copies(rng: Generator, chosen: list[Picture], style: _Styles) -> list[Actor]:
    count = int(rng.integers(1, 6))
    others = int(rng.integers(1, 3)) if count < 4 and rng.random() < 0.35 else 0
    total = count + others
    size = {1: 0.45, 2: 0.36, 3: 0.3, 4: 0.26, 5: 0.24}[total]
    spots: list[tuple[float, float]] = []
    while len(spots) < total:
        x, y = rng.uniform(size / 2, 1 - size / 2, 2)
        if all(math.hypot(x - a, y - b) > 1.06 * size for a, b in spots):
            spots.append((float(x), float(y)))
        elif rng.random() < 0.02:  # no room left for the next: begin again
            spots.clear()
    look = style.appearance()
    actors = []
    for i, (x, y) in enumerate(spots):
        pose = _pose(x, y, size * rng.uniform(0.8, 1.05))
        actor = style.actor(chosen[0] if i < count else chosen[1], "still", pose, pose)
        if i < count and rng.random() < 0.8:  # copies mostly look the same
            actor = Actor(
                name=actor.name,
                appearance=look,
                motion="still",
                place="",
                start=pose,
                end=pose,
            )
        actors.append(actor)
    return actors


def _sequence(rng: Generator, chosen: list[Picture], style: _Styles) -> list[Actor]:
    count = int(rng.integers(2, 4))
    cuts = [k / count + rng.uniform(-0.07, 0.07) for k in range(1, count)]
    times = [0.0, *(round(float(cut), 3) for cut in cuts), 1.0]
    stays = bool(rng.random() < 0.25)
    layout = [places for places in _LAYOUTS if len(places) == count]
    order = list(rng.permutation(layout[int(rng.integers(len(layout)))]))
    moves = rng.random() < 0.3
    actors = []
    for i in range(count):
        motion, place = "still", ""
        if stays:
            place = str(order[i])
            start = end = _at(rng, place, rng.uniform(0.25, 0.36))
        elif moves:
            motion = str(rng.choice(list(_DIRECTIONS)))
            start, end = _moving(rng, motion, rng.uniform(0.3, 0.5))
        else:
            start = end = _near_center(rng, rng.uniform(0.35, 0.65))
        leaves = 1.0 if stays else times[i + 1]
        actors.append(
            style.actor(chosen[i], motion, start, end, place=place, appears=times[i], leaves=leaves)
        )
    return actors


_ACTORS = {
    "still": _still,
    "move": _move,
    "change": _change,
    "pair": _pair,
    "several": _several,
    "copies": _copies,
    "sequence": _sequence,
}
