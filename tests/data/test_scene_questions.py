import re
from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipe.data.pictures import confusable, pictures
from vipe.data.scene_questions import KINDS, ask
from vipe.data.scene_sampling import drawable_over_photographs, sample_scene
from vipe.evaluation.metrics import is_right

SEEDS = st.integers(0, 2_000_000)
EPOCHS = st.integers(0, 3)
NUMBERS = ("zero", "one", "two", "three", "four", "five")


@cache
def many():
    """(scene, question) of five hundred scenes."""
    scenes = [sample_scene(seed) for seed in range(500)]
    return [(scene, question) for scene in scenes for question in ask(scene)]


def shown(scene):
    return {actor.name for actor in scene.actors}


def actor_in(scene, text):
    """The actor whose name a question says (the longest, should one name be within another)."""
    found = [a for a in scene.actors if re.search(rf"\bthe {re.escape(a.name)}\b", text)]
    assert found, text
    return max(found, key=lambda actor: len(actor.name))


@given(SEEDS, EPOCHS)
def test_questions_are_whole(seed, epoch):
    scene = sample_scene(seed)
    questions = ask(scene, epoch)
    assert questions == ask(scene, epoch)
    assert 4 <= len(questions) <= 24
    for question in questions:
        assert question.kind in KINDS
        assert question.answers
        assert question.accept
        assert "{" not in question.text + "".join(question.answers)
        assert question.text[0].isupper()
        assert question.text.endswith((".", "?"))
        assert all(is_right(answer, question.accept) for answer in question.answers)
    texts = Counter(question.text for question in questions)
    assert texts.most_common(1)[0][1] == 1, texts.most_common(1)


def test_answers_are_short_but_for_descriptions():
    for _, question in many():
        limit = 22 if question.kind == "description" else 12
        assert all(len(answer.split()) <= limit for answer in question.answers), question


def test_every_kind_is_asked_often():
    counts = Counter(question.kind for _, question in many())
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 80
    assert 6 <= sum(counts.values()) / 500 <= 12


def test_yes_is_as_frequent_as_no():
    answers = Counter(q.accept[0] for _, q in many() if q.kind == "presence")
    assert answers["yes"] == answers["no"]
    assert set(answers) == {"yes", "no"}


def test_the_wording_does_not_give_yes_or_no_away():
    """Each way of asking is about as often right as wrong."""
    ways = Counter()
    for _, question in many():
        if question.kind == "presence":
            ways[" ".join(question.text.split()[:2]), question.accept[0]] += 1
    for (way, _), _ in ways.items():
        total = ways[way, "yes"] + ways[way, "no"]
        if total > 100:
            assert ways[way, "yes"] / total == pytest.approx(0.5, abs=0.12), way


@given(SEEDS, EPOCHS, st.booleans())
def test_presence_is_true(seed, epoch, over):
    scene = sample_scene(seed, with_photographs=over)
    for question in ask(scene, epoch):
        if question.kind != "presence":
            continue
        (answer,) = question.accept
        named = [
            p for p in pictures().values() if re.search(rf"\b{re.escape(p.name)}\b", question.text)
        ]
        if not named:  # a whole group of things
            (group,) = (g for g in ("animal", "vehicle") if g in question.text)
            groups = {pictures()[name].group for name in shown(scene)}
            assert (group in groups) == (answer == "yes")
            continue
        picture = max(named, key=lambda p: len(p.name))
        assert (picture.name in shown(scene)) == (answer == "yes")
        if answer == "no":
            assert not any(confusable(picture, pictures()[name]) for name in shown(scene))
            if scene.background.kind == "photograph":
                assert drawable_over_photographs(picture)


def test_names_are_of_what_is_shown():
    for scene, question in many():
        if question.kind == "name":
            words = {word for name in shown(scene) for word in pictures()[name].words}
            assert set(question.accept) <= words
            if " at the " in question.text or " in the " in question.text.replace("the video", ""):
                place = question.text.split(" the ")[-1].rstrip("?").removesuffix(" corner")
                (actor,) = [a for a in scene.actors if a.place == place]
                assert question.accept[0] == actor.name


def test_directions_agree_with_the_path():
    for scene, question in many():
        if question.kind == "direction":
            actor = actor_in(scene, question.text)
            dx, dy = actor.end.x - actor.start.x, actor.end.y - actor.start.y
            if abs(dx) > abs(dy):
                truth = "right" if dx > 0 else "left"
            else:
                truth = "down" if dy > 0 else "up"
            assert question.accept[0] == truth
            assert all(truth in answer for answer in question.answers)


def test_motions_agree_with_the_path():
    for scene, question in many():
        if question.kind == "motion":
            actor = actor_in(scene, question.text)
            one, other = actor.start, actor.end
            changes = {
                "grow": other.size > one.size,
                "shrink": other.size < one.size,
                "turn": other.angle != one.angle,
                "move": (other.x, other.y) != (one.x, one.y),
                "still": one == other,
            }
            (truth,) = [name for name, true in changes.items() if true]
            assert truth in question.answers[0]
            if truth == "still":
                assert scene.frames >= 4


def test_counts_agree_with_the_scene():
    seen = set()
    for scene, question in many():
        if question.kind == "count":
            things = [
                p
                for p in pictures().values()
                if p.plural and f" {p.plural} " in question.text.replace("?", " ")
            ]
            name = max(things, key=lambda p: len(p.plural)).name
            count = sum(actor.name == name for actor in scene.actors)
            assert question.accept == (str(count), NUMBERS[count])
            seen.add(count)
    assert seen == {1, 2, 3, 4, 5}


def test_order_agrees_with_the_scene():
    for scene, question in many():
        if question.kind != "order":
            continue
        order = [a.name for a in sorted(scene.actors, key=lambda actor: actor.appears)]
        if " first" in question.text:
            truth = order[0]
        elif " last" in question.text:
            truth = order[-1]
        else:
            step = 1 if " after " in question.text else -1
            truth = order[order.index(actor_in(scene, question.text).name) + step]
        assert question.accept == pictures()[truth].words
        assert question.answers == (pictures()[truth].phrase,)


def test_places_and_backgrounds_agree_with_the_scene():
    for scene, question in many():
        if question.kind == "place":
            actor = actor_in(scene, question.text)
            assert question.accept[0] == actor.place
            assert actor.start == actor.end
            row, side = actor.start.y, actor.start.x
            for word, true in {
                "left": side < 0.35,
                "right": side > 0.65,
                "top": row < 0.35,
                "bottom": row > 0.65,
            }.items():
                assert (word in question.accept[0]) == true
        if question.kind == "background":
            assert question.answers == (scene.background.name,)


def test_no_color_is_asked_of_what_has_none():
    for scene, question in many():
        if question.kind == "background":
            assert scene.background.kind in ("plain", "gradient")
    over = [sample_scene(seed, with_photographs=True) for seed in range(200)]
    over = [scene for scene in over if scene.background.kind == "photograph"]
    assert over
    for scene in over:
        assert "background" not in {question.kind for question in ask(scene)}


def test_descriptions_name_everything():
    for scene, question in many():
        if question.kind == "description":
            (sentence,) = question.answers
            assert sentence.endswith(".")
            for name in shown(scene):
                picture = pictures()[name]
                assert name in sentence.lower() or picture.plural in sentence.lower()
            if scene.background.name:
                assert f"{scene.background.name} background" in sentence


def test_verbs_agree_with_their_nouns():
    for scene, question in many():
        if question.kind in ("direction", "place"):
            picture = pictures()[actor_in(scene, question.text).name]
            plural = bool(re.search(r"\b(are|do) the ", question.text))
            assert plural == picture.many, question.text
