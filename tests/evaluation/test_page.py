"""The page: the report's figures as text, whatever the answers hold; it loads nothing."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from vipe.errors import DataError
from vipe.evaluation.answers import Answered
from vipe.evaluation.page import render, write
from vipe.evaluation.report import Report, report_on
from vipe.evaluation.rows import Row

HARMFUL = "<script>alert('x')</script> & \"<img src=x>\""


class Parsed(HTMLParser):
    """The page's elements, and its text outside of the style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = ("src", "href", "xlink:href", "data", "srcset")
        self.addresses += [value or "" for name, value in attrs if name in named]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"] and data.strip():
            self.texts.append(data.strip())


def report(*models: list[str], kind: str = "object", names: str = "abc") -> Report:
    """Each model's answers to questions about as many videos; "dog" is right."""
    row = {"question": "What is it?", "kind": kind, "accept": ("dog",)}
    return report_on(
        [
            (
                Path(f"{name}.jsonl"),
                [
                    Answered(row=Row(video=Path(f"{i}.mp4"), **row), answer=answer)  # type: ignore[arg-type]
                    for i, answer in enumerate(answers)
                ],
            )
            for name, answers in zip(names, models, strict=False)
        ]
    )


def test_every_figure_is_on_the_page() -> None:
    made = report(["dog", "cat", "cow", "dog"], ["dog", "dog", "dog", "ape"])
    parsed = Parsed(render(made))
    for one in made["files"]:
        accuracy = one["accuracy"]
        assert accuracy is not None
        assert f"{accuracy['mean']:.3f}" in parsed.texts
        assert f"{accuracy['low']:.3f} … {accuracy['high']:.3f}" in parsed.texts
    assert made["difference"] is not None
    found = made["difference"]["by_kind"]["object"]
    for text in ("+0.250", f"{found['low']:+.3f} … {found['high']:+.3f}", f"{found['p']:.4f}"):
        assert parsed.texts.count(text) == 2  # in all, and of the one kind
    for text in ("cat", "cow", "ape", "2 of 4 wrong", "1 of 4 wrong"):
        assert text in parsed.texts
    assert parsed.tags.count("svg") == 1


def test_accuracy_against_length_is_on_the_page() -> None:
    answers = [
        Answered(
            row=Row(
                video=Path(f"{i}.mp4"), question="?", kind=kind, accept=("dog",), frames=frames
            ),
            answer="dog" if i < right else "cat",
        )
        for frames, right in ((10_000, 1), (8, 4))
        for kind in ("needle", "when")
        for i in range(4)
    ]
    made = report_on([(Path("a.jsonl"), answers), (Path("b.jsonl"), answers)])
    parsed = Parsed(render(made))
    at = parsed.texts.index("Accuracy against length")
    section = parsed.texts[at : parsed.texts.index("Difference")]
    assert section.count("1.000") == section.count("0.250") == 2 * 3  # in all, and of two kinds
    for name in "ab":
        start = section.index(name)
        assert section[start + 1 :][:5] == ["frames", "8", "rows", "10,000", "rows"]
    assert parsed.tags.count("svg") == 2


def test_where_no_row_states_a_length_nothing_is_said_of_it() -> None:
    assert "Accuracy against length" not in render(report(["dog", "cat"]))


def test_files_stand_in_the_order_given() -> None:
    parsed = Parsed(render(report(["dog"], ["cat"], ["dog"], names="bca")))
    assert [text for text in parsed.texts if text in "abc"] == ["b", "c", "a"] * 3


def test_what_answers_hold_is_text() -> None:
    page = render(report([HARMFUL, "dog"], kind=HARMFUL, names=[HARMFUL]))  # type: ignore[arg-type]
    parsed = Parsed(page)
    assert not {"script", "img", "link", "iframe", "object"} & set(parsed.tags)
    assert parsed.texts.count(HARMFUL) >= 4  # file, answer, and kind


def test_nothing_is_loaded() -> None:
    page = render(report(["dog", "cat"]))
    assert all(address.startswith("#") for address in Parsed(page).addresses)
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_captions_alone_have_scores_and_no_bars() -> None:
    row = Row(video=Path("0.jpg"), question="?", kind="caption", references=("a dog runs fast",))
    made = report_on([(Path("a.jsonl"), [Answered(row=row, answer="a dog runs fast")])])
    parsed = Parsed(render(made))
    assert {"100.0", "0.000"} <= set(parsed.texts)
    assert "svg" not in parsed.tags
    assert "Wrong answers" not in parsed.texts


def test_ciders_interval_is_on_the_page() -> None:
    texts = ["a dog runs fast", "two birds fly high", "the cat sits still"]
    answers = [
        Answered(
            row=Row(video=Path(f"{i}.jpg"), question="?", kind="caption", references=(text,)),
            answer=text if i else "a cow",
        )
        for i, text in enumerate(texts)
    ]
    made = report_on([(Path("a.jsonl"), answers)])
    cider = made["files"][0]["cider"]
    assert cider is not None
    assert cider["low"] < cider["mean"] < cider["high"]
    parsed = Parsed(render(made))
    assert f"{cider['mean']:.3f}" in parsed.texts
    assert f"{cider['low']:.3f} … {cider['high']:.3f}" in parsed.texts
    made = report_on([(Path("a.jsonl"), answers[:1])])
    assert "one video" in Parsed(render(made)).texts


def test_why_two_files_are_not_compared_is_said() -> None:
    parsed = Parsed(render(report(["dog"], ["dog", "cat"])))
    assert any("one file has 1 answers and the other 2" in text for text in parsed.texts)


def test_a_kind_that_one_file_lacks_is_left_blank() -> None:
    made = report(["dog"], ["cat"])
    made["files"][1]["by_kind"]["colour"] = made["files"][1]["by_kind"].pop("object")
    parsed = Parsed(render(made))
    assert {"object", "colour"} <= set(parsed.texts)


def test_the_page_and_its_figures_are_written_together(tmp_path: Path) -> None:
    made = report(["dog", "\ud800"], ["cat", "dog"])
    page = tmp_path / "page.html"
    for _ in range(2):  # and replaced
        write(made, page)
        assert {path.name for path in tmp_path.iterdir()} == {"page.html", "page.json"}
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads((tmp_path / "page.json").read_text()) == made


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("page", "must end in .html"),
        ("page.json", "must end in .html"),
        ("none/page.html", "cannot be written (No such file or directory)"),
        ("file/page.html", "cannot be written (Not a directory)"),
        ("folder.html", "cannot be written (it is a folder)"),
        ("folder.htm", "folder.json: cannot be written (it is a folder)"),
        ("x" * 300 + ".html", "cannot be written (File name too long)"),
    ],
)
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, name: str, fault: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "folder.json").mkdir()
    before = set(tmp_path.rglob("*"))
    with pytest.raises(DataError) as caught:
        write(report(["dog"]), tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path))
    assert fault in str(caught.value)
    assert set(tmp_path.rglob("*")) == before


def test_answers_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = report(["dog"])
    made["files"][0]["file"] = "page.json"
    with pytest.raises(DataError, match=r"page\.json: the report would replace these answers"):
        write(made, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
