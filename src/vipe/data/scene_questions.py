"""What is asked about a generated scene, with answers that are right by construction.

The kinds: presence, name, background, direction, order, count, place, motion, description. A
question is only asked where the frames that are sampled decide it. Presence asks for as many
things that are there as for things that are not, in every scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from numpy.random import Generator, default_rng

from vipe.data.clip import Question
from vipe.data.pictures import Picture, confusable, pictures
from vipe.data.scene_sampling import VERSION, drawable_over_photographs
from vipe.data.scene_wordings import (
    AFTER,
    BACKGROUND,
    BEFORE,
    COLOR_WORDS,
    COUNT,
    DESCRIBE,
    DIRECTION,
    DIRECTIONS,
    FIRST,
    GROUPS,
    LAST,
    MOTION,
    MOTIONS,
    NAME,
    NAME_OVER_PHOTOGRAPH,
    NUMBERS,
    PLACE,
    PLACE_WORDS,
    PRESENCE,
    article_of,
    at_place,
    bare,
    fill,
    listed,
    pronoun,
    to_way,
    with_article,
)
from vipe.data.scenes import Actor, Scene

KINDS = (
    "presence",
    "name",
    "background",
    "direction",
    "order",
    "count",
    "place",
    "motion",
    "description",
)
"""The kinds of questions about generated scenes."""


def ask(scene: Scene, epoch: int = 0) -> tuple[Question, ...]:
    """Questions about a scene, with their answers.

    Args:
        scene: What is asked about.
        epoch: Other passes word the questions otherwise and ask for other absent things.

    Returns:
        From five to fifteen questions, of every kind that the scene decides. The last one asks
        for a description.
    """
    rng = default_rng([VERSION, scene.seed, 1, epoch])
    questions = [*_presence(rng, scene), *_name(rng, scene), *_count(rng, scene)]
    color = scene.background.name
    if color:
        text = _text(rng, BACKGROUND[: 4 if len(scene.actors) == 1 else 3], scene.actors[0])
        words = COLOR_WORDS.get(color, (color,))
        questions.append(Question(text=text, answers=(color,), kind="background", accept=words))
    for actor in scene.actors:
        questions += [*_motion(rng, scene, actor), *_place(rng, scene, actor)]
    questions += [*_order(rng, scene), _description(rng, scene)]
    return tuple(questions)


def _presence(rng: Generator, scene: Scene) -> list[Question]:
    shown = _shown(scene)
    names = list(dict.fromkeys(actor.name for actor in scene.actors))
    asked = [pictures()[str(name)] for name in rng.permutation(names)[:2]]
    over_photograph = scene.background.kind == "photograph"
    absent = [
        p
        for p in pictures().values()
        if not any(confusable(p, other) for other in shown)
        and (not over_photograph or drawable_over_photographs(p))
    ]
    questions = []
    for there in asked:
        near = [p for p in absent if p.group == there.group]
        # Half of what is not there is of the same group, which is harder.
        pool = near if near and rng.random() < 0.5 else absent
        other = pool[int(rng.integers(len(pool)))]
        absent.remove(other)
        for picture, yes in ((there, True), (other, False)):
            text = PRESENCE[int(rng.integers(len(PRESENCE)))]
            questions.append(yes_or_no(text, picture.phrase, picture.many, yes))
    if not over_photograph and rng.random() < 0.35:
        groups = {picture.group for picture in shown}
        group = str(rng.choice(["animal", "vehicle"]))
        # Robots, teddies and the like are nearly animals, ships on a wave nearly water: keep to
        # what is clear, and to as many yes as no.
        if group in groups:
            missing = {"animal": "vehicle", "vehicle": "animal"}[group]
            if missing not in groups and not nearly(missing, shown):
                for name, yes in ((group, True), (missing, False)):
                    text = PRESENCE[int(rng.integers(len(PRESENCE)))]
                    questions.append(yes_or_no(text, with_article(name), False, yes))
    return questions


def yes_or_no(text: str, thing: str, many: bool, yes: bool, *, kind: str = "presence") -> Question:
    """A question for a thing's presence; the text is of `scene_wordings.PRESENCE`."""
    are = "are" if many else "is"
    full = f"Yes, there {are} {thing}." if yes else f"No, there {are} no {bare(thing)}."
    short = "yes" if yes else "no"
    return Question(
        text=fill(text, thing=thing, many=many),
        answers=(short, full),
        kind=kind,
        accept=(short,),
        about=thing,
    )


def _name(rng: Generator, scene: Scene) -> list[Question]:
    shown = _shown(scene)
    over_photograph = scene.background.kind == "photograph"
    texts = NAME_OVER_PHOTOGRAPH if over_photograph else NAME
    questions = []
    if len(shown) == 1:
        (picture,) = shown
        several = len(scene.actors) > 1
        answer = picture.plural if several else picture.phrase
        picks = rng.permutation(len(texts))[: int(rng.integers(1, 3))]
        asked = [texts[int(i)] for i in picks]
        if picture.group in GROUPS and not over_photograph and rng.random() < 0.6:
            asked.append(fill(GROUPS[picture.group], many=False))
        for text in asked:
            questions.append(
                Question(text=text, answers=(answer,), kind="name", accept=picture.words)
            )
        return questions
    text = texts[int(rng.integers(len(texts)))]
    if scene.kind != "copies":
        accept = tuple(word for picture in shown for word in picture.words)
        answer = listed([picture.phrase for picture in shown])
        if "object" not in text and "drawing is" not in text and "thing is" not in text:
            questions.append(Question(text=text, answers=(answer,), kind="name", accept=accept))
    for group in GROUPS:  # the only animal among other things
        of_group = [picture for picture in shown if picture.group == group]
        if len(of_group) == 1 and not over_photograph and not nearly(group, shown):
            (picture,) = of_group
            many = sum(actor.name == picture.name for actor in scene.actors) > 1
            answer = picture.plural if many else picture.phrase
            questions.append(
                Question(
                    text=fill(GROUPS[group], many=False),
                    answers=(answer,),
                    kind="name",
                    accept=picture.words,
                )
            )
    if scene.kind in ("several", "pair"):
        for actor in scene.actors:
            if actor.place:
                picture = pictures()[actor.name]
                text = f"What is {at_place(actor.place)}?"
                questions.append(
                    Question(
                        text=text, answers=(picture.phrase,), kind="name", accept=picture.words
                    )
                )
    return questions


def _count(rng: Generator, scene: Scene) -> list[Question]:
    if scene.kind != "copies" and (scene.kind == "sequence" or rng.random() > 0.15):
        return []
    questions = []
    for name in dict.fromkeys(actor.name for actor in scene.actors):
        picture = pictures()[name]
        if not picture.countable:
            continue
        count = sum(actor.name == name for actor in scene.actors)
        text = COUNT[int(rng.integers(len(COUNT)))].format(things=picture.plural)
        accept = (str(count), NUMBERS[count])
        questions.append(Question(text=text, answers=accept, kind="count", accept=accept))
    return questions


def _motion(rng: Generator, scene: Scene, actor: Actor) -> list[Question]:
    if scene.kind in ("copies", "several"):
        return []
    picture = pictures()[actor.name]
    if actor.motion in DIRECTIONS:
        if scene.kind == "sequence" and len(scene.actors) > 2:
            return []  # seen at two moments only
        way = actor.motion
        text = _text(rng, DIRECTION, actor)
        direction = Question(
            text=text,
            answers=(way, f"to the {way}") if way in ("left", "right") else (way,),
            kind="direction",
            accept=DIRECTIONS[way],
        )
        if scene.kind == "sequence":
            return [direction]
        verb = "move" if picture.many else "moves"
        motion = Question(
            text=_text(rng, MOTION, actor),
            answers=(f"{pronoun(picture)} {verb} {to_way(way)}.",),
            kind="motion",
            accept=("moves", "move", "moving"),
        )
        return [direction, motion]
    # That something stays still is not seen in a frame or two.
    if actor.motion == "still" and (scene.frames < 4 or scene.kind == "sequence"):
        return []
    one, many, accept = MOTIONS[actor.motion]
    return [
        Question(
            text=_text(rng, MOTION, actor),
            answers=(f"{pronoun(picture)} {many if picture.many else one}.",),
            kind="motion",
            accept=accept,
        )
    ]


def _place(rng: Generator, scene: Scene, actor: Actor) -> list[Question]:
    if not actor.place:
        return []
    words: tuple[str, ...] = PLACE_WORDS.get(actor.place, (actor.place,))
    if " " in actor.place:
        row, side = actor.place.split()
        rows = {"top": ("top", "upper"), "bottom": ("bottom", "lower")}[row]
        words = tuple(f"{word} {side}" for word in rows)
    return [
        Question(
            text=_text(rng, PLACE, actor),
            answers=(at_place(actor.place),),
            kind="place",
            accept=words,
        )
    ]


def _order(rng: Generator, scene: Scene) -> list[Question]:
    if scene.kind != "sequence":
        return []
    actors = scene.actors
    asked: list[tuple[tuple[str, ...], Actor, Actor]] = [
        (FIRST, actors[0], actors[0]),
        (LAST, actors[-1], actors[-1]),
    ]
    for one, other in pairwise(actors):
        asked += [(AFTER, one, other), (BEFORE, other, one)]
    return [
        Question(
            text=_text(rng, texts, subject),
            answers=(pictures()[answer.name].phrase,),
            kind="order",
            accept=pictures()[answer.name].words,
        )
        for texts, subject, answer in asked
    ]


def _description(rng: Generator, scene: Scene) -> Question:
    shown = _shown(scene)
    behind = ""
    if scene.background.name:
        color = scene.background.name
        behind = f" on {article_of(color)} {color} background"
    elif scene.background.kind == "photograph":
        behind = " over a photograph"
    if scene.kind == "sequence":
        sentence = f"First {', then '.join(picture.phrase for picture in shown)}{behind}."
    elif scene.kind == "copies":
        counts = [sum(a.name == p.name for a in scene.actors) for p in shown]
        things = [
            p.phrase if count == 1 else f"{NUMBERS[count]} {p.plural}"
            for p, count in zip(shown, counts, strict=True)
        ]
        sentence = f"{listed(things)}{behind}."
    else:
        parts = []
        for actor in scene.actors:
            picture = pictures()[actor.name]
            if actor.motion in DIRECTIONS:
                does = f" {'move' if picture.many else 'moves'} {to_way(actor.motion)}"
            elif actor.motion == "still" and scene.kind == "pair":
                does = " stay still" if picture.many else " stays still"
            elif actor.motion == "still":
                does = f" {at_place(actor.place)}" if actor.place and len(scene.actors) == 2 else ""
            else:
                does = f" {MOTIONS[actor.motion][picture.many]}"
            parts.append(f"{picture.phrase}{does}")
        sentence = f"{listed(parts)}{behind}."
    accept = tuple(word for picture in shown for word in picture.words)
    return Question(
        text=DESCRIBE[int(rng.integers(len(DESCRIBE)))],
        answers=(sentence[0].upper() + sentence[1:],),
        kind="description",
        accept=accept,
    )


def _shown(scene: Scene) -> list[Picture]:
    """The pictures of a scene, each once, in the order in which they appear."""
    return [pictures()[name] for name in dict.fromkeys(actor.name for actor in scene.actors)]


def _text(rng: Generator, texts: Sequence[str], actor: Actor) -> str:
    picture = pictures()[actor.name]
    text = texts[int(rng.integers(len(texts)))]
    return fill(text, thing=picture.phrase, the=f"the {picture.name}", many=picture.many)


_DOUBTFUL = {
    "animal": {"teddy", "skull", "bone", "feather", "nest", "alien", "egg", "meat", "coral"},
    "vehicle": {"shopping cart", "tire", "wheelchair", "parachute", "balloon", "traffic light"},
    "food": {"cup", "bottle", "pumpkin", "plate", "jar", "chick", "fish", "bone", "teapot"},
    "person": {"robot", "statue", "doll", "alien", "ghost", "snowman", "parachute", "skull"},
    "instrument": {"microphone", "bell", "megaphone", "radio"},
    "clothing": {"umbrella", "handbag", "ribbon", "boxing glove", "ice skate", "roller skate"},
    "tool": {"paintbrush", "ruler", "magnifying glass", "pencil", "bucket", "light bulb"},
}


def nearly(group: str, shown: Sequence[Picture]) -> bool:
    """Whether something shown might be taken for one of a group that it is not in."""
    people = group in ("animal", "clothing") and any(p.group == "person" for p in shown)
    return people or any(picture.name in _DOUBTFUL[group] for picture in shown)
