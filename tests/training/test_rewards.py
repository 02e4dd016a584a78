"""The reward of a caption: pycocoevalcap's figures of a corpus, for single captions of it."""

from __future__ import annotations

import pytest
import torch
from pycocoevalcap.bleu.bleu_scorer import BleuScorer
from pycocoevalcap.cider.cider import Cider
from torch.testing import assert_close

from vipe.training.rewards import CaptionReward

CORPUS = [
    ["a dog runs on the grass", "the brown dog is running", "a dog in a field"],
    ["a man rides a wave", "a surfer on a big wave"],
    ["two children jump on a bed", "kids are jumping in a bedroom"],
    ["a red car on a road", "cars drive along the road"],
]
SAID = ["a dog runs in a field", "a man on a wave", "a dog on a bed", "the road"]


def test_of_the_whole_corpus_it_is_the_papers_figure() -> None:
    found = CaptionReward(CORPUS, bleu=0.0)(SAID, CORPUS)
    ended = [[f"{sentence} </s>" for sentence in group] for group in CORPUS]
    truth = dict(enumerate(ended))
    _, expected = Cider().compute_score(truth, {i: [f"{s} </s>"] for i, s in enumerate(SAID)})
    assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_a_caption_is_worth_the_same_beside_any_others() -> None:
    reward = CaptionReward(CORPUS)
    alone = [reward([said], [group]) for said, group in zip(SAID, CORPUS, strict=True)]
    assert_close(reward(SAID, CORPUS), torch.cat(alone))
    assert_close(reward([SAID[0]] * 9, [CORPUS[0]] * 9), alone[0].expand(9))


def test_bleu_counts_as_much_as_is_said() -> None:
    without, with_bleu = (CaptionReward(CORPUS, bleu=bleu)(SAID, CORPUS) for bleu in (0.0, 2.0))
    scorer = BleuScorer(n=4)
    for said, group in zip(SAID, CORPUS, strict=True):
        scorer += (f"{said} </s>", [f"{sentence} </s>" for sentence in group])
    _, sentences = scorer.compute_score(option="closest", verbose=0)
    assert_close(with_bleu - without, 2 * torch.tensor(sentences[3]), rtol=1e-4, atol=1e-4)


def test_what_people_wrote_is_worth_more_than_what_breaks_off_or_is_of_another_picture() -> None:
    whole, broken, other, none = CaptionReward(CORPUS)(
        ["A dog runs on the grass.", "a dog runs on the", "a man rides a wave", ""],
        [CORPUS[0]] * 4,
    )
    assert whole > broken > max(other, none) + 0.1
    assert min(other, none) >= 0


@pytest.mark.parametrize("corpus", [[], [["a dog"], []]])
def test_pictures_need_references(corpus: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="reference"):
        CaptionReward(corpus)
