"""Training data: questions with answers, made from a photograph's captions by rules.

No language model reads the captions: word lists (`caption_words.py`) and the shape of a short
caption (`caption_grammar.py`) are enough, and where a rule is not sure it makes nothing.
Presence (yes or no) needs the whole data set and is in `presence.py`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from vipe.data import caption_words as words
from vipe.data.caption_grammar import (
    MOST_WORDS,
    Sentence,
    action,
    clause,
    content,
    normalise,
    noun_phrase,
    parse,
    spell,
    tokenise,
)
from vipe.data.clip import Question
from vipe.data.presence import THINGS, things_in

__all__ = [
    "CAPTION_QUESTIONS",
    "clause",
    "normalise",
    "parse",
    "questions",
    "telling",
    "tokenise",
]

CAPTION_QUESTIONS = (
    *["Describe the video."] * 5,
    "What happens in the video?",
    "What is happening in the video?",
    "Describe what you see.",
    "Write a caption.",
)
_WHERE = ("in front of", "next to", "on top of", "in", "on", "at", "inside", "near", "by", "under",
          "beside")  # fmt: skip
_MORE = (
    words.PLURAL_HEADS
    | words.NUMBERS.keys()
    | {"another", "other", "others", "group", "crowd", "team", "audience", "several", "many"}
)
_SINGULAR = {"dog": "dogs", "man": "men", "boy": "boys", "girl": "girls", "woman": "women",
             "horse": "horses", "child": "children"}  # fmt: skip
_AROUND = frozenset(
    {"snow", "water", "grass", "sand", "ice", "a street", "a field", "a rock", "a building",
     "a tree", "a mountain", "a forest", "a hat", "a helmet", "a bag", "a beach", "an ocean"}
)  # fmt: skip


class Gathered:
    """Questions under way: the answers of several captions to one question come together."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._accept: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)

    def add(self, kind: str, text: str, answer: str, accept: Sequence[str]) -> None:
        """One answer, unless it is too long, or no word of it can be told to be right."""
        if answer and accept and len(answer.split()) <= MOST_WORDS:
            self._answers[kind, text][answer] += 1
            self._accept[kind, text].update(dict.fromkeys(accept))

    def questions(self) -> list[Question]:
        """What was gathered, answers that more captions give first."""
        return [
            Question(
                text=text,
                answers=tuple(answer for answer, _ in found.most_common()),
                kind=kind,
                accept=tuple(self._accept[kind, text]),
            )
            for (kind, text), found in self._answers.items()
        ]


def questions(sentences: Sequence[Sentence]) -> list[Question]:
    """All questions of every kind but "caption", "presence" and "order" about one photograph.

    Args:
        sentences: The photograph's captions, parsed.
    """
    gathered = Gathered()
    rules: tuple[Callable[[Gathered, Sequence[Sentence]], None], ...] = (
        _doing,
        _who,
        _animal,
        _things,
        _colours,
        _counts,
        _games,
    )
    for rule in rules:
        rule(gathered, sentences)
    return gathered.questions()


def _sure(sentences: Sequence[Sentence]) -> list[Sentence]:
    """The captions with a subject that a second one names so too (one alone may have erred)."""
    said = Counter(
        noun for s in sentences for noun in {words.HEADS[w] for w in s.tokens if w in words.HEADS}
    )
    general = {"person", "people"}
    return [
        s
        for s in sentences
        if s.noun and (s.noun in general or all(said[words.HEADS[w]] >= 2 for w in s.heads))
    ]


def _doing(gathered: Gathered, sentences: Sequence[Sentence]) -> None:
    """What the subject of each caption does, with what, and where."""
    for s in _sure(sentences):
        be = "are" if s.plural else "is"
        nouns = [s.noun]
        if set(s.heads) <= words.PERSON_HEADS:
            nouns.append("people" if s.plural else "person")
        done = action(s)
        place, where = _place(s)
        for noun in dict.fromkeys(nouns):
            gathered.add("action", f"What {be} the {noun} doing?", spell(done), content(done))
            gathered.add("where", f"Where {be} the {noun}?", place, where)
        for at, verb in s.verbs:
            for preposition in sorted(words.OBJECT_VERBS.get(verb, ())):
                after = at + 1 + len(preposition.split())
                thing = noun_phrase(s.tokens, after)
                if thing is None or s.tokens[at + 1 : after] != preposition.split():
                    continue
                text = " ".join(f"What {be} the {s.noun} {verb} {preposition}".split())
                gathered.add("object", f"{text}?", spell(thing[0]), content(_nouns(thing[0])))


def _place(s: Sentence) -> tuple[str, list[str]]:
    """Where the subject is ("on the beach"), and the words that show it; empty where unsure."""
    for i in range(s.start, s.stop):
        here = f"{' '.join(s.tokens[i : i + 3])} "
        preposition = next((p for p in _WHERE if here.startswith(f"{p} ")), "")
        if not preposition:
            continue
        found = noun_phrase(s.tokens, i + len(preposition.split()))
        if found and found[0][-1] in words.PLACES and "of" not in found[0]:
            return f"{preposition} {spell(found[0])}", content(found[0][-1:])
    return "", []


def _nouns(phrase: Sequence[str]) -> list[str]:
    """The nouns of a noun phrase: the last word, and the one before "of"."""
    return [phrase[phrase.index("of") - 1], phrase[-1]] if "of" in phrase else [phrase[-1]]


def _who(gathered: Gathered, sentences: Sequence[Sentence]) -> None:
    for s in _sure(sentences):
        if set(s.heads) <= words.PERSON_HEADS:
            gathered.add("who", "Who is in the video?", s.subject, s.heads)


def _animal(gathered: Gathered, sentences: Sequence[Sentence]) -> None:
    """Asked where two captions or more name one kind of animal, and none names another."""
    named = [{words.ANIMALS[w] for w in s.tokens if w in words.ANIMALS} for s in sentences]
    kinds = {kind for found in named for kind in found}
    other = set(f"{words.OTHER_ANIMALS} {words.NOT_ALIVE}".split()) - {"animal", "animals", "toy"}
    if len(kinds) != 1 or sum(bool(n) for n in named) < 2:
        return
    if any(other & set(s.tokens) for s in sentences):
        return
    (kind,) = kinds
    accept = [kind, *(w for w, k in words.ANIMALS.items() if k == kind and w != kind)]
    article = "an" if kind[0] in "aeiou" else "a"
    gathered.add("animal", "What animal is in the video?", f"{article} {kind}", accept)


def _things(gathered: Gathered, sentences: Sequence[Sentence]) -> None:
    """What is in the video: the things that two captions or more say, alone and in pairs."""
    said, _ = things_in([s.tokens for s in sentences])
    spoken = {w for s in sentences for w in s.tokens}
    general = {"a person", "an animal", "people", "a crowd", "a child", "a toy", "food"}
    # What lies around or is worn comes after what is looked at.
    sure = sorted(
        (t for t, n in said.items() if n >= 2),
        key=lambda t: (3 if THINGS[t].name in _AROUND else 0) - said[t],
    )
    exact = [
        t
        for t in sure
        if THINGS[t].name not in general and THINGS[t].name.split()[-1] in _singular(spoken)
    ]
    for k, thing in enumerate(exact[:3]):
        accept = [spell([w]) for w in sorted(THINGS[thing].said & spoken)]
        names = [THINGS[t].name for t in (*exact[: min(k, 1)], thing)]
        gathered.add("object", "What is in the video?", " and ".join(names), accept)


def _singular(spoken: set[str]) -> set[str]:
    """The words, and each without a plural ending."""
    return spoken | {w.removesuffix("s") for w in spoken} | {w.removesuffix("es") for w in spoken}


def _colours(gathered: Gathered, sentences: Sequence[Sentence]) -> None:
    """Asked where every colour that any caption gives the thing agrees."""
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    named: set[str] = set()
    for s in sentences:
        for i, token in enumerate(s.tokens):
            if noun := words.COLOURED.get(token):
                named.add(noun)
                if colours := _colours_before(s.tokens, i):
                    found[noun].append(colours)
    for noun, given in found.items():
        plural = noun.endswith("s") and noun not in ("dress", "bus", "harness")
        twin = noun[:-1] if plural else f"{noun}s"
        if noun not in words.PLURAL_WEAR and twin in named:
            continue
        widest = max(given, key=len)
        every = {colour for colours in given for colour in colours}
        kin = any(every <= k for k in words.COLOUR_KIN)
        if not kin and every != set(widest):
            continue
        text = f"What color {'are' if plural else 'is'} the {noun}?"
        for colours in given:
            if kin or len(colours) == len(widest):
                accept = [w for w, c in words.COLOURS.items() if c in colours]
                gathered.add("colour", text, " and ".join(colours), accept)


def _colours_before(tokens: Sequence[str], at: int) -> tuple[str, ...]:
    """The colours in "red", "red and white", "red, white and blue", "red plaid" before a noun."""
    i = at - 1
    if i >= 1 and tokens[i] not in words.COLOURS and tokens[i] not in words.FUNCTION:
        i -= 1
    found: list[str] = []
    while i >= 0:
        if tokens[i] in words.COLOURS:
            found.append(words.COLOURS[tokens[i]])
        elif not found or tokens[i] not in ("and", ",", *words.SHADES):
            break
        i -= 1
    return tuple(dict.fromkeys(reversed(found)))


def _counts(gathered: Gathered, sentences: Sequence[Sentence]) -> None:
    """Asked where three captions or more count, and all alike; one, where every caption says so."""
    counted: dict[str, list[str]] = defaultdict(list)
    for s in sentences:
        for i, token in enumerate(s.tokens):
            noun = words.HEADS.get(token, token)
            if noun in words.COUNTED and token in words.COUNTED | words.PLURAL_HEADS:
                before = reversed(s.tokens[max(0, i - 3) : i])
                counted[noun].append(
                    next((words.NUMBERS[w] for w in before if w in words.NUMBERS), "")
                )
    for noun, numbers in counted.items():
        if len(numbers) >= 3 and len(set(numbers)) == 1:
            gathered.add("count", f"How many {noun} are there?", numbers[0], numbers[:1])
    if any(_MORE & set(s.tokens) for s in sentences):
        return
    for one, many in _SINGULAR.items():
        alone = [s for s in sentences if s.noun == one and s.subject.split()[0] in ("a", "an")]
        if len(alone) >= max(3, len(sentences)):
            gathered.add("count", f"How many {many} are there?", "one", ["one"])


def _games(gathered: Gathered, sentences: Sequence[Sentence]) -> None:
    """What is played: a game or an instrument that two captions name, one of them as played."""
    said = Counter(w for s in sentences for w in set(s.tokens) if w in words.GAMES)
    played: set[str] = set()
    for s in sentences:
        for i, token in enumerate(s.tokens):
            following = s.tokens[i + 1] if i + 1 < len(s.tokens) else ""
            verb = {"playing", "play", "plays"} & set(s.tokens[max(0, i - 3) : i])
            if token in said and (verb or following in ("player", "players", "game", "match")):
                played.add(token)
    if len(played) != 1 or said[game := played.pop()] < 2:
        return
    answer = f"the {game}" if game in words.INSTRUMENTS else game
    for s in _sure(sentences):
        if set(s.heads) <= words.PERSON_HEADS:
            be, general = ("are", "people") if s.plural else ("is", "person")
            for noun in dict.fromkeys([s.noun, general]):
                gathered.add("object", f"What {be} the {noun} playing?", answer, [game])


def telling(captions: Iterable[Sequence[str]], elsewhere: Iterable[str]) -> tuple[str, ...]:
    """Words of things, people and places, said of this photograph but not `elsewhere`.

    Args:
        captions: Words of each caption of the photograph.
        elsewhere: Words that would not tell it from the others.
    """
    said = Counter(word for tokens in captions for word in set(tokens))
    known = words.HEADS.keys() | words.COLOURED.keys() | words.PLACES | words.GAMES | _NAMED
    skip = set(elsewhere) | words.FUNCTION
    return tuple(spell([w]) for w, _ in said.most_common() if w in known and w not in skip)


_NAMED = {word for thing in THINGS for word in thing.said} - set(words.PERSON_PARTS.split())
