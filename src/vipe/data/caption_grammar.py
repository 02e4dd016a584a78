"""Training data: a caption taken apart: its words, its subject and what the subject does.

The grammar is that of a short caption, "SUBJECT [is] VERB-ing OBJECT PLACE". Where a caption has
another shape, or a word could be read in two ways, nothing is found.
"""

# ruff: noqa: SIM905 - words in a row are easier to read and add to than a list of strings
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vipe.data import caption_words as words

MOST_WORDS = 8
_TOKEN = re.compile(r"'s\b|[a-z0-9]+(?:[-'][a-z]+)*|[^\sa-z0-9]")
_SPACED = (
    (" ,", ","),
    (" 's", "'s"),
    (" n't", "n't"),
    (" .", "."),
    (" ;", ";"),
    (" !", "!"),
)
_CLAUSE_END = frozenset(
    "while as whilst and , . ; who that which when where but because with before after "
    'during for " ( - : or it surrounded covered dressed wearing made filled attached overlooking '
    "outside he she they whose".split()
)
_DANGLING = (
    words.DETERMINERS | words.SHADES | words.COLOURS.keys() | words.AGES
    | frozenset(
        "in on at of by to into onto from through next front over along very towards toward "
        "not against behind near inside under its large big being who between each high right tall "
        "so left".split()
    )
)  # fmt: skip
_ADVERBS = frozenset({"happily", "quickly", "playfully", "and", "outside", "who", "that"})
_NOT_BEFORE_ING = frozenset("of for from by with in at like and his her their its about to".split())
_NO_NOUN = (
    words.COLOURS.keys()
    | words.AGES
    | words.NUMBERS.keys()
    | words.SHADES
    | frozenset(
        "large big long front side other something right left top it one each edge middle time "
        "each-other midair view same open full set what way down getting close".split()
    )
)
_NOUNS_LIKE_VERBS = frozenset(
    "bed sled shed seed weed waterbed building buildings railing ceiling clothing swing ring wing "
    "string king painting spring wing awning wedding opening crossing bedding carving".split()
)
_NEEDS_DETERMINER = words.HEADS.keys() | {"ball", "bench", "bike", "camera"}


def normalise(caption: str) -> str:
    """Lower case, single spaces, punctuation joined to its word, no full stop at the end."""
    text = " ".join(caption.lower().split()).rstrip(" .!;,")
    for spaced, joined in _SPACED:
        text = text.replace(spaced, joined)
    return text


def tokenise(caption: str) -> list[str]:
    """Words and punctuation; two words that mean something of their own become one, "hot_dog"."""
    out: list[str] = []
    for token in _TOKEN.findall(caption.lower()):
        if out and (joined := words.COMPOUNDS.get(f"{out[-1]} {token}")):
            out[-1] = joined
        else:
            out.append(token)
    return out


def spell(tokens: Iterable[str]) -> str:
    """Words in a row, joined ones apart again."""
    return " ".join(tokens).replace("_", " ").replace(" 's", "'s")


@dataclass(slots=True)
class Sentence:
    """A caption taken apart.

    Attributes:
        tokens: Its words and punctuation marks.
        noun: The subject as a question names it ("man", "dogs", "people"); empty if not found.
        subject: The subject with its light modifiers ("a young man", "two dogs").
        heads: The nouns of the subject as the caption says them.
        plural: Whether the subject is more than one.
        start: Where the subject ends and what it does begins.
        stop: Where the next person or animal is mentioned: up to there the subject acts alone.
        verbs: (position, -ing form) of each verb of the subject.
    """

    tokens: list[str]
    noun: str = ""
    subject: str = ""
    heads: tuple[str, ...] = ()
    plural: bool = False
    start: int = 0
    stop: int = 0
    verbs: list[tuple[int, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Head:
    """A noun phrase with a person or an animal: where it ends, and what it says."""

    end: int
    noun: str
    words: list[str]


def parse(caption: str) -> Sentence:
    """Finds the subject of a caption and its verbs; `noun` stays empty where unsure."""
    tokens = tokenise(caption)
    if tokens[:2] in (["there", "is"], ["there", "are"]):
        tokens = tokens[2:]
    sentence = Sentence(tokens)
    first = _head(tokens, 0)
    if first is None:
        return sentence
    sentence.heads, sentence.start = (first.noun,), first.end
    sentence.noun, sentence.plural = words.HEADS[first.noun], first.noun in words.PLURAL_HEADS
    sentence.subject = spell(first.words)
    if tokens[first.end : first.end + 1] == ["and"] and (second := _head(tokens, first.end + 1)):
        sentence.heads, sentence.start = (first.noun, second.noun), second.end
        sentence.subject = spell([*first.words, "and", *second.words])
        sentence.noun, sentence.plural = _together(first.noun, second.noun), True
    sentence.stop = next(
        (
            i
            for i in range(sentence.start, len(tokens))
            if tokens[i] in words.HEADS or tokens[i] in ("another", "others")
        ),
        len(tokens),
    )
    sentence.verbs = list(_verbs(sentence))
    return sentence


def _together(first: str, second: str) -> str:
    """What a question calls two subjects: "people", "dogs", "man and the dog"."""
    if {first, second} <= words.PERSON_HEADS:
        return "people"
    nouns = [words.HEADS[first], words.HEADS[second]]
    if nouns[0] == nouns[1]:
        return nouns[0] if first in words.PLURAL_HEADS else f"{nouns[0]}s"
    return " and the ".join(nouns)


def _head(tokens: Sequence[str], at: int) -> _Head | None:
    """The noun phrase at `at`, if its noun is a person or an animal."""
    determiner: list[str] = []
    if at < len(tokens) and tokens[at] in words.DETERMINERS | {"several", "many"}:
        determiner = [words.NUMBERS.get(tokens[at], tokens[at])]
        at += 1
    if determiner and at < len(tokens) and tokens[at] in words.GROUPS:
        group = _head(tokens, at + 2) if tokens[at + 1 : at + 2] == ["of"] else None
        if group and group.noun in words.PLURAL_HEADS:
            return _Head(group.end, group.noun, [*determiner, tokens[at], "of", *group.words])
        if tokens[at] != "couple":
            return None
    ages: list[str] = []
    for i in range(at, min(at + 6, len(tokens))):
        token = tokens[i]
        following = tokens[i + 1] if i + 1 < len(tokens) else "."
        if token in words.HEADS and following not in words.HEADS | words.ANIMALS:
            plural = token in words.PLURAL_HEADS
            if following in words.ING_NOUNS | {"'s"} or (not determiner and not plural):
                return None
            if determiner and determiner[0] in ("the", "his", "her", "their", "its", "some"):
                determiner = []
            if not determiner and not plural:
                determiner = ["a"]
            if determiner in (["a"], ["an"]):
                vowel = [*ages, token][0][0] in "aeiou"
                determiner = ["an" if vowel else "a"]
            return _Head(i + 1, token, [*determiner, *ages, token])
        if token in words.FUNCTION and token not in ("and", ","):
            return None
        if token in words.AGES:
            ages.append(token)
    return None


def _verbs(sentence: Sentence) -> Iterable[tuple[int, str]]:
    """The verbs between the subject and whoever is mentioned next."""
    tokens = sentence.tokens
    for i in range(sentence.start, sentence.stop):
        token, before = tokens[i], tokens[i - 1]
        following = tokens[i + 1] if i + 1 < len(tokens) else "."
        first = i == sentence.start or before in _ADVERBS
        described = before in words.DETERMINERS or before in words.COLOURS
        if token in words.ING:
            adjective = token in words.ADJECTIVE_ING and following in words.ING_NOUNS
            if not (adjective or described or before in _NOT_BEFORE_ING):
                yield i, token
        elif sentence.plural and token in words.BASE and first:
            yield i, words.BASE[token]
        elif not sentence.plural and token in words.THIRD:
            noun = described or before in words.FUNCTION or before in words.ING
            if first or not (noun or before in words.THIRD):
                yield i, words.THIRD[token]


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
    body = i
    while i < len(tokens) and tokens[i] not in words.FUNCTION:
        if tokens[i] in words.ING or tokens[i].endswith("ly"):
            following = tokens[i + 1] if i + 1 < len(tokens) else "."
            if not (tokens[i] in words.ADJECTIVE_ING and following in words.ING_NOUNS):
                break
        if i > body and tokens[i] in words.FINITE:
            break
        phrase.append(tokens[i])
        i += 1
        if i - body > 4:
            return None
    if i == body or phrase[-1] in _NO_NOUN or tokens[i : i + 1] == ["'s"]:
        return None
    if len(phrase) == i - body and phrase[-1] in _NEEDS_DETERMINER:
        return None
    if any(w in words.HEADS for w in phrase[:-1]) or phrase[-1] in words.FINITE:
        return None
    if phrase[-1].endswith(("ed", "ing")) and phrase[-1] not in _NOUNS_LIKE_VERBS:
        return None
    if tokens[i : i + 1] == ["of"]:
        more = noun_phrase(tokens, i + 1)
        if more is None or len(phrase) + len(more[0]) > 6:
            return None
        return [*phrase, "of", *more[0]], more[1]
    return phrase, i


def action(sentence: Sentence) -> list[str]:
    """What the subject does: an -ing phrase of at most eight words; empty where unsure."""
    for at, verb in sentence.verbs:
        if verb in words.STATIVE:
            continue
        tokens = [verb]
        for token in sentence.tokens[at + 1 :]:
            joined = token == "with" and tokens[-1] in ("playing", "fighting", "talking")
            if token in ("-", "covered") and tokens[-1] not in words.FUNCTION:
                return []
            if token in _CLAUSE_END and not joined:
                break
            if token in words.ING and len(tokens) > 2 and token not in words.ADJECTIVE_ING:
                break
            if token in words.FINITE and tokens[-1] not in words.FUNCTION:
                break
            tokens.append(token)
        while len(tokens) > MOST_WORDS:
            cut = max((i for i, t in enumerate(tokens) if t in words.PREPOSITIONS), default=0)
            tokens = tokens[:cut]
        while tokens and tokens[-1] in _DANGLING:
            tokens.pop()
        return [] if {"is", "are", "'s", "'"} & set(tokens) or tokens == ["doing"] else tokens
    return []


def clause(sentence: Sentence) -> str:
    """The caption as a short clause, "a man is riding a bike"; empty where unsure."""
    done = action(sentence) if sentence.noun else []
    if not done:
        return ""
    return f"{sentence.subject} {'are' if sentence.plural else 'is'} {spell(done)}"


def content(phrase: Sequence[str]) -> list[str]:
    """The words of a phrase of which any one shows that it was understood."""
    skip = words.FUNCTION | words.DETERMINERS | _NO_NOUN
    found: list[str] = []
    for token in phrase:
        if "_" in token:
            found.append(spell([token]))
        elif token not in skip and len(token) > 2:
            found += [token, *([words.INFINITIVE[token]] if token in words.INFINITIVE else [])]
    return found
