"""Training data: "is there a dog in the video?", yes as often as no for every thing asked about.

A thing may be asked about with "yes" where captions say it, and with "no" only where no caption
mentions it, or anything that goes with it, under any of its names.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate

from vipe.data.caption_words import THINGS
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
    """Which things every photograph shows, and how to ask so that no word betrays its answer.

    "Yes" is asked about a thing of the photograph. How often a thing so comes up over the data
    set, divided by the share of photographs where "no" would be sure, is the weight with which
    "no" asks about it: for every thing both answers come up equally often.

    Args:
        captions: The words of each photograph's captions, one list a caption.
    """

    def __init__(self, captions: Sequence[Sequence[Sequence[str]]]) -> None:
        self.said: list[dict[int, int]] = []
        self.hinted: list[frozenset[int]] = []
        for photograph in captions:
            said, hinted = things_in(photograph)
            self.said.append(said)
            self.hinted.append(hinted)
        absent = [0.0] * len(THINGS)
        asked = [0.0] * len(THINGS)
        for said, hinted in zip(self.said, self.hinted, strict=True):
            total = sum(said.values())
            for thing, times in said.items():
                asked[thing] += times / total
            for thing in range(len(THINGS)):
                absent[thing] += thing not in hinted
        # Balanced by turns: a photograph that can deny few things denies those more often.
        weight = [a / max(b, 1.0) for a, b in zip(asked, absent, strict=True)]
        for _ in range(4):
            denied = [1e-9] * len(THINGS)
            for said, hinted in zip(self.said, self.hinted, strict=True):
                if not said:
                    continue
                open_to = sum(weight) - sum(weight[t] for t in hinted)
                if open_to <= 0:
                    continue
                for thing in range(len(THINGS)):
                    if thing not in hinted:
                        denied[thing] += weight[thing] / open_to
            weight = [w * a / d for w, a, d in zip(weight, asked, denied, strict=True)]
        self._weight = weight

    def question_pair(self, photographs: Iterable[int], rng: random.Random) -> list[Question]:
        """One question answered "yes" and one answered "no" about what the photographs show.

        Empty where no caption names anything that can be asked about.
        """
        shown = list(photographs)
        said: dict[int, int] = defaultdict(int)
        for photograph in shown:
            for thing, times in self.said[photograph].items():
                said[thing] += times
        hinted = frozenset().union(*(self.hinted[p] for p in shown))
        open_to = [t for t in range(len(THINGS)) if t not in hinted and self._weight[t] > 0]
        if not said or not open_to:
            return []
        yes = _draw(list(said), list(said.values()), rng)
        no = _draw(open_to, [self._weight[t] for t in open_to], rng)
        return [_question(yes, "yes", rng), _question(no, "no", rng)]


def things_in(captions: Iterable[Sequence[str]]) -> tuple[dict[int, int], frozenset[int]]:
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
    sure = {thing: times for thing, times in said.items() if times >= THINGS[thing].least}
    return sure, frozenset(hinted)


def _question(thing: int, answer: str, rng: random.Random) -> Question:
    (phrase,) = rng.choices(_PHRASES, _PHRASE_WEIGHTS)
    return Question(
        text=phrase.format(THINGS[thing].name), answers=(answer,), kind="presence", accept=(answer,)
    )


def _draw(items: Sequence[int], weights: Sequence[float], rng: random.Random) -> int:
    total = list(accumulate(weights))
    return items[bisect(total, rng.random() * total[-1], hi=len(items) - 1)]
