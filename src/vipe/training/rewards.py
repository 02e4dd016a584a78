"""Training, beside step 3: how good a sampled caption is, next to those that people wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.evaluation.metrics import tokenize

Reward = Callable[[Sequence[str], Sequence[Sequence[str]]], Float[Tensor, " captions"]]
"""Scores captions, each beside the references of its picture."""
_END = "</s>"
"""Ends every sentence as a word that counts: else one that breaks off ("a man on a") loses nothing
(Luo et al., "Discriminability objective for training descriptive captions", CVPR 2018)."""


class CaptionReward:
    """CIDEr-D plus BLEU-4 of single captions, by pycocoevalcap.

    CIDEr-D (Vedantam et al., CVPR 2015, section 7) weighs n-grams by how rare they are among the
    references of all pictures that are trained on, 0 to 10; BLEU-4 (Papineni et al., ACL 2002) is
    of the one sentence, 0 to 1.

    Args:
        corpus: The references of each picture that is trained on.
        bleu: What BLEU-4 counts beside CIDEr-D.

    Raises:
        ValueError: There are no pictures, or one has no reference.
    """

    def __init__(self, corpus: Iterable[Sequence[str]], *, bleu: float = 1.0) -> None:
        from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_refs

        scorer: Any = CiderScorer()
        scorer.crefs = [cook_refs(_words(references)) for references in corpus]
        if not scorer.crefs or not all(scorer.crefs):
            raise ValueError("a picture has no reference")
        scorer.compute_doc_freq()
        self.pictures = len(scorer.crefs)
        self._frequency = scorer.document_frequency
        self.bleu = bleu

    def __call__(
        self, captions: Sequence[str], references: Sequence[Sequence[str]]
    ) -> Float[Tensor, " captions"]:
        """Return what each caption is worth, beside the references of its picture."""
        from pycocoevalcap.bleu.bleu_scorer import BleuScorer
        from pycocoevalcap.cider.cider_scorer import CiderScorer

        words = [*zip(_words(captions), map(_words, references), strict=True)]
        bleu: Any = BleuScorer(n=4)
        for caption, group in words:
            bleu += (caption, group)
        _, by_sentence = bleu.compute_score(option="closest", verbose=0)
        scores: list[float] = []
        for start in range(0, len(words), self.pictures):
            cider: Any = CiderScorer()
            for caption, group in words[start : start + self.pictures]:
                cider += (caption, group)
            # It takes the number of pictures from the length of this, and scores those of `ctest`.
            cider.crefs += [[]] * (self.pictures - len(cider.crefs))
            cider.document_frequency = self._frequency
            scores += cider.compute_cider()
        found = torch.tensor([scores, by_sentence[3]], dtype=torch.float32)
        return found[0] + self.bleu * found[1]


def _words(sentences: Sequence[str]) -> list[str]:
    return [" ".join([*tokenize(sentence), _END]) for sentence in sentences]
