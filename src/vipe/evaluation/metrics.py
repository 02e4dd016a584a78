"""Evaluation, last step: rows and the model's answers → accuracy, BLEU, ROUGE-L and CIDEr.

The caption scores are pycocoevalcap's, so they compare with what papers report, but for the
tokenizer: the usual one is a Java program, [`tokenize`][vipe.evaluation.metrics.tokenize] is its
like in one regular expression. METEOR and SPICE, whose scorers are Java programs too, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from vipe.evaluation.rows import Row
from vipe.evaluation.when import WhenSummary, is_near, summarise_when


class KindSummary(TypedDict):
    """The figures of one kind of question; `accuracy` is None where no row has `accept`."""

    n: int
    accuracy: float | None


class CaptionScores(TypedDict):
    """BLEU and ROUGE-L from 0 to 100, CIDEr from 0 to 10."""

    bleu1: float
    bleu4: float
    rouge_l: float
    cider: float


class Summary(TypedDict):
    """What an evaluation says; a figure without rows to compute it from is None.

    `by_length` is there where rows say how many frames their videos have: accuracy against length;
    `when` where rows ask for a time.
    """

    n: int
    accuracy: float | None
    by_kind: dict[str, KindSummary]
    bleu1: float | None
    bleu4: float | None
    rouge_l: float | None
    cider: float | None
    by_length: NotRequired[dict[str, KindSummary]]
    when: NotRequired[WhenSummary]


def is_right(answer: str, accept: Sequence[str]) -> bool:
    """Whether an answer is right.

    Any one of the words or phrases must occur in the answer, whatever the case, also inside of a
    longer word ("surf" in "surfing"). "yes" and "no" must be the answer's first word instead:
    "no" is not to be found in "snow".

    Args:
        answer: What the model said.
        accept: The words or phrases.
    """
    folded = answer.casefold()
    # Any run of letters or digits: also "yes" of "**Yes**, there is".
    first = re.search(r"[^\W_]+", folded)
    for word in map(str.casefold, accept):
        if word in ("yes", "no"):
            if first is not None and first.group() == word:
                return True
        elif word in folded:
            return True
    return False


def verdict(row: Row, answer: str) -> bool | None:
    """Whether an answer to a row is right; None for a caption, which is scored.

    A time is right when it is at most a twentieth of the video's length off.
    """
    if row.accept:
        return is_right(answer, row.accept)
    if row.seconds is not None and row.length is not None:
        return is_near(answer, row.seconds, row.length)
    return None


# The Penn Treebank's ways with English that captions meet, in order of precedence.
_TOKEN = re.compile(
    r"""
      \w+?(?=n't\b)                               # the "do" of "don't"
    | n't\b
    | '(?:s|m|d|ll|re|ve)\b                       # the "'s" of "man's"
    | [^\W\d_]\.(?:[^\W\d_]\.)+                   # u.s.
    | \d+(?:[.,:/]\d+)+                           # 3.5
    | \w+(?:-\w+|'(?!(?:s|m|d|ll|re|ve)\b)\w+)*   # t-shirt, o'clock
    | [#&$%@*+=/]
    """,
    re.VERBOSE,
)


def tokenize(sentence: str) -> list[str]:
    """Split a sentence as the COCO caption evaluation does, without Java.

    That evaluation lower-cases, runs Stanford's PTBTokenizer (the Penn Treebank's rules) and
    drops the tokens that are punctuation. Here: words keep inner hyphens and apostrophes
    ("t-shirt", "o'clock"), contractions and possessives part ("do n't", "man 's"), numbers stay
    whole ("3.5"), and punctuation goes. Known differences, all rare: brackets go too (there,
    "-lrb-" stays), "mr." and its like and a single letter lose the dot, "'n'" its apostrophes,
    "cannot" stays one word, and a web address parts at its dots. On the 35,000 captions of
    Flickr8k's training and validation photographs all but 21 come out the same
    (`benchmarks/caption_tokens.py`).

    Args:
        sentence: Any text, one caption.
    """
    return _TOKEN.findall(sentence.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def caption_scores(answers: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Score captions against references, over the whole corpus.

    BLEU (Papineni et al., ACL 2002, section 2.3): the geometric mean of the clipped n-gram
    precisions times the brevity penalty, both over the corpus, the reference that is closest in
    length counting. ROUGE-L (Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004,
    section 3.1): the longest common subsequence's share of the answer's words (precision) and of
    the reference's (recall) as an F-measure; as in COCO's evaluation β is 1.2, and precision and
    recall are each the best over the references. It is the mean over the items. CIDEr is CIDEr-D
    (Vedantam et al., CVPR 2015, section 7): n-grams weighted by how rare they are among **these**
    references. It is so no figure of a single row (with one row no n-gram is rare and it is 0),
    and differs a little between a part and the whole of a set.

    Args:
        answers: One caption for each item.
        references: For each item, one or more sentences of people.

    Returns:
        `bleu1`, `bleu4` and `rouge_l`, 0 to 100 (17.0 is what tables print as 17); `cider`, 0 to
        10, where 0.50 is what tables print as 0.50 or as 50.

    Raises:
        ValueError: There are no items, not as many answers as items, or an item has no reference.
    """
    # Imported here, for the command line's sake: it reads rows and starts before numpy is needed.
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    truth, found = _tokenised(answers, references)
    bleu, _ = Bleu(4).compute_score(truth, found, verbose=0)  # verbose is its prints to stdout
    rouge, _ = Rouge().compute_score(truth, found)
    cider, _ = Cider().compute_score(truth, found)
    return {
        "bleu1": 100 * bleu[0],
        "bleu4": 100 * bleu[3],
        "rouge_l": 100 * float(rouge),
        "cider": float(cider),
    }


def caption_scores_by_row(
    answers: Sequence[str], references: Sequence[Sequence[str]]
) -> list[float]:
    """Return each caption's part of CIDEr, of which `caption_scores` has the mean.

    BLEU has no such parts: it is of the corpus.

    Raises:
        ValueError: As `caption_scores`.
    """
    from pycocoevalcap.cider.cider import Cider

    _, by_row = Cider().compute_score(*_tokenised(answers, references))
    return [float(score) for score in by_row]


def _tokenised(
    answers: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    """References and answers as pycocoevalcap takes them."""
    if not answers or len(answers) != len(references):
        raise ValueError(f"{len(answers)} answers but {len(references)} lists of references")
    if not all(references):
        raise ValueError("an item has no reference")
    truth = {i: [" ".join(tokenize(r)) for r in group] for i, group in enumerate(references)}
    return truth, {i: [" ".join(tokenize(answer))] for i, answer in enumerate(answers)}


def summarise(rows: Sequence[Row], answers: Sequence[str]) -> Summary:
    """Compute every figure of an evaluation, ready to be printed as JSON.

    Args:
        rows: The rows that were asked.
        answers: The model's answer to each.

    Returns:
        `n` rows; `accuracy`, 0 to 1, over the rows with `accept` or `seconds`, and the same kind
        by kind in the order of the kinds' first rows; `bleu1`, `bleu4`, `rouge_l` and `cider` over
        the rows with `references` (see `caption_scores`); `by_length`, as by kind, where rows have
        `frames`, the shortest first; `when`, where rows have `seconds` (`vipe.evaluation.when`).

    Raises:
        ValueError: There are not as many answers as rows.
    """
    right = [verdict(row, answer) for row, answer in zip(rows, answers, strict=True)]
    kinds: dict[str, list[bool | None]] = {}
    lengths: dict[int, list[bool | None]] = {}
    for row, found in zip(rows, right, strict=True):
        kinds.setdefault(row.kind, []).append(found)
        if row.frames is not None:
            lengths.setdefault(row.frames, []).append(found)
    captions = [(a, row.references) for row, a in zip(rows, answers, strict=True) if row.references]
    scores = caption_scores(*zip(*captions, strict=True)) if captions else None
    summary: Summary = {
        "n": len(rows),
        "accuracy": _share(right),
        "by_kind": {k: {"n": len(v), "accuracy": _share(v)} for k, v in kinds.items()},
        "bleu1": scores and scores["bleu1"],
        "bleu4": scores and scores["bleu4"],
        "rouge_l": scores and scores["rouge_l"],
        "cider": scores and scores["cider"],
    }
    if lengths:
        summary["by_length"] = {
            str(length): {"n": len(v), "accuracy": _share(v)}
            for length, v in sorted(lengths.items())
        }
    when = summarise_when(rows, answers)
    if when is not None:
        summary["when"] = when
    return summary


def _share(verdicts: Sequence[bool | None]) -> float | None:
    """The share of right ones among those that have a verdict; None without any."""
    known = [verdict for verdict in verdicts if verdict is not None]
    return sum(known) / len(known) if known else None
