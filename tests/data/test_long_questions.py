"""Questions about long videos: evaluation's stay what they are, training's are worded variously."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict

from numpy.random import default_rng

from vipe.data.long_questions import MOMENTS, ask_long, questions_of
from vipe.data.long_scenes import sample_long
from vipe.data.pictures import pictures
from vipe.evaluation.metrics import is_right

STYLES = ("openmoji", "fluent")
VIDEOS = [sample_long(seed, 64, STYLES) for seed in range(12)]


def test_what_evaluation_asks_stays() -> None:
    """Who changes it raises `long_structure.VERSION`, and this."""
    rows = [row for seed in range(8) for row in ask_long(sample_long(seed, 64, STYLES))]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == "b4daf8a82f0767cd"


def test_training_asks_what_evaluation_does_in_more_words() -> None:
    for video in VIDEOS:
        rows = ask_long(video)
        texts = defaultdict(set)
        for number in range(12):
            questions = questions_of(video, default_rng(number))
            assert questions == questions_of(video, default_rng(number))
            asked = [q for q in questions if q.kind != "needle presence"]
            assert [(q.kind, q.accept) for q in asked] == [
                (row["kind"], tuple(row.get("accept", ())))
                for row in rows
                if row["kind"] != "needle presence"
            ]
            for question in questions:
                texts[question.kind].add(question.text)
                assert "{" not in question.text
                assert question.answers
                if question.accept:
                    assert all(is_right(answer, question.accept) for answer in question.answers)
        for kind, found in texts.items():
            assert len(found) > Counter(row["kind"] for row in rows)[kind]


def test_yes_is_as_frequent_as_no_in_every_group() -> None:
    for video in VIDEOS:
        if video.kind != "needle":
            continue
        shown = {name for part in video.parts for name in part.scene.things}
        phrases = {pictures()[name].phrase for name in shown}
        for number in range(8):
            questions = questions_of(video, default_rng(number))
            presence = [q for q in questions if q.kind == "needle presence"]
            assert len({q.about for q in presence}) == len(presence) == 6
            groups = {p.phrase: p.group for p in pictures().values()}
            answers: dict[bool, list[str]] = defaultdict(list)
            for question in presence:
                assert question.accept == ("yes" if question.about in phrases else "no",)
                answers[groups[question.about] in video.groups] += question.accept
            assert sorted(answers[True]) == ["no", "yes"]
            assert sorted(answers[False]) == ["no", "no", "yes", "yes"]


def test_what_is_seen_in_some_frames_alone_is_not_asked_for() -> None:
    """A sequence shows its things one after another: a frame of it does not show all."""
    for seed in range(0, 40, 4):
        video = sample_long(seed, 64, STYLES)
        sure = {n for p in video.parts if p.scene.kind != "sequence" for n in p.scene.things}
        for question in questions_of(video, default_rng(seed)):
            if question.kind == "needle presence" and question.accept == ("yes",):
                assert question.about in {pictures()[name].phrase for name in sure}


def test_moments_are_asked_for_of_short_videos_alone() -> None:
    for seed in (0, 1):
        kinds = [
            {q.kind for q in questions_of(sample_long(seed, length, STYLES), default_rng(0))}
            for length in (MOMENTS, MOMENTS + 1)
        ]
        assert kinds[0] - kinds[1] == {"moment"}
        assert "when" in kinds[1]


def test_answers_are_short() -> None:
    answers = {
        kind: {a for video in VIDEOS for q in questions_of(video, default_rng(1)) if q.kind == kind
               for a in q.answers}
        for kind in ("repeats", "chapters", "when")
    }  # fmt: skip
    assert answers["repeats"] <= {"once", "twice", "three times", "four times"}
    assert answers["chapters"] <= {"animals", "vehicles", "food", "clothing", "instruments"}
    assert all(a.startswith("at ") and a.endswith(" seconds") for a in answers["when"])
