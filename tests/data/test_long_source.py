"""Long videos for training: what is merged, what passes, and answers that follow from both."""

from __future__ import annotations

from functools import cache
from itertools import groupby, pairwise

import numpy as np
import pytest
from PIL import Image

from vipe.data.clip import Clip, ClipSource, Shot
from vipe.data.long_source import MOST, LongSource
from vipe.data.long_structure import KINDS, RATE
from vipe.data.pictures import pictures
from vipe.data.scene_sampling import sample_scene
from vipe.data.scene_source import SceneSource
from vipe.data.scenes import Scene
from vipe.errors import DataError
from vipe.evaluation.metrics import is_right

STYLES = ("openmoji",)
CLIPS = 60
MANY = {"food": "food", "clothing": "clothing"}


@pytest.fixture(scope="module")
def source() -> LongSource:
    return LongSource(SceneSource(range(800), size=32, styles=STYLES), CLIPS, (8, 2000))


def kind_of(clip: Clip) -> str:
    return next(question.kind for question in clip.questions if question.kind in KINDS)


def in_order(clip: Clip) -> list[Shot]:
    return sorted((*clip.shots, *clip.passing), key=lambda shot: shot.seconds)


@cache
def scene_of(key: str) -> Scene:
    return sample_scene(int(key.rpartition("/")[2]), STYLES)


def things(shot: Shot) -> tuple[str, ...]:
    return scene_of(shot.key).things


def groups(shot: Shot) -> set[str]:
    return {pictures()[name].group for name in things(shot)}


def events(clip: Clip) -> list[Shot]:
    """The shots that show something of the group that is asked about; not of chapters."""
    first = next(question for question in clip.questions if question.kind in KINDS)
    if first.kind == "repeats":
        (group,) = {p.group for p in pictures().values() if f" {p.phrase} " in first.text}
    else:
        (group,) = {p.group for p in pictures().values() if p.phrase == first.answers[0]}
    return [shot for shot in in_order(clip) if group in groups(shot)]


def test_it_is_a_source(source: LongSource) -> None:
    assert isinstance(source, ClipSource)
    assert len(source) == CLIPS
    keys = source.keys()
    assert set(keys) <= set(source.source.keys())
    clips = [source.clip(index) for index in range(CLIPS)]
    assert {shot.key for clip in clips for shot in in_order(clip)} <= set(keys)
    assert {kind_of(clip) for clip in clips} == set(KINDS)
    for clip in clips:
        for shot in in_order(clip):
            there = source.source.shot(scene_of(shot.key)).index
            assert set(shot.index) <= set(there)
    shot = clips[0].shots[0]
    assert len(source.render(shot.key).pixels) > max(shot.index)
    assert source.clip(3) == source.clip(3)
    assert source.clip(3) != source.clip(3, 1)


def test_lengths_are_spread_over_their_logarithm(source: LongSource) -> None:
    lengths = [RATE * source.clip(index).shots[-1].seconds[-1] + 0.5 for index in range(CLIPS)]
    assert min(lengths) >= 8
    assert max(lengths) <= 2000
    assert 0.3 < np.mean(np.array(lengths) < (8 * 2000) ** 0.5) < 0.7


@pytest.mark.parametrize("most", [32, MOST])
def test_whole_shots_are_merged_and_all_others_pass(source: LongSource, most: int) -> None:
    limited = LongSource(source.source, CLIPS, (8, 600), most)
    for index in range(CLIPS):
        clip = limited.clip(index)
        merged = [second for shot in clip.shots for second in shot.seconds]
        frames = round(RATE * (merged[-1] + merged[0]))
        assert merged[0] == 0.5 / RATE
        assert len(merged) <= most
        assert all(one < other for one, other in pairwise(merged))
        shots = in_order(clip)
        assert shots[0] is clip.shots[0]
        assert shots[-1] is clip.shots[-1]
        every = [second for shot in shots for second in shot.seconds]
        assert every == sorted(set(every))
        assert all((second * RATE) % 1 == 0.5 for second in every)
        for shot in shots:
            assert len(shot.seconds) == round(RATE * (shot.seconds[-1] - shot.seconds[0])) + 1
        if frames <= most:
            assert clip.passing == ()
        if not clip.passing:
            assert len(merged) == frames
            continue
        assert len(merged) > most - 16 or len(clip.shots) == 2
        whole = [] if kind_of(clip) == "chapters" else events(clip)
        for shot in clip.passing:
            assert len(shot.seconds) == (4 if shot in whole else 1) or frames < 64
        # Whatever is not there is the rest of shots that pass with one frame: at most 15 frames.
        times = [-0.5 / RATE, *every, (frames + 0.5) / RATE]
        assert max(other - one for one, other in pairwise(times)) * RATE <= 17


def test_an_event_is_merged_as_often_as_other_shots(source: LongSource) -> None:
    even = LongSource(source.source, 200, (300, 300))
    merged: dict[bool, list[bool]] = {True: [], False: []}
    for index in range(len(even)):
        clip = even.clip(index)
        if kind_of(clip) != "chapters":
            asked = events(clip)
            for shot in in_order(clip)[1:-1]:
                merged[shot in asked].append(shot in clip.shots)
    assert len(merged[True]) > 200
    assert abs(np.mean(merged[True]) - np.mean(merged[False])) < 0.06


def test_answers_follow_from_what_is_shown(source: LongSource) -> None:
    for index in range(CLIPS):
        clip = source.clip(index)
        kind, shots = kind_of(clip), in_order(clip)
        length = clip.shots[-1].seconds[-1] + 0.5 / RATE
        if kind == "chapters":
            shown = [name for name, _ in groupby(groups(shot).pop() for shot in shots)]
            assert all(len(groups(shot)) == 1 for shot in shots)
            answers = [q.answers[0] for q in clip.questions if q.kind == kind]
            assert answers == [MANY.get(group, f"{group}s") for group in shown]
            (summary,) = (q.answers[0] for q in clip.questions if q.kind == "summary")
            assert summary == "First {}, then {}, then {}.".format(*answers)
            continue
        asked = events(clip)
        names = [things(shot) for shot in asked]
        assert all(len(of) == 1 for of in names)
        phrases = [pictures()[of[0]].phrase for of in names]
        there = {pictures()[name].phrase for shot in shots for name in things(shot)}
        for question in clip.questions:
            if question.accept:
                assert all(is_right(answer, question.accept) for answer in question.answers)
            if question.kind == "needle":
                assert phrases == [question.answers[0]]
            elif question.kind == "needle presence":
                assert question.accept == ("yes" if question.about in there else "no",)
            elif question.kind == "order":
                assert len(set(phrases)) == 3
                place = phrases.index(question.answers[0])
                about = [i for i, of in enumerate(names) if f"the {of[0]}?" in question.text]
                if about:
                    assert place == about[0] + (1 if " after " in question.text else -1)
                else:
                    assert place == (0 if " first" in question.text else 2)
            elif question.kind == "repeats":
                assert len(set(phrases)) == 1
                words = {1: "once", 2: "twice", 3: "three times", 4: "four times"}
                assert question.answers == (words[len(asked)],)
            elif question.kind == "when":
                assert question.seconds is not None
                assert question.length == length
                (shot,) = (s for s in asked if f" {things(s)[0]} " in question.text)
                assert question.seconds[0] == shot.seconds[0] - 0.5 / RATE
            else:
                assert question.kind == "moment"
                assert length * RATE <= 256
                second = float(question.text.split()[-2])
                half = 0.5 / RATE
                (place,) = (
                    i
                    for i, shot in enumerate(asked)
                    if shot.seconds[0] - half < second < shot.seconds[-1] + half
                )
                assert phrases[place] == question.answers[0]


def test_scenes_before_photographs_are_left_out() -> None:
    scenes = SceneSource(range(800), size=32, styles=STYLES, photographs=[Image.new("RGB", (9, 9))])
    long = LongSource(scenes, 4, (300, 300))
    over = {s for s in scenes.seeds if scenes.scene(s).background.kind == "photograph"}
    seeds = {int(key.rpartition("/")[2]) for key in long.keys()}  # noqa: SIM118
    assert over
    assert not over & seeds
    assert len(seeds) > 500


def test_some_kinds_of_videos_alone(source: LongSource) -> None:
    some = LongSource(source.source, 20, (8, 100), videos=("order", "chapters"))
    assert {kind_of(some.clip(index)) for index in range(20)} == {"order", "chapters"}
    for wrong in ((), ("orders",)):
        with pytest.raises(DataError, match="of the kinds needle, order, repeats, chapters"):
            LongSource(source.source, 20, videos=wrong)


@pytest.mark.parametrize(
    ("scenes", "lengths", "most", "said"),
    [
        (800, (7, 20), 96, "8 frames or more"),
        (800, (20, 8), 96, "8 frames or more"),
        (800, (8, 20), 31, "32 frames or more"),
        (10, (8, 20), 96, "too few"),
    ],
)
def test_bad_settings_are_one_line(
    scenes: int, lengths: tuple[int, int], most: int, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        LongSource(SceneSource(range(scenes), size=32, styles=STYLES), 4, lengths, most)
