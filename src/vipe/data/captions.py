"""Training data: questions with answers, made from a photograph's captions by rules.

No language model reads the captions: word lists (`caption_words.py`) and the shape of a short
caption ("SUBJECT [is] VERB-ing OBJECT PLACE") are enough, and where a rule is not sure it makes
nothing. `describe` and the order questions need whole captions; everything else is `questions`.
Presence (yes or no) needs the whole data set and is in `presence.py`.
"""

# ruff: noqa: SIM905 - words in a row are easier to read and add to than a list of strings
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vipe.data import caption_words as words
from vipe.data.clip import Question

CAPTION_QUESTIONS = (
    *["Describe the video."] * 5,
    "What happens in the video?",
    "Describe what you see.",
    "Write a caption.",
    "What is happening?",
)
_TOKEN = re.compile(r"'s\b|[a-z0-9]+(?:[-'][a-z]+)*|[^\sa-z0-9]")
_SPACED = ((" ,", ","), (" 's", "'s"), (" n't", "n't"), (" .", "."), (" ;", ";"), (" !", "!"))
_MOST_WORDS = 8
_WHERE = ("in front of", "next to", "on top of", *"in on at inside near by under beside".split())
_CLAUSE_END = frozenset(
    "while as whilst and , . ; who that which when where but because with before after "
    'during for " ( - : or'.split()
)


def normalise(caption: str) -> str:
    """Lower case, single spaces, punctuation joined to its word, no full stop at the end."""
    text = " ".join(caption.lower().split()).strip()
    text = text.rstrip(" .!;,")
    for spaced, joined in _SPACED:
        text = text.replace(spaced, joined)
    return text


def tokenise(caption: str) -> list[str]:
    """Words and punctuation marks; words that mean something of their own together are joined."""
    found = _TOKEN.findall(caption.lower())
    out: list[str] = []
    for token in found:
        if out and (joined := words.COMPOUNDS.get(f"{out[-1]} {token}")):
            out[-1] = joined
        else:
            out.append(token)
    return out


@dataclass(slots=True)
class Sentence:
    """A caption taken apart.

    Attributes:
        tokens: Its words and punctuation marks.
        noun: The subject as a question names it ("man", "dogs", "people"); empty if not found.
        subject: The subject with its light modifiers ("a young man", "two dogs").
        plural: Whether the subject is more than one.
        start: Where the subject ends and what it does begins.
        stop: Where the next person or animal is mentioned: up to there the subject acts alone.
        verbs: (position, -ing form) of each verb of the subject.
    """

    tokens: list[str]
    noun: str = ""
    subject: str = ""
    plural: bool = False
    start: int = 0
    stop: int = 0
    verbs: list[tuple[int, str]] = field(default_factory=list)


def parse(caption: str) -> Sentence:
    """Finds the subject of a caption and its verbs; `noun` stays empty where unsure."""
    tokens = tokenise(caption)
    sentence = Sentence(tokens)
    if tokens[:2] in (["there", "is"], ["there", "are"]):
        tokens = sentence.tokens = tokens[2:]
    at = _subject(sentence)
    if not at:
        return sentence
    sentence.start = at
    sentence.stop = next(
        (i for i in range(at, len(tokens)) if tokens[i] in words.HEADS or tokens[i] == "another"),
        len(tokens),
    )
    sentence.verbs = list(_verbs(sentence))
    return sentence


def _subject(sentence: Sentence) -> int:
    """Fills in the subject; the position after it, 0 if there is none."""
    first = _head(sentence.tokens, 0)
    if first is None:
        return 0
    at, head, number, light = first
    noun = words.HEADS[head]
    sentence.plural = head in words.PLURAL_HEADS
    sentence.subject = " ".join([*number, *light, head])
    tokens = sentence.tokens
    if tokens[at : at + 1] == ["and"] and (second := _head(tokens, at + 1)):
        other = words.HEADS[second[1]]
        if head in words.PERSON_HEADS and second[1] in words.PERSON_HEADS:
            noun = "people"
        else:
            noun = f"{noun} and the {other}"
        sentence.subject += " and " + " ".join([*second[2], *second[3], second[1]])
        sentence.plural = True
        at = second[0]
    sentence.noun = noun
    return at


def _head(tokens: Sequence[str], at: int) -> tuple[int, str, list[str], list[str]] | None:
    """A noun phrase at `at` whose noun can be asked about: end, noun, determiner, age words."""
    determiner: list[str] = []
    if at < len(tokens) and tokens[at] in words.DETERMINERS | {"several", "many"}:
        determiner = [words.NUMBERS.get(tokens[at], tokens[at])]
        at += 1
    if determiner and tokens[at : at + 1] and tokens[at] in ("group", "crowd", "bunch", "couple"):
        if tokens[at + 1 : at + 2] == ["of"]:
            group = _head(tokens, at + 2)
            if group and group[1] in words.PLURAL_HEADS:
                return group[0], group[1], [*determiner, tokens[at], "of", *group[2]], group[3]
        if tokens[at] != "couple":
            return None
    light: list[str] = []
    for i in range(at, min(at + 5, len(tokens))):
        token = tokens[i]
        following = tokens[i + 1] if i + 1 < len(tokens) else "."
        if token in words.HEADS and following not in words.HEADS and following != "'s":
            plural = token in words.PLURAL_HEADS
            if following in words.ING_NOUNS or (not determiner and not plural):
                return None
            if determiner in (["the"], ["his"], ["her"], ["their"], ["its"], []) and not plural:
                determiner = ["a"]
            elif determiner in (["the"], ["his"], ["her"], ["their"], ["its"]):
                determiner = []
            first = [*light, token][0]
            if determiner in (["a"], ["an"]):
                determiner = ["an" if first[0] in "aeiou" else "a"]
            return i + 1, token, determiner, light
        if token in words.FUNCTION and token != "and":
            return None
        if token in words.AGES:
            light.append(token)
    return None


def _verbs(sentence: Sentence) -> Iterable[tuple[int, str]]:
    """The verbs between the subject and whoever is mentioned next."""
    tokens = sentence.tokens
    for i in range(sentence.start, sentence.stop):
        token, before = tokens[i], tokens[i - 1]
        first = i == sentence.start
        if token in words.ING:
            noun_follows = tokens[i + 1 : i + 2] and tokens[i + 1] in words.ING_NOUNS
            if token in words.ADJECTIVE_ING and noun_follows:
                continue
            if before in words.DETERMINERS or before in words.COLOURS or before in _NOT_BEFORE:
                continue
            yield i, token
        elif sentence.plural and token in words.BASE and (first or before in _ADVERBS):
            yield i, words.BASE[token]
        elif not sentence.plural and token in words.THIRD:
            spoken_for = before in words.DETERMINERS or before in words.FUNCTION
            if first or before in _ADVERBS or not (spoken_for or before in words.COLOURS):
                yield i, words.THIRD[token]


_ADVERBS = frozenset({"happily", "quickly", "playfully", "and", "outside", "who", "that"})
_NOT_BEFORE = frozenset("of for from by with in at like and his her their its about".split())


def noun_phrase(tokens: Sequence[str], at: int) -> tuple[list[str], int] | None:
    """A noun phrase at `at` that ends where a function word, a verb or the caption does.

    Returns:
        Its words and the position after it; None where it is not clear where it ends.
    """
    phrase: list[str] = []
    i = at
    if i < len(tokens) and tokens[i] in words.DETERMINERS:
        phrase.append(tokens[i])
        i += 1
        if phrase[0] in ("one", "some", "another") and tokens[i : i + 1] == ["of"]:
            return None
    body = 0
    while i < len(tokens) and tokens[i] not in words.FUNCTION:
        if tokens[i] in words.ING or tokens[i].endswith("ly"):
            describes = tokens[i] in words.ADJECTIVE_ING and tokens[i + 1 : i + 2]
            if not (describes and tokens[i + 1] in words.ING_NOUNS):
                break
        if tokens[i] in words.HEADS and body and tokens[i - 1] in words.HEADS:
            return None
        phrase.append(tokens[i])
        body += 1
        i += 1
        if body > 4:
            return None
    if not body or (i < len(tokens) and tokens[i] == "'s"):
        return None
    bare = len(phrase) == body
    if phrase[-1] in _NO_NOUN or (bare and phrase[-1] in _NEEDS_DETERMINER):
        return None
    if tokens[i : i + 1] == ["of"] and (more := noun_phrase(tokens, i + 1)):
        if len(phrase) + len(more[0]) > 6:
            return None
        return [*phrase, "of", *more[0]], more[1]
    return phrase, i


_NO_NOUN = (
    frozenset(words.COLOURS) | words.AGES | words.NUMBERS.keys() | words.SHADES
) | frozenset("large big long front side other something right left top it one each edge "
              "middle each-other midair view time same open full".split())  # fmt: skip
_NEEDS_DETERMINER = frozenset(words.HEADS) | frozenset({"ball", "bench", "bike", "camera"})


def action(sentence: Sentence) -> str:
    """What the subject does, as an -ing phrase of at most eight words; empty where unsure."""
    for at, verb in sentence.verbs:
        if verb in words.STATIVE:
            continue
        tokens = [verb]
        for token in sentence.tokens[at + 1 :]:
            joined = token == "with" and tokens[-1] in ("playing", "fighting", "talking")
            if token in _CLAUSE_END and not joined:
                break
            if token in words.ING and len(tokens) > 2 and token not in words.ADJECTIVE_ING:
                break
            tokens.append(token)
        while len(tokens) > _MOST_WORDS:
            cut = max((i for i, t in enumerate(tokens) if t in words.PREPOSITIONS), default=0)
            tokens = tokens[:cut]
        while tokens and (tokens[-1] in words.DETERMINERS or tokens[-1] in _DANGLING):
            tokens.pop()
        if tokens and not ({"is", "are", "'s"} & set(tokens)):
            return " ".join(tokens)
        return ""
    return ""


_DANGLING = frozenset("in on at of by to into onto from through next their its his her".split())


class _Gathered:
    """Questions under way: answers from several captions come together."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.accept: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)

    def add(self, kind: str, text: str, answer: str, accept: Iterable[str]) -> None:
        if answer and len(answer.split()) <= _MOST_WORDS:
            self.answers[kind, text][answer] += 1
            self.accept[kind, text].update(dict.fromkeys(accept))

    def done(self) -> list[Question]:
        return [
            Question(
                text=text,
                answers=tuple(answer for answer, _ in found.most_common()),
                kind=kind,
                accept=tuple(self.accept[kind, text]),
            )
            for (kind, text), found in self.answers.items()
        ]


def questions(sentences: Sequence[Sentence]) -> list[Question]:
    """All questions of every kind but "caption", "presence" and "order" about one photograph.

    Args:
        sentences: The photograph's captions, parsed.
    """
    gathered = _Gathered()
    said = Counter(word for s in sentences for word in set(s.tokens))
    for sentence in sentences:
        if sentence.noun and _sure(sentence, said):
            _doing(gathered, sentence)
    _who(gathered, sentences, said)
    _animal(gathered, sentences)
    _colours(gathered, sentences)
    _counts(gathered, sentences)
    _games(gathered, sentences, said)
    return gathered.done()


def _sure(sentence: Sentence, said: Counter[str]) -> bool:
    """Whether a second caption names the subject so too (one alone may have erred)."""
    same = [w for w, noun in words.HEADS.items() if noun == sentence.noun]
    general = sentence.noun in ("person", "people", "children") or " and " in sentence.noun
    return general or sum(said[w] for w in same) >= 2


def _doing(gathered: _Gathered, s: Sentence) -> None:
    """Action, object and place of one caption's subject."""
    be = "are" if s.plural else "is"
    who = [s.noun]
    if s.subject.split()[-1] in words.PERSON_HEADS and s.noun not in ("person", "people"):
        who.append("people" if s.plural else "person")
    done = action(s)
    for noun in who:
        if done:
            content = [w for w in done.split() if w not in words.FUNCTION and len(w) > 2]
            gathered.add("action", f"What {be} the {noun} doing?", done, content)
    for at, verb in s.verbs:
        for prep in sorted(words.OBJECT_VERBS.get(verb, ())):
            after = at + 1 + len(prep.split())
            if prep and s.tokens[at + 1 : after] != prep.split():
                continue
            thing = noun_phrase(s.tokens, after)
            if thing is None or (verb == "playing" and not prep):
                continue
            question = " ".join(f"What {be} the {s.noun} {verb} {prep}".split()) + "?"
            gathered.add("object", question, " ".join(thing[0]), _nouns(thing[0]))
    for i in range(s.start, s.stop):
        here = " ".join(s.tokens[i : i + 3]) + " "
        preposition = next((p for p in _WHERE if here.startswith(f"{p} ")), "")
        place = preposition and noun_phrase(s.tokens, i + len(preposition.split()))
        if place and place[0][-1] in words.PLACES:
            for noun in who:
                answer = f"{preposition} {' '.join(place[0])}"
                gathered.add("where", f"Where {be} the {noun}?", answer, [place[0][-1]])
            break


def _nouns(phrase: Sequence[str]) -> list[str]:
    """The words of a noun phrase of which any one shows that it was understood."""
    skip = words.FUNCTION | words.DETERMINERS | words.COLOURS.keys() | words.AGES | _NO_NOUN
    if "of" in phrase:
        cut = phrase.index("of")
        return [w for w in (phrase[cut - 1], phrase[-1]) if w not in skip | {"pair", "piece"}]
    return [phrase[-1]]


def _who(gathered: _Gathered, sentences: Sequence[Sentence], said: Counter[str]) -> None:
    for s in sentences:
        head = s.subject.split()[-1] if s.noun else ""
        if head in words.PERSON_HEADS and (_sure(s, said)) and not _animal_words(s.subject.split()):
            accept = [w for w in s.subject.split() if w in words.PERSON_HEADS]
            gathered.add("who", "Who is in the video?", s.subject, accept)


def _animal_words(tokens: Iterable[str]) -> set[str]:
    return {words.ANIMALS[w] for w in tokens if w in words.ANIMALS}


def _animal(gathered: _Gathered, sentences: Sequence[Sentence]) -> None:
    """Asked where two captions or more name one kind of animal, and none names another."""
    named = [_animal_words(s.tokens) for s in sentences]
    kinds = set().union(*named) if named else set()
    other = set(words.OTHER_ANIMALS.split()) - {"animal", "animals", "pet", "pets"}
    if len(kinds) != 1 or sum(bool(n) for n in named) < 2:
        return
    if any(other & set(s.tokens) for s in sentences):
        return
    (kind,) = kinds
    accept = [kind, *(w for w, k in words.ANIMALS.items() if k == kind and w != kind)]
    article = "an" if kind[0] in "aeiou" else "a"
    gathered.add("animal", "What animal is in the video?", f"{article} {kind}", accept)


def _colours(gathered: _Gathered, sentences: Sequence[Sentence]) -> None:
    """Asked where every colour that any caption gives the thing agrees."""
    found: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    bare: set[str] = set()
    for s in sentences:
        for i, token in enumerate(s.tokens):
            noun = words.COLOURED.get(token)
            if noun is None:
                continue
            bare.add(noun)
            colours = _colours_before(s.tokens, i)
            if colours:
                found[noun].append(colours)
    for noun, given in found.items():
        twin = noun[:-1] if noun.endswith("s") else f"{noun}s"
        if noun not in words.PLURAL_WEAR and twin in bare:
            continue
        widest = max(given, key=len)
        kin = next(
            (k for k in words.COLOUR_KIN if k.issuperset({c for g in given for c in g})), None
        )
        if kin is None and not all(set(g) <= set(widest) for g in given):
            continue
        be = "are" if noun.endswith("s") and noun not in ("dress", "bus", "canvas") else "is"
        for colours in given:
            if kin is None and len(colours) < len(widest):
                continue
            accept = [w for w, c in words.COLOURS.items() if c in colours]
            text = f"What color {be} the {noun}?"
            gathered.add("colour", text, " and ".join(colours), accept)


def _colours_before(tokens: Sequence[str], at: int) -> tuple[str, ...]:
    """The colours in "red", "red and white", "red , white and blue", "red plaid" before a noun."""
    i = at - 1
    if i >= 1 and tokens[i] not in words.COLOURS and tokens[i] not in words.FUNCTION:
        i -= 1
    found: list[str] = []
    while i >= 0:
        if tokens[i] in words.COLOURS:
            found.append(words.COLOURS[tokens[i]])
        elif tokens[i] not in ("and", ",", *words.SHADES) or not found:
            break
        i -= 1
    # "wearing red , a white hat": what comes before "and" or a comma must be a colour too.
    return tuple(dict.fromkeys(reversed(found)))


def _counts(gathered: _Gathered, sentences: Sequence[Sentence]) -> None:
    """Asked where three captions or more count, and all alike."""
    counted: dict[str, list[str]] = defaultdict(list)
    for s in sentences:
        for i, token in enumerate(s.tokens):
            noun = words.HEADS.get(token, token)
            if noun not in words.COUNTED or token not in words.COUNTED | words.PLURAL_HEADS:
                continue
            before = s.tokens[max(0, i - 3) : i]
            number = next((words.NUMBERS[w] for w in reversed(before) if w in words.NUMBERS), "")
            counted[noun].append(number)
    for noun, numbers in counted.items():
        if len(numbers) >= 3 and len(set(numbers)) == 1 and numbers[0]:
            gathered.add("count", f"How many {noun} are there?", numbers[0], [numbers[0]])
    for one, many in (("dog", "dogs"), ("man", "men"), ("boy", "boys"), ("girl", "girls"),
                      ("woman", "women"), ("horse", "horses")):  # fmt: skip
        single = sum(f" a {one} " in f" {_light(s.tokens)} " for s in sentences)
        if single >= 3 and not any(_MORE & set(s.tokens) for s in sentences):
            gathered.add("count", f"How many {many} are there?", "one", ["one"])


_MORE = (
    words.PLURAL_HEADS
    | words.NUMBERS.keys()
    | frozenset("another other others group crowd team audience several many".split())
)


def _light(tokens: Sequence[str]) -> str:
    """The caption without adjectives, "the" read as "a"."""
    kept = (w for w in tokens if w not in words.COLOURS and w not in words.AGES | {"and", "large"})
    return " ".join("a" if w in ("the", "an", "one") else w for w in kept)


def _games(gathered: _Gathered, sentences: Sequence[Sentence], said: Counter[str]) -> None:
    """What is played: a game or an instrument that two captions name, one of them as played."""
    played: set[str] = set()
    for s in sentences:
        for i, token in enumerate(s.tokens):
            if token in words.GAMES and (
                {"playing", "play", "plays"} & set(s.tokens[max(0, i - 3) : i])
                or (s.tokens[i + 1 : i + 2] or [""])[0] in ("player", "players", "game", "match")
            ):
                played.add(token)
    games = [g for g in played if said[g] >= 2]
    if len(played) != 1 or not games:
        return
    game = games[0]
    instruments = {"guitar", "drums", "accordion", "saxophone", "trumpet", "violin", "piano",
                   "guitars", "cello"}  # fmt: skip
    answer = f"the {game}" if game in instruments else game
    for s in sentences:
        if s.noun and _sure(s, said) and s.subject.split()[-1] in words.PERSON_HEADS:
            be, general = ("are", "people") if s.plural else ("is", "person")
            for noun in {s.noun: None, general: None}:
                gathered.add("object", f"What {be} the {noun} playing?", answer, [game])


def telling(captions: Iterable[Sequence[str]], elsewhere: Iterable[str]) -> tuple[str, ...]:
    """Words of things and people, said of this photograph but not `elsewhere`.

    Args:
        captions: Words of each caption of the photograph.
        elsewhere: Words that would not tell it from the others.
    """
    said = Counter(word for tokens in captions for word in set(tokens))
    known = words.HEADS.keys() | words.COLOURED.keys() | words.PLACES | words.GAMES | words.ING
    skip = set(elsewhere) | words.FUNCTION
    return tuple(w for w, _ in said.most_common() if w in known and w not in skip)
