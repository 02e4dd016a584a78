"""Renders the page's samples with the project's own scene generator: videos, a picture, posters.

python scripts/page_samples.py        writes src/vipe/serving/server/page/samples/
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from vipe.data.drawing import Appearance, Background
from vipe.data.scene_files import write_video
from vipe.data.scenes import Actor, Pose, Scene, draw

FOLDER = Path(__file__).parents[1] / "src/vipe/serving/server/page/samples"
BLUE, GREEN, SAND = (70, 130, 225), (60, 160, 80), (232, 205, 150)


def actor(
    name: str,
    motion: str,
    start: tuple[float, float, float],
    end: tuple[float, float, float] | None = None,
    *,
    place: str = "",
    appears: float = 0.0,
    leaves: float = 1.0,
) -> Actor:
    """One picture on its way from one (x, y, size) to another."""
    (x, y, size), (to_x, to_y, to_size) = start, end or start
    return Actor(
        name=name,
        appearance=Appearance(),
        motion=motion,
        place=place,
        start=Pose(x=x, y=y, size=size),
        end=Pose(x=to_x, y=to_y, size=to_size),
        appears=appears,
        leaves=leaves,
    )


def scene(kind: str, colour: str, rgb: tuple[int, int, int], *actors: Actor) -> Scene:
    """Some actors before one plain colour, for four seconds."""
    background = Background(kind="plain", name=colour, colors=(rgb, rgb))
    return Scene(
        seed=0, kind=kind, duration=4.0, frames=8, background=background, actors=tuple(actors)
    )


SCENES = [
    (
        "dog.mp4",
        "A dog",
        "What is in the video?",
        scene("move", "blue", BLUE, actor("dog", "left", (0.78, 0.52, 0.42), (0.22, 0.5, 0.42))),
    ),
    (
        "then.mp4",
        "One thing, then another",
        "What comes first?",
        scene(
            "sequence", "green", GREEN,
            actor("bicycle", "still", (0.5, 0.5, 0.5), place="center", leaves=0.5),
            actor("cat", "still", (0.5, 0.5, 0.5), place="center", appears=0.5),
        ),
    ),
    (
        "pair.png",
        "A picture",
        "What is on the left?",
        scene(
            "pair", "beige", SAND,
            actor("car", "still", (0.27, 0.5, 0.4), place="left"),
            actor("banana", "still", (0.73, 0.5, 0.36), place="right"),
        ),
    ),
]  # fmt: skip


def main() -> None:
    """Render all of them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    told = []
    for file, name, question, drawn in SCENES:
        path = FOLDER / file
        if path.suffix == ".mp4":
            write_video(drawn, path, size=224)
        else:
            Image.fromarray(_pixels(drawn, 0.0, 224)).save(path, optimize=True)
        poster = f"{path.stem}.webp"
        Image.fromarray(_pixels(drawn, 0.5, 192)).save(FOLDER / poster, quality=70, method=6)
        told.append({"file": file, "name": name, "poster": poster, "question": question})
    text = json.dumps(told, indent=2) + "\n"
    (FOLDER / "samples.json").write_text(text, encoding="utf-8")
    print(FOLDER)


def _pixels(drawn: Scene, second: float, size: int) -> np.ndarray:
    return np.asarray(draw(drawn, second, size, None))


if __name__ == "__main__":
    main()
