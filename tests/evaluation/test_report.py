"""A report's figures: those that `summarise` and `compare_answers` give, file by file in order."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vipe.evaluation.answers import Answered, compare_answers
from vipe.evaluation.intervals import interval
from vipe.evaluation.metrics import caption_scores_by_row, is_right, summarise
from vipe.evaluation.report import EXAMPLES, report_on
from vipe.evaluation.rows import Row

ANSWERS = st.tuples(
    st.integers(0, 3),
    st.sampled_from(["a dog runs", "a cat", ""]),
    st.sampled_from(["object", "colour", "caption"]),
    st.sampled_from(["accept", "references"]),
    st.sampled_from([None, 8, 10_000]),
)

CAPTIONS = st.sampled_from(
    ["a dog runs fast", "a dog sits still", "two birds fly high", "the cat sits still"]
)


def answered(
    video: int,
    answer: str,
    kind: str = "object",
    frames: int | None = None,
    **expected: tuple[str, ...],
) -> Answered:
    row = Row(
        video=Path(f"{video}.mp4"),
        question=f"What is in {video}?",
        kind=kind,
        frames=frames,
        **(expected or {"accept": ("dog",)}),
    )
    return Answered(row=row, answer=answer)


@settings(max_examples=25)
@given(st.lists(st.lists(ANSWERS, min_size=1, max_size=12), min_size=1, max_size=3))
def test_the_figures_are_those_of_an_evaluation(
    drawn: list[list[tuple[int, str, str, str, int | None]]],
) -> None:
    kept = [
        [
            answered(video, answer, kind, frames, **{expected: ("dog",)})
            for video, answer, kind, expected, frames in one
        ]
        for one in drawn
    ]
    report = report_on([(Path(f"{i}.jsonl"), answers) for i, answers in enumerate(kept)])
    assert [one["name"] for one in report["files"]] == [str(i) for i in range(len(kept))]
    for found, answers in zip(report["files"], kept, strict=True):
        summary = summarise([one.row for one in answers], [one.answer for one in answers])
        assert found["n"] == summary["n"]
        assert (found["accuracy"] and found["accuracy"]["mean"]) == pytest.approx(
            summary["accuracy"]
        )
        assert list(found["by_kind"]) == list(summary["by_kind"])
        for kind, of_kind in found["by_kind"].items():
            wanted = summary["by_kind"][kind]
            assert of_kind["n"] == wanted["n"]
            accuracy = of_kind["accuracy"]
            if accuracy is None:
                assert wanted["accuracy"] is None
                assert (of_kind["wrong"], of_kind["examples"]) == (0, [])
            else:
                assert accuracy["mean"] == pytest.approx(wanted["accuracy"])
                assert of_kind["wrong"] == round(accuracy["n"] * (1 - accuracy["mean"]))
                assert len(of_kind["examples"]) == min(EXAMPLES, of_kind["wrong"])
        lengths = summary.get("by_length", {})
        assert [str(at["frames"]) for at in found["by_length"]] == list(lengths)
        for at in found["by_length"]:
            judged = at["accuracy"] and at["accuracy"]["mean"]
            assert judged == pytest.approx(lengths[str(at["frames"])]["accuracy"])
            counted = [of_kind["n"] for of_kind in at["by_kind"].values()]
            assert sum(counted) == (at["accuracy"]["n"] if at["accuracy"] else 0)
        scores = found["captions"] or dict.fromkeys(["bleu1", "bleu4", "rouge_l", "cider"])
        assert {name: summary[name] for name in scores} == scores  # type: ignore[literal-required]
    assert json.loads(json.dumps(report)) == report


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), CAPTIONS | st.just(""), CAPTIONS), min_size=1, max_size=12
    )
)
def test_ciders_interval_holds_it_and_is_over_videos(drawn: list[tuple[int, str, str]]) -> None:
    answers = [answered(video, said, references=(wanted,)) for video, said, wanted in drawn]
    judged = [answered(9, "a dog")]  # a question counts for nothing
    [found] = report_on([(Path("a.jsonl"), judged + answers)])["files"]
    cider, captions = found["cider"], found["captions"]
    assert cider is not None
    assert captions is not None
    videos = [video for video, _, _ in drawn]
    assert (cider["n"], cider["clusters"]) == (len(drawn), len(set(videos)))
    assert cider["mean"] == pytest.approx(captions["cider"])
    assert cider["low"] - 1e-9 <= cider["mean"] <= cider["high"] + 1e-9
    if len(set(videos)) == 1:
        assert (cider["low"], cider["high"]) == pytest.approx((cider["mean"], cider["mean"]))
    parts = caption_scores_by_row(
        [said for _, said, _ in drawn], [[wanted] for _, _, wanted in drawn]
    )
    assert cider == interval(parts, videos)


def test_captions_that_differ_from_video_to_video_leave_cider_in_doubt() -> None:
    wanted = ["a dog runs fast", "two birds fly high", "the cat sits still", "one man rides a bike"]
    answers = [answered(i // 2, text, references=(text,)) for i, text in enumerate(wanted * 5)]
    answers[::4] = [Answered(row=one.row, answer="zebras") for one in answers[::4]]
    [found] = report_on([(Path("a.jsonl"), answers)])["files"]
    assert found["cider"] is not None
    assert found["cider"]["low"] < found["cider"]["mean"] < found["cider"]["high"]
    [found] = report_on([(Path("a.jsonl"), [answered(0, "a dog")])])["files"]
    assert found["cider"] is None


def test_intervals_are_over_videos() -> None:
    answers = [answered(i // 5, "dog" if i % 3 else "cat") for i in range(60)]
    [found] = report_on([(Path("a.jsonl"), answers)])["files"]
    wanted = interval([float(i % 3 > 0) for i in range(60)], [i // 5 for i in range(60)])
    assert found["accuracy"] == wanted
    assert found["by_kind"]["object"]["accuracy"] == wanted
    assert (wanted["n"], wanted["clusters"]) == (60, 12)


def test_examples_are_wrong_answers_from_all_over_the_file() -> None:
    answers = [answered(i, "a cat" if i % 2 else "a dog") for i in range(60)]
    [found] = report_on([(Path("a.jsonl"), answers)])["files"]
    examples = found["by_kind"]["object"]["examples"]
    assert found["by_kind"]["object"]["wrong"] == 30
    assert [example["video"] for example in examples] == ["1.mp4", "21.mp4", "41.mp4"]
    assert examples[0] == {
        "video": "1.mp4",
        "question": "What is in 1?",
        "answer": "a cat",
        "accept": ["dog"],
    }
    assert not any(is_right(example["answer"], example["accept"]) for example in examples)


def test_two_files_of_the_same_rows_are_compared() -> None:
    first = [answered(i, "a cat", "colour" if i % 2 else "object") for i in range(20)]
    second = [Answered(row=one.row, answer="a dog") for one in first]
    report = report_on([(Path("a.jsonl"), first), (Path("b.jsonl"), second)])
    assert report["difference"] == compare_answers(first, second)
    assert report["difference"]["accuracy"]["difference"] == 1
    assert list(report["difference"]["by_kind"]) == ["object", "colour"]
    assert report["not_compared"] is None


def test_other_rows_and_other_numbers_of_files_are_not() -> None:
    first, second = [answered(0, "a dog")], [answered(1, "a dog")]
    a, b = (Path("a.jsonl"), first), (Path("b.jsonl"), second)
    report = report_on([a, b])
    assert report["difference"] is None
    assert "about 0.mp4 in one file" in str(report["not_compared"])
    for some in ([a], [a, a, a]):
        report = report_on(some)
        assert (report["difference"], report["not_compared"]) == (None, None)


def test_files_of_one_name_go_by_their_paths() -> None:
    answers = [answered(0, "a dog")]
    for paths, names in (
        (["old/a.jsonl", "new/b.jsonl"], ["a", "b"]),
        (["old/a.jsonl", "new/a.jsonl"], ["old/a.jsonl", "new/a.jsonl"]),
    ):
        found = report_on([(Path(path), answers) for path in paths])["files"]
        assert [one["name"] for one in found] == names
        assert [one["file"] for one in found] == paths


def test_no_answers_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"a\.jsonl: no answers"):
        report_on([(Path("a.jsonl"), [])])
