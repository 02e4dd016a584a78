"""What is asked about when things are seen, with answers that are right by construction.

The kinds: "when" (the answer is a time: when something appears or goes, from when to when, for how
long) and "moment" (a time is in the question, and the answer is what is shown then). Answers are
digits and one unit, which a small language model can say: "at 125 seconds".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numpy.random import Generator

from vipe.clock import FINE
from vipe.data.clip import Question
from vipe.data.pictures import Picture
from vipe.data.scene_wordings import fill

KINDS = ("when", "moment")

APPEARS = (
    "When {does} {the thing} appear?",
    "At what time {does} {the thing} appear?",
    "After how many seconds {does} {the thing} appear?",
)
GOES = ("When {does} {the thing} disappear?", "At what time {is} {the thing} gone?")
FROM_TO = ("From when to when {is} {the thing} in the video?", "When {is} {the thing} shown?")
HOW_LONG = (
    "How long {is} {the thing} in the video?",
    "For how many seconds {is} {the thing} shown?",
)
LENGTH = ("How long is the video?", "How many seconds does the video last?")
SHOWN_AT = (
    "What is shown at {time}?",
    "What is in the video after {time}?",
    "What happens after {time}?",
    "What can you see at {time}?",
)

_INSIDE = 0.25
"""A moment that is asked for keeps this share of a stretch away from the stretch's ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A thing, and when it is seen.

    Attributes:
        picture: The thing.
        start: In seconds.
        end: In seconds.
    """

    picture: Picture
    start: float
    end: float


def ask_when(rng: Generator, stretches: Sequence[Stretch], length: float) -> list[Question]:
    """Questions about time.

    Args:
        rng: Chooses the wordings and the moments.
        stretches: What is seen when; each thing once.
        length: The video's, in seconds.
    """
    questions = []
    for stretch in stretches:
        start, end = said(stretch.start, length), said(stretch.end, length)
        whole = stretch.start == 0 and stretch.end == length
        questions += [
            _when(rng, APPEARS, stretch, f"at {start} seconds", stretch.start, length),
            _when(
                rng, FROM_TO, stretch, f"from {start} to {end} seconds",
                (stretch.start, stretch.end), length,
            ),
        ]  # fmt: skip
        if not whole:
            seen = stretch.end - stretch.start
            answer = f"for {said(seen, length)} seconds"
            questions.append(_when(rng, HOW_LONG, stretch, answer, seen, length))
        if stretch.end < length:
            questions.append(_when(rng, GOES, stretch, f"at {end} seconds", stretch.end, length))
        alone = not any(
            other is not stretch and other.start < stretch.end and stretch.start < other.end
            for other in stretches
        )
        share = rng.uniform(_INSIDE, 1 - _INSIDE)
        moment = said(stretch.start + share * (stretch.end - stretch.start), length)
        if alone and stretch.start < float(moment) < stretch.end:
            questions.append(
                Question(
                    text=_one(rng, SHOWN_AT).replace("{time}", _spoken(rng, moment)),
                    answers=(stretch.picture.phrase,),
                    kind="moment",
                    accept=stretch.picture.words,
                )
            )
    lasts = f"{said(length, length)} seconds"
    questions.append(
        Question(
            text=_one(rng, LENGTH), answers=(lasts,), kind="when", seconds=(length, length),
            length=length,
        )
    )  # fmt: skip
    return questions


def said(seconds: float, length: float) -> str:
    """Return a number of seconds as it is said: whole, or in videos below `FINE` to a tenth."""
    return f"{seconds:.1f}".removesuffix(".0") if length < FINE else f"{seconds:.0f}"


def _spoken(rng: Generator, moment: str) -> str:
    """A time in a question: in seconds, or from a minute on also in minutes."""
    minutes, seconds = divmod(float(moment), 60)
    if minutes < 1 or rng.random() < 0.5:
        return f"{moment} second{'s' * (moment != '1')}"
    text = f"{minutes:.0f} minute{'s' * (minutes != 1)}"
    return text if seconds == 0 else f"{text} and {seconds:.0f} second{'s' * (seconds != 1)}"


def _when(
    rng: Generator,
    texts: Sequence[str],
    stretch: Stretch,
    answer: str,
    seconds: float | tuple[float, float],
    length: float,
) -> Question:
    picture = stretch.picture
    return Question(
        text=fill(_one(rng, texts), the=f"the {picture.name}", many=picture.many),
        answers=(answer,),
        kind="when",
        seconds=seconds if isinstance(seconds, tuple) else (seconds, seconds),
        length=length,
    )


def _one(rng: Generator, texts: Sequence[str]) -> str:
    return texts[int(rng.integers(len(texts)))]
