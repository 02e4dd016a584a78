"""Metrics: golden values worked out by hand, and properties that no data set may break."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from vipe.evaluation.metrics import caption_scores, is_right, summarise, tokenize
from vipe.evaluation.rows import Row

WORDS = st.sampled_from(["a", "man", "dog", "cat", "runs", "sits", "on", "the", "green", "grass"])
SENTENCES = st.lists(WORDS, min_size=4, max_size=12).map(" ".join)


def row(kind: str, **given: tuple[str, ...]) -> Row:
    return Row(video=Path("dog.mp4"), question="What?", kind=kind, **given)


@pytest.mark.parametrize(
    ("answer", "accept", "right"),
    [
        ("A brown DOG.", ["dog"], True),
        ("Two puppies play.", ["dog", "pupp"], True),
        ("A man is surfing.", ["surf"], True),
        ("a hot dog stand", ["hot dog"], True),
        ("The hot red dog", ["hot dog"], False),
        ("GROSSE STRASSE", ["straße"], True),
        ("A cat.", ["dog"], False),
        ("", ["dog"], False),
        ("Yes.", ["yes"], True),
        ("**Yes**, there is no cat", ["yes"], True),
        ("yes", ["Yes"], True),
        ("I say yes", ["yes"], False),
        ("Yesterday", ["yes"], False),
        ("No, it is not.", ["no"], True),
        ("Snow", ["no"], False),
        ("Not at all", ["no"], False),
        ("Yes, no dog", ["no"], False),
        ("There is nobody", ["no", "nobody"], True),
        ("", ["no"], False),
        ("...", ["yes", "no"], False),
    ],
)
def test_is_right(answer: str, accept: list[str], right: bool) -> None:
    assert is_right(answer, accept) is right


@given(answer=SENTENCES, accept=st.lists(WORDS, min_size=1), more=WORDS)
def test_accepting_more_never_makes_an_answer_wrong(
    answer: str, accept: list[str], more: str
) -> None:
    assert is_right(answer, accept) <= is_right(answer, [*accept, more])
    assert is_right(answer, accept) == is_right(answer.upper(), accept[::-1])


# What Stanford's PTBTokenizer and COCO's list of punctuation make of the same sentences
# (run once, Stanford CoreNLP 3.4.1, -lowerCase).
@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("A child in a Pink dress .", "a child in a pink dress"),
        ("The man's dog can't swim, don't you know;", "the man 's dog ca n't swim do n't you know"),
        ('it\'s "fun" -- really... yes!', "it 's fun really yes"),
        ("A t-shirt at 3.5 miles, 1,000 people", "a t-shirt at 3.5 miles 1,000 people"),
        ("& #23 o'clock 50% $5", "& # 23 o'clock 50 % $ 5"),
        ("the boys' ball, US U.S.", "the boys ball us u.s."),
        ("they're we've I'll he'd I'm 4x4", "they 're we 've i 'll he 'd i 'm 4x4"),
        ("naïve café – dash", "naïve café dash"),
        ("“quoted” it’s long", "quoted it 's long"),
        ("  \n\t", ""),
    ],
)
def test_tokenize_as_the_treebank_does(sentence: str, tokens: str) -> None:
    assert " ".join(tokenize(sentence)) == tokens


@given(st.text(max_size=200))
def test_tokenize_takes_any_text_and_its_own_tokens_stay_whole(text: str) -> None:
    tokens = tokenize(text)
    assert all(token and not token.isspace() for token in tokens)
    assert len(tokens) <= len(text)


def test_bleu_by_hand() -> None:
    # Five words, one of them wrong: 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 fours.
    scores = caption_scores(["a dog runs on grass"], [["a dog runs on snow"]])
    assert scores["bleu1"] == pytest.approx(100 * 4 / 5)
    assert scores["bleu4"] == pytest.approx(100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** (1 / 4))


def test_bleu_clips_words_that_are_said_too_often() -> None:
    # Papineni et al., section 2.1: "the" seven times, two of them in the first reference.
    scores = caption_scores(
        ["the the the the the the the"],
        [["The cat is on the mat.", "There is a cat on the mat."]],
    )
    assert scores["bleu1"] == pytest.approx(100 * 2 / 7)
    assert scores["bleu4"] < 0.1


def test_bleu_makes_short_answers_pay_over_the_whole_corpus() -> None:
    # Every word right, 4 + 4 of 8 + 4 words: exp(1 - 12 / 8), and the same n-grams all right.
    answers = ["a dog runs fast", "a cat sits still"]
    references = [["a dog runs fast over the green grass"], ["a cat sits still"]]
    scores = caption_scores(answers, references)
    assert scores["bleu1"] == pytest.approx(100 * math.exp(1 - 12 / 8))
    assert scores["bleu4"] == pytest.approx(100 * math.exp(1 - 12 / 8))


def test_bleu_takes_the_length_of_the_closest_reference() -> None:
    references = [["a dog", "a dog runs fast over the grass", "the dog runs fast"]]
    assert caption_scores(["dog runs fast over"], references)["bleu1"] == pytest.approx(100)


def test_rouge_l_by_hand() -> None:
    # "a … dog … fast" is in both, in this order: three of four words, and of the reference's seven.
    scores = caption_scores(["a dog runs fast"], [["a brown dog is fast on snow"]])
    precision, recall = 3 / 4, 3 / 7
    f_measure = (1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision)
    assert scores["rouge_l"] == pytest.approx(100 * f_measure)
    # The same words in another order: one at a time.
    scores = caption_scores(["dog a"], [["a dog"]])
    assert scores["rouge_l"] == pytest.approx(50)


def test_rouge_l_takes_the_best_precision_and_the_best_recall() -> None:
    # All of the first reference's words, and all of the answer's in the second.
    references = [["a dog", "a dog runs over the grass"]]
    assert caption_scores(["a dog runs"], references)["rouge_l"] == pytest.approx(100)


def test_rouge_l_of_real_captions_is_the_reference_implementations() -> None:
    # pycocoevalcap 1.2's Rouge().compute_score, given these sentences in tokens.
    pairs = [
        (
            "A dog is running through the grass.",
            ["A brown dog runs through the long grass .", "The dog is running in a field ."],
            0.6587473002159828,
        ),
        (
            "Two men sit on a bench, and one reads.",
            [
                "Two men are sitting on a wooden bench .",
                "One man reads a newspaper and another man sits beside him on a bench .",
            ],
            0.594541910331384,
        ),
        (
            "A girl in a pink dress climbs the stairs.",
            [
                "A child in a pink dress is climbing up a set of stairs in an entry way .",
                "A girl going into a wooden building .",
                "A little girl climbing the stairs to her playhouse .",
            ],
            0.5147679324894514,
        ),
        ("A man rides a bike.", ["Several children jump into the water ."], 0.0),
        ("", ["A boy doesn't want the man's ball ."], 0.0),
    ]
    for answer, references, expected in pairs:
        assert caption_scores([answer], [references])["rouge_l"] == pytest.approx(100 * expected)
    scores = caption_scores([answer for answer, _, _ in pairs], [group for _, group, _ in pairs])
    assert scores["rouge_l"] == pytest.approx(35.36114286073636)


def test_cider_by_hand() -> None:
    # Two items that share no word: every n-gram has the weight log 2, which falls out of the
    # cosine. The first answer is right (cosine 1 for n = 1 … 4), the second shares no word:
    # 10 × (1 + 0) / 2.
    references = [["a dog runs fast"], ["two birds fly high"]]
    scores = caption_scores(["a dog runs fast", "the cat sits still"], references)
    assert scores["cider"] == pytest.approx(5.0)
    # Half of four words, one of three pairs, no longer n-gram, and the lengths are equal.
    scores = caption_scores(["a dog sits still", "the cat"], references)
    assert scores["cider"] == pytest.approx(10 * (2 / 4 + 1 / 3) / 4 / 2)


def test_cider_makes_an_other_length_pay() -> None:
    # Half the length in pairs (3 of 7, four apart), words and pairs contained: the Gaussian of
    # CIDEr-D with σ = 6 on top of the cosines.
    references = [["a b c d e f g h"], ["other words"]]
    scores = caption_scores(["a b c d", "x"], references)
    cosines = sum(math.sqrt((4 - n) / (8 - n)) for n in range(4)) / 4
    assert scores["cider"] == pytest.approx(10 * cosines * math.exp(-(4**2) / (2 * 6**2)) / 2)


@given(st.lists(SENTENCES, min_size=2, max_size=6, unique=True))
def test_the_references_themselves_are_perfect_and_other_words_are_nothing(
    sentences: list[str],
) -> None:
    references = [[sentence] for sentence in sentences]
    best = caption_scores([s.upper() + "!" for s in sentences], references)
    assert best["bleu1"] == pytest.approx(100)
    assert best["bleu4"] == pytest.approx(100)
    assert best["rouge_l"] == pytest.approx(100)
    assert 0 <= best["cider"] <= 10 + 1e-9
    worst = caption_scores(["zebras never whistle quietly"] * len(sentences), references)
    assert max(worst.values()) < 0.1


@given(st.data())
def test_the_scores_are_pycocoevalcaps(data: st.DataObject) -> None:
    groups = st.lists(SENTENCES, min_size=1, max_size=3)
    references = data.draw(st.lists(groups, min_size=2, max_size=5))
    answers = [data.draw(SENTENCES) for _ in references]
    truth = dict(enumerate(references))
    found = {i: [answer] for i, answer in enumerate(answers)}
    bleu = Bleu(4).compute_score(truth, found, verbose=0)[0]
    rouge = Rouge().compute_score(truth, found)[0]
    cider = Cider().compute_score(truth, found)[0]
    scores = caption_scores(answers, references)
    assert scores == {
        "bleu1": 100 * bleu[0],
        "bleu4": 100 * bleu[3],
        "rouge_l": 100 * rouge,
        "cider": cider,
    }


def test_nothing_is_printed_and_empty_answers_score_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert max(caption_scores(["", "!"], [["a dog"], ["a cat"]]).values()) < 1e-6
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("answers", "references"), [([], []), (["a"], []), (["a"], [[]])])
def test_nothing_to_compare_is_an_error(answers: list[str], references: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="reference"):
        caption_scores(answers, references)


def test_summarise_counts_each_figure_over_its_own_rows() -> None:
    rows = [
        row("object", accept=("dog",)),
        row("caption", references=("a dog runs on grass",)),
        row("object", accept=("cat",)),
        row("existence", accept=("no",)),
        row("caption", references=("two birds fly high",)),
        row("mixed", accept=("dog",)),
        row("mixed", references=("a dog",)),
    ]
    answers = ["A dog.", "a dog runs on snow", "A dog.", "No.", "two birds fly high", "x", "a dog"]
    summary = summarise(rows, answers)
    assert {k: summary[k] for k in ("n", "accuracy", "by_kind")} == {
        "n": 7,
        "accuracy": 2 / 4,
        "by_kind": {
            "object": {"n": 2, "accuracy": 0.5},
            "caption": {"n": 2, "accuracy": None},
            "existence": {"n": 1, "accuracy": 1.0},
            "mixed": {"n": 2, "accuracy": 0.0},
        },
    }
    captions = [i for i, r in enumerate(rows) if r.references]
    expected = caption_scores(
        [answers[i] for i in captions], [rows[i].references for i in captions]
    )
    assert {k: summary[k] for k in expected} == expected
    assert json.loads(json.dumps(summary)) == summary


def test_summarise_says_none_where_there_is_nothing_to_count() -> None:
    yes = summarise([row("existence", accept=("yes",))], ["Yes"])
    assert yes["accuracy"] == 1.0
    assert [yes[score] for score in ("bleu1", "bleu4", "rouge_l", "cider")] == [None] * 4
    caption = summarise([row("caption", references=("a dog",))], ["cat"])
    assert caption["accuracy"] is None
    assert caption["bleu1"] == pytest.approx(0, abs=1e-3)
    assert summarise([], []) == {
        "n": 0,
        "accuracy": None,
        "by_kind": {},
        "bleu1": None,
        "bleu4": None,
        "rouge_l": None,
        "cider": None,
    }


def test_accuracy_against_length_where_rows_say_it() -> None:
    rows = [
        replace(row("needle", accept=("dog",)), frames=64),
        replace(row("needle", accept=("dog",)), frames=8),
        replace(row("order", accept=("cat",)), frames=64),
        replace(row("summary", references=("a dog",)), frames=10_000),
        row("object", accept=("dog",)),
    ]
    summary = summarise(rows, ["a dog", "a dog", "a dog", "a dog", "a dog"])
    assert list(summary["by_length"]) == ["8", "64", "10000"]
    assert summary["by_length"] == {
        "8": {"n": 1, "accuracy": 1.0},
        "64": {"n": 2, "accuracy": 0.5},
        "10000": {"n": 1, "accuracy": None},
    }


def test_summarise_wants_an_answer_for_every_row() -> None:
    with pytest.raises(ValueError, match="zip"):
        summarise([row("object", accept=("dog",))], [])
