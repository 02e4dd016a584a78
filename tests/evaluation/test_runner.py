"""The runner: every row answered as alone, every video seen once, what is missing found first."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import media
from vipe import Decoding, PerceptualWeights, ViPE
from vipe.errors import VideoError
from vipe.evaluation import runner
from vipe.evaluation.rows import Row
from vipe.evaluation.runner import evaluate

QUESTIONS = [
    ("What is it?", "object"),
    ("Is there a dog in the video, or is it something else that runs?", "existence"),
    ("Describe the video.", "caption"),
    ("Why?", "object"),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Four questions about each of three clips, the clips taking turns."""
    folder = tmp_path_factory.mktemp("clips")
    clips = [media.video(folder / f"{n}.mp4", frames=n, key_every=4) for n in (5, 12, 30)]
    return [
        Row(video=clip, question=question, kind=kind, accept=("yes",))
        for question, kind in QUESTIONS
        for clip in clips
    ]


class Seen(Counter[str]):
    """Counts what a model sees, and with which settings."""

    def __init__(self, model: ViPE, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.settings: list[dict[str, Any]] = []
        see = model.see

        def counted(video: Path, **settings: Any) -> PerceptualWeights:
            self[video.name] += 1
            self.settings.append(settings)
            return see(video, **settings)

        monkeypatch.setattr(model, "see", counted)


@pytest.mark.parametrize(("batch", "pool"), [(24, 96), (5, 5), (3, 7), (1, 1)])
def test_each_answer_is_the_one_given_alone_and_each_video_is_seen_once(
    tiny_vipe: ViPE,
    rows: list[Row],
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    pool: int,
) -> None:
    short = Decoding(max_new_tokens=6)
    alone = [tiny_vipe.ask(tiny_vipe.see(row.video), row.question, decoding=short) for row in rows]
    assert len(set(alone)) > 1
    seen = Seen(tiny_vipe, monkeypatch)
    monkeypatch.setattr(runner, "BATCH", batch)
    monkeypatch.setattr(runner, "POOL", pool)
    reports: list[tuple[int, int]] = []

    results = evaluate(
        tiny_vipe,
        rows,
        max_new_tokens=6,
        progress=lambda done, total: reports.append((done, total)),
    )

    assert results.answers == alone
    assert results.rows == rows
    assert seen == {"5.mp4": 1, "12.mp4": 1, "30.mp4": 1}
    assert reports[0] == (0, 15)
    assert reports[-1] == (15, 15)
    assert reports == sorted(reports)


def test_captions_are_searched_for_and_other_answers_are_not(
    tiny_vipe: ViPE, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = [
        replace(row, accept=(), references=("a dog",)) for row in rows if row.kind == "caption"
    ]
    asked = [*captions, *(row for row in rows if row.kind != "caption")]
    alone = [
        tiny_vipe.ask(
            tiny_vipe.see(row.video),
            row.question,
            decoding=Decoding(max_new_tokens=6, num_beams=4, length_penalty=0.0)
            if row.references
            else Decoding(max_new_tokens=6),
        )
        for row in asked
    ]
    for batch in (24, 5, 3):
        monkeypatch.setattr(runner, "BATCH", batch)
        assert evaluate(tiny_vipe, asked, max_new_tokens=6, beams=4).answers == alone
    greedy = evaluate(tiny_vipe, asked, max_new_tokens=6, beams=1).answers
    assert greedy[len(captions) :] == alone[len(captions) :]
    assert greedy != alone


def test_settings_reach_the_video(
    tiny_vipe: ViPE, rows: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(tiny_vipe, monkeypatch)
    evaluate(tiny_vipe, rows[:1], frames=2, merge_ratio=0.25, max_new_tokens=1)
    assert seen.settings == [{"frames": 2, "merge_ratio": 0.25}]


def test_summary_is_of_the_answers(tiny_vipe: ViPE, rows: list[Row]) -> None:
    results = runner.Results(rows=rows[:2], answers=["Yes, there is.", "No."])
    assert results.summary()["accuracy"] == 0.5


def test_a_missing_video_is_found_before_any_work(
    tiny_vipe: ViPE, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(tiny_vipe, monkeypatch)
    missing = Row(video=tmp_path / "gone.mp4", question="Why?", kind="object", accept=("yes",))
    with pytest.raises(VideoError, match=r"gone\.mp4: no such file"):
        evaluate(tiny_vipe, [*rows, missing])
    assert not seen


def test_a_damaged_video_is_named(tiny_vipe: ViPE, rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    bad = Row(video=tmp_path / "bad.mp4", question="Why?", kind="object", accept=("yes",))
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        evaluate(tiny_vipe, [bad, *rows], max_new_tokens=1)


def test_of_options_the_likeliest_is_the_answer(tiny_vipe: ViPE, rows: list[Row]) -> None:
    options = ("a dog", "two men", "no")
    asked = [replace(row, options=options) if row.kind == "object" else row for row in rows]
    results = evaluate(tiny_vipe, asked)
    for row, answer in zip(asked, results.answers, strict=True):
        seen = tiny_vipe.see(row.video)
        if row.options:
            scores = tiny_vipe.score(seen, row.question, options)
            assert answer == options[scores.index(max(scores))]
        else:
            assert answer == tiny_vipe.ask(seen, row.question, decoding=Decoding(max_new_tokens=40))
