"""The words of questions about generated scenes, and of their answers."""

from __future__ import annotations

from collections.abc import Sequence

from vipe.data.pictures import Picture

GROUPS = {
    "animal": "What animal {is} in the video?",
    "vehicle": "What vehicle {is} in the video?",
    "food": "What food {is} in the video?",
    "person": "Who {is} in the video?",
    "instrument": "What instrument {is} in the video?",
    "clothing": "What piece of clothing {is} in the video?",
    "tool": "What tool {is} in the video?",
}
NAME = (
    "What is in the video?",
    "What object is shown?",
    "What can you see in the video?",
    "What does the video show?",
    "What thing is in the video?",
    "Which object appears in the video?",
)
NAME_OVER_PHOTOGRAPH = (
    "What drawing is in the video?",
    "What is drawn over the photograph?",
    "Which drawing appears in front of the photograph?",
)
PRESENCE = (
    "{Is} there {thing} in the video?",
    "{Is} {thing} shown in the video?",
    "{Does} the video show {thing}?",
    "Can you see {thing} in the video?",
    "Can you see {thing}?",
    "{Is} there {thing}?",
)
BACKGROUND = (
    "What color is the background?",
    "What is the color of the background?",
    "Which color does the background have?",
    "What color is behind {the thing}?",
)
DIRECTION = (
    "Which way {does} {the thing} move?",
    "In which direction {does} {the thing} move?",
    "Where {does} {the thing} move to?",
    "Which direction {does} {the thing} go?",
)
MOTION = (
    "What {does} {the thing} do?",
    "What happens to {the thing}?",
    "What {is} {the thing} doing?",
)
PLACE = (
    "Where {is} {the thing}?",
    "Where in the frame {is} {the thing}?",
    "In which part of the picture {is} {the thing}?",
)
FIRST = ("What appears first?", "What is shown first?", "What comes first in the video?")
LAST = ("What appears last?", "What is shown last?", "What comes last in the video?")
AFTER = (
    "What comes after {the thing}?",
    "What appears after {the thing}?",
    "What is shown right after {the thing}?",
)
BEFORE = (
    "What comes before {the thing}?",
    "What appears before {the thing}?",
    "What is shown right before {the thing}?",
)
COUNT = (
    "How many {things} are there?",
    "How many {things} are in the video?",
    "How many {things} can you see?",
    "What is the number of {things}?",
)
DESCRIBE = ("Describe the video.", "What happens in the video?", "Describe what you see.")

NUMBERS = ("zero", "one", "two", "three", "four", "five")
DIRECTIONS = {
    "left": ("left", "leftward", "leftwards"),
    "right": ("right", "rightward", "rightwards"),
    "up": ("up", "upward", "upwards"),
    "down": ("down", "downward", "downwards"),
}
# What the picture does, for one and for many, and the words that say so.
MOTIONS = {
    "still": ("stays still", "stay still", ("still", "motionless")),
    "grow": ("grows", "grow", ("grows", "grow", "growing", "bigger", "larger")),
    "shrink": ("shrinks", "shrink", ("shrinks", "shrink", "shrinking", "smaller")),
    "turn": ("turns", "turn", ("turns", "turn", "turning", "rotates", "rotate", "spins", "spin")),
}
COLOR_WORDS = {"gray": ("gray", "grey"), "purple": ("purple", "violet")}
PLACE_WORDS = {
    "center": ("center", "centre", "middle"),
    "top": ("top", "upper", "above"),
    "bottom": ("bottom", "lower", "below"),
}


def fill(text: str, *, thing: str = "", the: str = "", many: bool) -> str:
    """Fill in what is asked about ("a dog", "the dog"), and verbs that agree with it."""
    verbs = {"is": "are", "does": "do"} if many else {"is": "is", "does": "does"}
    for verb, form in verbs.items():
        text = text.replace(f"{{{verb}}}", form)
        text = text.replace(f"{{{verb.capitalize()}}}", form.capitalize())
    return text.replace("{the thing}", the).replace("{thing}", thing)


def listed(things: Sequence[str]) -> str:
    """Things one after another: "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(things[:-1]), things[-1]] if len(things) > 1 else things)


def with_article(noun: str) -> str:
    """The noun with "a" or "an"."""
    return f"{article_of(noun)} {noun}"


def article_of(noun: str) -> str:
    """The article "a" or "an", whichever a colour or group of things takes."""
    return "an" if noun[0] in "aeiou" else "a"


def bare(phrase: str) -> str:
    """The phrase without its article."""
    return phrase.removeprefix("a ").removeprefix("an ")


def at_place(place: str) -> str:
    """Where something is: "on the left", "in the top right corner"."""
    if " " in place:
        return f"in the {place} corner"
    return {"left": "on the left", "right": "on the right", "center": "in the center"}.get(
        place, f"at the {place}"
    )


def to_way(way: str) -> str:
    """Where something moves: "to the left", "up"."""
    return f"to the {way}" if way in ("left", "right") else way


def pronoun(picture: Picture) -> str:
    """The pronoun of a picture: "It" or "They"."""
    return "They" if picture.many else "It"
