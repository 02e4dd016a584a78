"""Integration, lmms-eval: what a task of rows asks of a document, and how it counts the answers.

The tasks that `tasks` writes name these functions. A document is a row whose lists are empty
where it has none; the answers are counted as by `vipe eval`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from vipe.evaluation.metrics import CaptionScores, caption_scores, is_right

Document = Mapping[str, Any]


def visuals(document: Document) -> list[str]:
    """Return the video's path."""
    return [document["video"]]


def target(document: Document) -> list[str]:
    """Return what a right answer is: words that it has, or sentences that it is compared with."""
    return document["accept"] or document["references"]


def accuracy_of(kind: str) -> str:
    """Return the name of a kind's accuracy among the figures."""
    return "accuracy_" + re.sub(r"\W", "_", kind)


def scores(document: Document, results: Sequence[Any]) -> dict[str, Any]:
    """Return what one answer adds to the figures.

    Args:
        document: The row.
        results: The answer alone; or of each option its loss and whether it is decoded greedily.
    """
    options = document["options"]
    if options:
        losses = [loss for loss, _ in results]
        answer = options[losses.index(min(losses))]
    else:
        answer = results[0]
    if document["accept"]:
        right = float(is_right(answer, document["accept"]))
        return {"accuracy": right, accuracy_of(document["kind"]): right}
    caption = {"answer": answer, "references": document["references"]}
    return dict.fromkeys(CaptionScores.__annotations__, caption)


def bleu1(captions: Sequence[Document]) -> float:
    """Return the BLEU-1 of all captions, 0 to 100."""
    return _captions(captions)["bleu1"]


def bleu4(captions: Sequence[Document]) -> float:
    """Return the BLEU-4 of all captions, 0 to 100."""
    return _captions(captions)["bleu4"]


def rouge_l(captions: Sequence[Document]) -> float:
    """Return the ROUGE-L of all captions, 0 to 100."""
    return _captions(captions)["rouge_l"]


def cider(captions: Sequence[Document]) -> float:
    """Return the CIDEr of all captions, 0 to 10."""
    return _captions(captions)["cider"]


def _captions(captions: Sequence[Document]) -> CaptionScores:
    return caption_scores([c["answer"] for c in captions], [c["references"] for c in captions])
