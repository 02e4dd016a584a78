"""Two scenes as two videos: what is asked of which, and where the second begins."""

from __future__ import annotations

from collections import Counter

import pytest

from vipe.data.scene_pairs import KIND, ScenePairs
from vipe.data.scene_source import SceneSource
from vipe.errors import DataError
from vipe.evaluation.metrics import is_right


@pytest.fixture(scope="module")
def source() -> ScenePairs:
    return ScenePairs(SceneSource(range(40), size=32, styles=("openmoji",)), 30)


def test_questions_follow_from_which_video_shows_what(source: ScenePairs) -> None:
    short: Counter[str] = Counter()
    for index in range(30):
        clip = source.clip(index)
        assert clip == source.clip(index)
        (cut,) = clip.cuts
        assert cut == len(clip.shots[0].index)
        share = cut / sum(len(shot.index) for shot in clip.shots)
        first = {one.thing for one in clip.sightings if one.end <= share + 1e-9}
        second = {one.thing for one in clip.sightings if one.start >= share - 1e-9}
        assert first
        assert second
        assert len(first | second) == len({one.thing for one in clip.sightings})
        for question in clip.questions:
            assert question.kind == KIND
            assert all(is_right(answer, question.accept) for answer in question.answers)
            shown = {"first": first, "second": second}
            which = next((name for name in shown if f"the {name} video" in question.text), None)
            if question.text.startswith("Which video shows"):
                thing = question.text.removeprefix("Which video shows ").removesuffix("?")
                assert question.accept == ("first",) if thing in first else ("second",)
            elif question.text.startswith(("Is there", "Are there")):
                thing = question.text.split("there ", 1)[1].split(" in ")[0]
                there = shown[which] if which else first | second
                assert question.answers[0] == ("yes" if thing in there else "no")
                short[question.answers[0]] += 1
            elif question.text.startswith("What is in"):
                assert which is not None
                assert all(is_right(thing, question.accept) for thing in shown[which])
    assert short["yes"] == short["no"] > 60


def test_too_few_are_refused() -> None:
    with pytest.raises(DataError, match="3 scenes are too few"):
        ScenePairs(SceneSource(range(3)), 5)
