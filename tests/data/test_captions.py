from __future__ import annotations

import random
from collections import Counter

import pytest

from vipe.data.caption_grammar import action, clause, normalise, noun_phrase, parse, tokenise
from vipe.data.caption_things import THINGS
from vipe.data.caption_words import BASE, COLOURS, THIRD
from vipe.data.captions import questions, telling
from vipe.data.presence import Presence, things_in

THING = {thing.name: number for number, thing in enumerate(THINGS)}


def asked(*captions: str) -> dict[str, tuple[str, ...]]:
    return {q.text: q.answers for q in questions([parse(c) for c in captions])}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("A man sits .", "a man sits"),
        ("two girls sit", "two girls sit"),
        ("By the water 's edge , a dog .", "by the water's edge, a dog"),
        ("  Dog   RUNS !", "dog runs"),
    ],
)
def test_normalise(raw: str, expected: str) -> None:
    assert normalise(raw) == expected
    assert normalise(expected) == expected


def test_joined_words_are_one_token() -> None:
    assert tokenise("A man eats a hot dog .") == ["a", "man", "eats", "a", "hot_dog", "."]
    assert things_in([tokenise("A man eats a hot dog ."), tokenise("A hot dog")])[0].keys() == {
        THING["a person"],
        THING["food"],
    }


@pytest.mark.parametrize(
    ("caption", "noun", "subject", "done"),
    [
        ("A brown dog runs through the snow .", "dog", "a dog", "running through the snow"),
        ("Two young boys are playing soccer .", "boys", "two young boys", "playing soccer"),
        ("The man in a red shirt jumps over a fence .", "man", "a man", "jumping over a fence"),
        ("A group of people walk down a street .", "people", "a group of people",
         "walking down a street"),
        ("A man and a woman are dancing .", "people", "a man and a woman", "dancing"),
        ("A boy and his dog are running .", "boy and the dog", "a boy and a dog", "running"),
        ("A black dog and a white dog fight .", "dogs", "a dog and a dog", "fighting"),
        ("An old woman wearing a hat is reading a book", "woman", "an old woman",
         "reading a book"),
        ("A child sits on a bench while a dog barks .", "child", "a child", "sitting on a bench"),
    ],
)  # fmt: skip
def test_subject_and_action(caption: str, noun: str, subject: str, done: str) -> None:
    sentence = parse(caption)
    assert (sentence.noun, sentence.subject) == (noun, subject)
    assert " ".join(action(sentence)) == done
    assert clause(sentence) in (f"{subject} is {done}", f"{subject} are {done}")


@pytest.mark.parametrize(
    "caption",
    [
        "An adult duck stands on a rock .",  # "adult" is no noun here
        "A dog 's mouth opens .",
        "Snow on a hill .",
        "In the park .",
        "Dog on a leash",  # without an article it is not clear what the head is
        "",
    ],
)
def test_no_subject_where_unsure(caption: str) -> None:
    assert parse(caption).noun == ""
    assert clause(parse(caption)) == ""


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("a red ball in his mouth", "a red ball"),
        ("a pair of skis", "a pair of skis"),
        ("a swimming pool", "a swimming pool"),
        ("snow", "snow"),
        ("a pink shirt spins", "a pink shirt"),
        ("the army clothes run", "the army clothes"),
        ("a sidewalk coloring", None),
        ("a red", None),
        ("ball", None),
        ("a man 's hat", None),
        ("the", None),
    ],
)
def test_noun_phrase(text: str, phrase: str | None) -> None:
    found = noun_phrase(tokenise(text), 0)
    assert (" ".join(found[0]) if found else None) == phrase


def test_questions_about_a_man_with_a_ball() -> None:
    found = asked(
        "A man in a red shirt is playing with a ball on the beach .",
        "A man plays with a ball .",
        "The man is standing on the sand .",
        "A man wearing a red shirt runs .",
        "A man holds a big ball .",
    )
    assert found["What is the man playing with?"] == ("a ball",)
    assert found["What is the person doing?"][0] == "playing with a ball on the beach"
    assert "a red shirt" in found["What is the man wearing?"]
    assert found["What is the man holding?"] == ("a big ball",)
    assert found["What is the man standing on?"] == ("the sand",)
    assert found["Where is the man?"] == ("on the beach", "on the sand")
    assert found["What color is the shirt?"] == ("red",)
    assert found["Who is in the video?"] == ("a man",)
    assert found["How many men are there?"] == ("one",)
    assert set(found["What is in the video?"]) == {"a man", "a man and a ball", "a man and sand"}
    assert "What animal is in the video?" not in found


def test_animal_needs_two_captions_and_no_other() -> None:
    text = "What animal is in the video?"
    assert asked("A dog runs .", "A puppy runs .")[text] == ("a dog",)
    assert text not in asked("A dog runs .", "Something runs .")
    assert text not in asked("A dog runs .", "A dog and a cat run .")
    assert text not in asked("A dog statue .", "A dog made of stone .")
    assert text not in asked("A man eats a hot dog .", "A hot dog .")


@pytest.mark.parametrize(
    ("captions", "text", "answers"),
    [
        (["A red car .", "A car ."], "What color is the car?", ("red",)),
        (["A red car .", "A blue car ."], "What color is the car?", None),
        (["A brown dog .", "A tan dog ."], "What color is the dog?", ("brown", "tan")),
        (["A black and white dog .", "A black dog ."], "What color is the dog?",
         ("black and white",)),
        (["Two dogs .", "A black dog and another dog ."], "What color is the dog?", None),
        (["Three red cups on a table ."], "What color are the cups?", ("red",)),
        (["A girl in pink , with a dog ."], "What color is the dog?", None),
        (["A light blue plaid shirt ."], "What color is the shirt?", ("blue",)),
    ],
)  # fmt: skip
def test_colour_only_where_captions_agree(
    captions: list[str], text: str, answers: tuple[str, ...] | None
) -> None:
    assert asked(*captions).get(text) == answers


def test_counts_only_where_captions_agree() -> None:
    two = ["Two dogs run .", "Two brown dogs play .", "Two dogs in snow ."]
    assert asked(*two)["How many dogs are there?"] == ("two",)
    assert "How many dogs are there?" not in asked(*two, "Three dogs run .")
    assert "How many dogs are there?" not in asked(*two, "The dogs run .")
    assert "How many dogs are there?" not in asked(*two[:2])


def test_what_is_played() -> None:
    found = asked(
        "Two men are playing basketball .", "Men play a game of basketball .", "A basketball game ."
    )
    assert found["What are the people playing?"] == ("basketball",)
    assert found["What are the men playing?"] == ("basketball",)
    guitar = asked("A man plays a guitar .", "A man is playing the guitar .")
    assert guitar["What is the man playing?"] == ("the guitar",)


def test_one_caption_alone_names_no_subject() -> None:
    found = asked("A boy runs on grass .", "A girl runs on grass .", "A girl plays .")
    assert "What is the girl doing?" in found
    assert "What is the boy doing?" not in found


def test_synonyms_and_hints_forbid_no() -> None:
    said, hinted = things_in([tokenise("A puppy swims ."), tokenise("A wet dog in a lake .")])
    assert {THING["a dog"], THING["an animal"], THING["water"]} <= said.keys()
    assert said.keys() <= hinted
    # A body of water may or may not have a beach; that is not asked with "no".
    assert THING["a river"] in hinted
    assert THING["a river"] not in said
    assert THING["a car"] not in hinted
    # "People" may be men.
    _, hinted = things_in([tokenise("People eat .")])
    assert THING["a man"] in hinted


def test_presence_is_balanced_even_where_most_photographs_show_a_thing() -> None:
    rng = random.Random(1)
    kinds = ["A dog runs .", "A man is standing .", "A woman sits on a bench .", "A red car ."]
    captions = [
        [tokenise(c) for c in [rng.choices(kinds, (2, 6, 2, 1))[0]] * 2] for _ in range(400)
    ]
    presence = Presence(captions)
    for rows in (1, 2):
        answers: dict[str, Counter[str]] = {}
        for _ in range(3000):
            for q in presence.questions(rng.sample(range(400), rows), rng):
                answers.setdefault(q.text.split(" in ")[0], Counter())[q.answers[0]] += 1
        assert len(answers) > 4
        total = sum(answers.values(), Counter())
        assert 0.45 < total["yes"] / total.total() < 0.55
        for text, found in answers.items():
            if found.total() > 150:
                assert 0.35 < found["yes"] / found.total() < 0.65, (text, rows, found)


def test_presence_contradicts_no_caption() -> None:
    captions = [[tokenise("A dog runs on grass .")] * 2, [tokenise("A man swims .")] * 2]
    presence = Presence(captions)
    rng = random.Random(0)
    for _ in range(300):
        for q in presence.questions([0, 1], rng):
            thing = next(t for t in THINGS if t.name in q.text)
            words = {w for found in captions for tokens in found for w in tokens}
            assert (q.answers == ("yes",)) == bool(thing.said & words), q
            assert q.accept == q.answers


def test_presence_of_nothing_asks_nothing_with_yes() -> None:
    presence = Presence([[tokenise("Something .")], [tokenise("Nothing .")]])
    assert presence.questions([0], random.Random(0)) == []


def test_telling_words() -> None:
    here = [tokenise("A dog runs in the snow ."), tokenise("A dog plays .")]
    assert telling(here, tokenise("A man in the snow .")) == ("dog",)


def test_real_answers_follow_from_captions(captions: list[list[str]]) -> None:
    """Every answer is short, and its content is in some caption (or is a word for it)."""
    allowed = {"one", "and", "a", "an", "the", *COLOURS.values()}
    for found in captions[:300]:
        sentences = [parse(c) for c in found]
        words = {w for s in sentences for t in s.tokens for w in t.split("_")}
        acts = {ing for w in words for ing in (THIRD.get(w), BASE.get(w)) if ing}
        stems = {w[:3] for w in words | acts}
        for q in questions(sentences):
            assert q.accept
            assert q.answers
            for answer in q.answers:
                assert 1 <= len(answer.split()) <= 8
                assert any(word in answer for word in q.accept) or "in the video" in q.text
                if q.kind in ("action", "where", "object", "who") and "in the video" not in q.text:
                    odd = [w for w in answer.split() if w not in allowed and w[:3] not in stems]
                    assert not odd, (answer, found)


def test_real_presence_is_balanced_for_every_thing(captions: list[list[str]]) -> None:
    presence = Presence([[tokenise(c) for c in found] for found in captions])
    rng = random.Random(2)
    names = sorted((thing.name for thing in THINGS), key=len, reverse=True)
    for rows in (1, 2):
        answers = {name: Counter[str]() for name in names}
        for _ in range(2500):
            for q in presence.questions(rng.sample(range(len(captions)), rows), rng):
                answers[next(n for n in names if n in q.text)][q.answers[0]] += 1
        total = sum(answers.values(), Counter())
        assert 0.45 < total["yes"] / total.total() < 0.55
        assert sum(found.total() > 150 for found in answers.values()) >= 6
        for name, found in answers.items():
            if found.total() > 150:
                assert 0.35 < found["yes"] / found.total() < 0.65, (name, rows, found)


def test_real_captions_are_rich_in_every_kind(captions: list[list[str]]) -> None:
    kinds = Counter(q.kind for c in captions[:250] for q in questions([parse(s) for s in c]))
    for kind, least in {"object": 1.2, "action": 1.0, "where": 0.6, "who": 0.5, "colour": 0.4,
                        "count": 0.1, "animal": 0.15}.items():  # fmt: skip
        assert kinds[kind] / 250 > least, kinds


@pytest.fixture(scope="module")
def captions(request: pytest.FixtureRequest) -> list[list[str]]:
    from vipe.data.photograph_tars import PhotographTars

    folder = request.getfixturevalue("shared_data")
    return [list(c) for c in PhotographTars([folder / "flickr8k" / "val-000.tar"]).captions]
