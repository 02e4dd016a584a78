"""Training data: "is there a dog in the video?", yes as often as no for every thing asked about.

A thing may be asked about with "yes" where captions say it, and with "no" only where no caption
mentions it, or anything that goes with it, under any of its names.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float32

from vipe.data.caption_things import THINGS
from vipe.data.clip import Question

_PHRASES = ("Is there {} in the video?", "Is there {}?", "Can you see {} in the video?")
_PHRASE_WEIGHTS = (8, 1, 1)
_SAID: dict[str, list[int]] = defaultdict(list)
_HINTED: dict[str, list[int]] = defaultdict(list)
for _number, _thing in enumerate(THINGS):
    for _word in _thing.said:
        _SAID[_word].append(_number)
    for _word in _thing.said | _thing.maybe:
        _HINTED[_word].append(_number)


class Presence:
    """Which things every photograph shows, and how to ask so that no thing betrays its answer.

    A photograph that shows a dog can ask about it with "yes", another with "no"; how often each
    happens differs from thing to thing (most photographs show a person). So each thing has two
    weights, one for either answer, and the greater of its two rates is lowered until both agree
    over the data set. Photographs in a row show and deny other things than one alone; they have
    weights of their own.

    Args:
        captions: The words of each photograph's captions, one list a caption.
    """

    def __init__(self, captions: Sequence[Sequence[Sequence[str]]]) -> None:
        found = [things_in(photograph) for photograph in captions]
        self._said = np.zeros((len(found), len(THINGS)), dtype=np.float32)
        self._open = np.ones((len(found), len(THINGS)), dtype=bool)
        for row, (said, hinted) in enumerate(found):
            self._said[row, list(said)] = [min(times, 3) for times in said.values()]
            self._open[row, list(hinted)] = False
        # Any fixed pairing shows how often two photographs in a row show and deny each thing.
        order = np.random.default_rng(0).permutation(len(found))
        self._weights = (
            _balance(self._said, self._open),
            _balance(self._said + self._said[order], self._open & self._open[order]),
        )

    def questions(self, photographs: Iterable[int], rng: random.Random) -> list[Question]:
        """At most one question answered "yes" and one answered "no" about what is shown.

        Either may be missing: a photograph that says nothing rare asks less often.

        Args:
            photographs: The photographs shown, one or several in a row.
            rng: Draws the things and the wording.
        """
        shown = list(photographs)
        yes, no = self._weights[min(len(shown), 2) - 1]
        drawn = (
            ("yes", _draw(self._said[shown].sum(0) * yes, rng)),
            ("no", _draw(self._open[shown].all(0) * no, rng)),
        )
        return [_question(thing, answer, rng) for answer, thing in drawn if thing is not None]


def _balance(
    said: Float32[np.ndarray, "photographs things"],
    may_deny: Bool[np.ndarray, "photographs things"],
) -> tuple[Float32[np.ndarray, " things"], Float32[np.ndarray, " things"]]:
    """Weights of "yes" and "no" for each thing, so that both are asked equally often."""
    asked = (said / np.maximum(said.sum(1, keepdims=True), 1)).sum(0)
    deniable = may_deny.sum(0)
    yes = np.minimum(2.0, deniable / np.maximum(said.astype(bool).sum(0), 1)).astype(np.float32)
    no = (4 * asked / np.maximum(deniable, 1)).astype(np.float32)
    for _ in range(60):
        rates = []
        for weights, able in ((yes, said), (no, may_deny)):
            weighted = able * weights
            rates.append((weighted / np.maximum(weighted.sum(1, keepdims=True), 1)).sum(0))
        ratio = np.sqrt((rates[0] + 1e-6) / (rates[1] + 1e-6))
        yes = (yes * np.minimum(1, 1 / ratio)).astype(np.float32)
        no = (no * np.minimum(1, ratio)).astype(np.float32)
    return yes, no


def things_in(captions: Sequence[Sequence[str]]) -> tuple[dict[int, int], frozenset[int]]:
    """What a photograph shows: thing → captions that say so, and all that may not be denied.

    Args:
        captions: Words of each caption.
    """
    said: dict[int, int] = defaultdict(int)
    hinted: set[int] = set()
    for tokens in captions:
        here: set[int] = set()
        for word in tokens:
            here.update(_SAID.get(word, ()))
            hinted.update(_HINTED.get(word, ()))
        for thing in here:
            said[thing] += 1
    spoken = {word for tokens in captions for word in tokens}
    sure = {
        thing: times
        for thing, times in said.items()
        if times >= THINGS[thing].least and not THINGS[thing].unless & spoken
    }
    return sure, frozenset(hinted)


def _question(thing: int, answer: str, rng: random.Random) -> Question:
    (phrase,) = rng.choices(_PHRASES, _PHRASE_WEIGHTS)
    name = THINGS[thing].name
    text = phrase.format(name).replace("Is there people", "Are there people")
    return Question(text=text, answers=(answer,), kind="presence", accept=(answer,), about=name)


def _draw(weights: Float32[np.ndarray, " things"], rng: random.Random) -> int | None:
    """A thing with probability `weights`; none with what they lack of one."""
    total = np.cumsum(weights)
    drawn = rng.random() * max(float(total[-1]), 1.0)
    return int(np.searchsorted(total, drawn, side="right")) if drawn < total[-1] else None
