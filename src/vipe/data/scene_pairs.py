"""Two scenes as two videos: what is in the first one, and what in the second.

Each is seen by itself and what is written of them is composed (`vipe.training.segments`), so that a
model learns what to make of the adapters of two videos. Frames and features are the scenes' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from numpy.random import Generator, default_rng

from vipe.data.clip import Clip, Question, Shot, Sighting
from vipe.data.pictures import Picture, confusable, pictures
from vipe.data.scene_sampling import VERSION, drawable_over_photographs
from vipe.data.scene_source import SceneSource, sightings
from vipe.data.scene_wordings import COLOR_WORDS, DIRECTIONS, bare, fill, listed
from vipe.data.scenes import Scene
from vipe.errors import DataError
from vipe.frames import Frames

KIND = "two videos"
"""The kind of all that is asked."""

_NAMES = ("first", "second")
_FRAMES = 4
"""Of each video, so that two are as long as another clip."""


class ScenePairs:
    """Two scenes of any kind, as two videos; a `ClipSource`."""

    def __init__(self, source: SceneSource, count: int) -> None:
        """Make a source.

        Args:
            source: Where the scenes come from, at least ten.
            count: The number of clips of one pass.

        Raises:
            DataError: There are too few scenes.
        """
        if len(source) < 10:
            raise DataError(f"{len(source)} scenes are too few to pair")
        self.source, self.count = source, count

    def __len__(self) -> int:
        return self.count

    def clip(self, index: int, epoch: int = 0) -> Clip:
        """The `index`-th pair; every pass pairs others."""
        rng = default_rng([VERSION, index, 5, epoch])
        first = self._scene(rng)
        while True:
            second = self._scene(rng)
            if not any(confusable(a, b) for a in _things(first) for b in _things(second)):
                break
        step = float(rng.uniform(0.4, 1.0))
        shots: list[Shot] = []
        cut = 0
        for scene in (first, second):
            shot = self.source.shot(scene)
            count = min(_FRAMES, len(shot.index))
            there = len(shot.index)
            shown = tuple(shot.index[(2 * i + 1) * there // (2 * count)] for i in range(count))
            begin = sum(len(other.index) for other in shots)
            times = tuple(round((begin + i + 0.5) * step, 6) for i in range(count))
            shots.append(Shot(key=shot.key, index=shown, seconds=times))
            cut = cut or count
        return Clip(
            shots=tuple(shots),
            questions=ask_pair(rng, first, second),
            sightings=_joined(first, second, cut / sum(len(shot.index) for shot in shots)),
            cuts=(cut,),
        )

    def keys(self) -> list[str]:
        """The keys of the scenes."""
        return self.source.keys()

    def render(self, key: str) -> Frames:
        """The frames of a scene, as the scenes' source renders them."""
        return self.source.render(key)

    def _scene(self, rng: Generator) -> Scene:
        return self.source.scene(self.source.seeds[int(rng.integers(len(self.source)))])


def ask_pair(rng: Generator, first: Scene, second: Scene) -> tuple[Question, ...]:
    """Questions about two videos that show different things."""
    scenes = (first, second)
    questions: list[Question] = []
    for which, scene, other in zip(_NAMES, scenes, scenes[::-1], strict=True):
        video, things = f"the {which} video", _things(scene)
        answer = listed([_several(scene, picture) for picture in things])
        words = tuple(word for picture in things for word in picture.words)
        questions.append(_question(f"What is in {video}?", answer, words))
        there = things[int(rng.integers(len(things)))]
        elsewhere = _things(other)[int(rng.integers(len(_things(other))))]
        if _sure(scene, elsewhere):
            for picture, yes in ((there, True), (elsewhere, False)):
                questions.append(_yes_or_no(picture, video, yes))
        if _sure(other, there):
            text = fill("Which video shows {thing}?", thing=there.phrase, many=there.many)
            questions.append(_question(text, video, (which,)))
        if color := scene.background.name:
            text = f"What color is the background of {video}?"
            questions.append(_question(text, color, COLOR_WORDS.get(color, (color,))))
        if scene.kind == "move":
            way = scene.actors[0].motion
            text = fill(
                f"Which way {{does}} {{the thing}} move in {video}?",
                the=f"the {there.name}", many=there.many,
            )  # fmt: skip
            questions.append(_question(text, way, DIRECTIONS[way]))
    absent = [
        picture
        for picture in pictures().values()
        if not any(confusable(picture, shown) for scene in scenes for shown in _things(scene))
        and all(_sure(scene, picture) for scene in scenes)
    ]
    neither = absent[int(rng.integers(len(absent)))]
    shown = _things(scenes[int(rng.integers(2))])[0]
    for picture, yes in ((shown, True), (neither, False)):
        questions.append(_yes_or_no(picture, "either of the videos", yes))
    return tuple(questions)


def _yes_or_no(picture: Picture, where: str, yes: bool) -> Question:
    are = "are" if picture.many else "is"
    thing = picture.phrase if yes else f"no {bare(picture.phrase)}"
    full = f"{'Yes' if yes else 'No'}, there {are} {thing} in {where}."
    short = "yes" if yes else "no"
    text = fill(f"{{Is}} there {{thing}} in {where}?", thing=picture.phrase, many=picture.many)
    return replace(_question(text, short, (short,)), answers=(short, full))


def _question(text: str, answer: str, accept: Sequence[str]) -> Question:
    return Question(text=text, answers=(answer,), kind=KIND, accept=tuple(accept))


def _sure(scene: Scene, picture: Picture) -> bool:
    """Whether a thing that is not drawn is not there: a photograph behind might show it."""
    return scene.background.kind != "photograph" or drawable_over_photographs(picture)


def _things(scene: Scene) -> list[Picture]:
    return [pictures()[name] for name in dict.fromkeys(actor.name for actor in scene.actors)]


def _several(scene: Scene, picture: Picture) -> str:
    many = sum(actor.name == picture.name for actor in scene.actors) > 1
    return picture.plural if many else picture.phrase


def _joined(first: Scene, second: Scene, cut: float) -> tuple[Sighting, ...]:
    """What the two show, on one time line."""
    return (
        *(replace(one, start=one.start * cut, end=one.end * cut) for one in sightings(first)),
        *(
            replace(one, start=cut + one.start * (1 - cut), end=cut + one.end * (1 - cut))
            for one in sightings(second)
        ),
    )
