"""Alignment: the readers learn what there is to read, and weigh a rare word more."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from vipe.training.alignment import (
    AlignmentReaders,
    AskedWords,
    QuestionReader,
    WordReader,
    WordStatistics,
    bag_loss,
)

VOCABULARY, WIDTH = 30, 12
BAGS = [(3, 7), (3, 9), (3, 7, 11), (3,)]


@pytest.fixture
def embeddings() -> Tensor:
    return torch.randn(VOCABULARY, 16)


@pytest.fixture
def words() -> WordStatistics:
    return WordStatistics.count(BAGS, VOCABULARY)


def test_tokens_that_are_answered_have_places_and_all_others_share_the_first(
    words: WordStatistics,
) -> None:
    assert words.tokens.tolist() == [3, 7, 9, 11]
    assert words.place[words.tokens].tolist() == [1, 2, 3, 4]
    assert words.place.sum() == 1 + 2 + 3 + 4
    assert len(words.weight) == len(words.share) == 5
    assert words.share.sum().item() == pytest.approx(1)
    assert (words.share > 0).all()


def test_a_rare_word_weighs_more(words: WordStatistics) -> None:
    other, common, seldom, rare, as_rare = words.weight.tolist()
    assert other > rare == as_rare > seldom > common
    assert common == pytest.approx(1 / 1.01)


def test_the_loss_is_cross_entropy_with_the_weighted_words(words: WordStatistics) -> None:
    logits = torch.randn(2, 5)
    target = torch.zeros(2, 5)
    for row, bag in enumerate(BAGS[:2]):
        for token in bag:
            target[row, words.place[token]] += words.weight[words.place[token]]
    target /= target.sum(1, keepdim=True)
    loss = bag_loss(logits, BAGS[:2], place=words.place, weight=words.weight)
    assert_close(loss, F.cross_entropy(logits, target))


def test_an_empty_bag_is_an_error(words: WordStatistics) -> None:
    with pytest.raises(ValueError, match="a bag holds no word"):
        bag_loss(torch.randn(2, 5), [(3,), ()], place=words.place, weight=words.weight)


def test_a_blind_reader_starts_at_what_words_are_often_wanted(
    embeddings: Tensor, words: WordStatistics
) -> None:
    reader = WordReader(embeddings, width=WIDTH, words=words)
    with torch.no_grad():
        blind = reader(torch.zeros(1, WIDTH)) - reader.scale * (
            reader.project.bias @ reader.embeddings.T
        )
    assert_close(blind.softmax(-1)[0], words.share)


def test_a_place_is_read_by_its_tokens_embedding(embeddings: Tensor, words: WordStatistics) -> None:
    reader = WordReader(embeddings, width=WIDTH, words=words)
    assert_close(reader.embeddings[1:], F.normalize(embeddings[words.tokens], dim=-1))
    assert not reader.embeddings[0].any()
    assert "embeddings" not in reader.state_dict(), "the language model has them"


def fits(module: torch.nn.Module, loss: object, steps: int = 150) -> tuple[float, float]:
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    values = []
    for _ in range(steps):
        value = loss()  # type: ignore[operator]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values[0], values[-1]


def test_one_map_reads_gist_and_slots(embeddings: Tensor, words: WordStatistics) -> None:
    readers = AlignmentReaders(embeddings, width=WIDTH, words=words)
    slots = torch.randn(4, 5, WIDTH)
    gists = torch.cat([slots.mean(1, keepdim=True), torch.randn(4, 2, WIDTH)], dim=1)
    assert_close(readers.slot_loss(slots, BAGS), readers.gist_loss(gists, BAGS))
    before, after = fits(readers.words, lambda: readers.gist_loss(gists, BAGS))
    assert after < 0.5 * before


def test_a_question_is_answered_from_the_gist_of_the_part_it_asks_for(
    embeddings: Tensor,
) -> None:
    # The two videos hold the same two things, in the one and the other part.
    thing, other = torch.randn(2, WIDTH)
    whole = thing + other
    gists = torch.stack([torch.stack([whole, thing, other]), torch.stack([whole, other, thing])])
    asked = [
        AskedWords(video=0, question=(1,), answer=(7,)),
        AskedWords(video=0, question=(2,), answer=(9,)),
        AskedWords(video=1, question=(1,), answer=(9,)),
        AskedWords(video=1, question=(2,), answer=(7,)),
    ]
    words = WordStatistics.count([one.answer for one in asked], VOCABULARY)
    readers = AlignmentReaders(embeddings, width=WIDTH, words=words, heads=2, gists=3)
    _, after = fits(readers, lambda: readers.gist_question_loss(gists, asked))
    assert after < 0.1
    # Without knowing which gist is of which part, the videos are the same.
    with torch.no_grad():
        readers.parts.zero_()
    first, second = (
        readers.gist_question_loss(gists[[video, video]], asked[:2]) for video in (0, 1)
    )
    assert_close(first, second)


def test_a_question_is_answered_from_its_own_video_and_its_own_words(
    embeddings: Tensor,
) -> None:
    # What is asked of each video differs by question and by video: neither alone is enough.
    asked = [
        AskedWords(video=0, question=(1, 2), answer=(7,)),
        AskedWords(video=0, question=(4,), answer=(9,)),
        AskedWords(video=1, question=(1, 2), answer=(9,)),
        AskedWords(video=1, question=(4,), answer=(7,)),
    ]
    words = WordStatistics.count([one.answer for one in asked], VOCABULARY)
    reader = QuestionReader(embeddings, width=WIDTH, words=words, heads=2)
    slots = torch.randn(2, 5, WIDTH)
    _, after = fits(reader, lambda: reader.loss(slots, asked))
    assert after < 0.05
    # Words in another order are the same bag.
    turned = [AskedWords(video=0, question=(2, 1), answer=(7,)), *asked[1:]]
    assert_close(reader.loss(slots, asked), reader.loss(slots, turned))
    swapped = reader.loss(slots.flip(0), asked)
    assert swapped > 1
