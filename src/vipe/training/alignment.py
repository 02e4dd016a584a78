"""Training, the alignment losses: gist, then slots, learn a video's words without the model.

The language model is most of a step's cost, and through it the slots learn slowly at first: until
they hold something of the video, no weights made from them help. So the words of all answers about
a video are predicted directly, by one linear map into the space of the frozen language model's own
embeddings (after Joulin et al., "Learning Visual Features from Large Weakly Supervised Data", ECCV
2016, who predict bags of words): first from the gist alone, a twentieth of the cost, then from the
slots. What a slot knows is then a linear map away from the words that the language
model writes, and which of them a question asks for is left to the language model. The maps are
thrown away after training (docs/decisions/0003).

Dimensions: b videos, m tokens, s slots, g gists, d width, e the embeddings' size, v vocabulary,
k places of words (`WordStatistics`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.layers import Attention, linear

Bag = tuple[int, ...]
"""The distinct token ids of all answers about one video."""

_COMMON = 0.01  # a word in more than this share of bags counts less, in proportion


@dataclass(frozen=True, kw_only=True)
class WordStatistics:
    """Which tokens answers are made of, and how often each is in a bag.

    A few thousand of a vocabulary's tokens are ever answered: only they have a place of their own,
    which makes the readers an order of magnitude cheaper. All others share the first place.

    Attributes:
        tokens: `(n,)`, with n = k - 1: the tokens that have the places from 1 on.
        place: `(v,)`, the place of each token.
        weight: `(k,)`, what a token counts in a bag: little for "a", much for "accordion".
        share: `(k,)`, what a token has of all targets on average; sums to 1.
    """

    tokens: Int[Tensor, " n"]
    place: Int[Tensor, " v"]
    weight: Float[Tensor, " k"]
    share: Float[Tensor, " k"]

    @classmethod
    def count(cls, bags: Iterable[Bag], vocabulary: int) -> WordStatistics:
        """Count the tokens of a sample of bags."""
        bags = list(bags)
        found = torch.zeros(vocabulary)
        for bag in bags:
            found[list(bag)] += 1
        tokens = found.nonzero()[:, 0]
        place = torch.zeros(vocabulary, dtype=torch.long)
        place[tokens] = torch.arange(1, len(tokens) + 1)
        often = torch.cat([torch.zeros(1), found[tokens]]) / max(1, len(bags))
        weight = 1 / (often + _COMMON)
        share = torch.full((len(weight),), 1e-3)
        for bag in bags:
            places = place[list(bag)]
            share[places] += weight[places] / weight[places].sum()
        return cls(tokens=tokens, place=place, weight=weight, share=share / share.sum())


class WordReader(nn.Module):
    """A linear map into the language model's embeddings: what a vector says of each token.

    Args:
        embeddings: The language model's, `(v, e)`; frozen.
        width: d.
        words: Starts the bias at how often each token is wanted. Else that is the first thing
            that training teaches, through every weight on the way.
    """

    embeddings: Tensor
    place: Tensor
    weight: Tensor

    def __init__(
        self, embeddings: Float[Tensor, "v e"], *, width: int, words: WordStatistics
    ) -> None:
        super().__init__()
        unit = F.normalize(embeddings[words.tokens].detach().float(), dim=-1)
        self.register_buffer("embeddings", F.pad(unit, (0, 0, 1, 0)), persistent=False)
        self.register_buffer("place", words.place, persistent=False)
        self.register_buffer("weight", words.weight, persistent=False)
        self.project = nn.Linear(width, embeddings.shape[1])
        self.bias = nn.Parameter(words.share.log())
        self.scale = nn.Parameter(torch.tensor([4.0]))

    def forward(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b k"]:
        """Return the logits of each place to be in an answer."""
        return self.scale * self.project(x) @ self.embeddings.T + self.bias

    def loss(self, x: Float[Tensor, "b d"], bags: Sequence[Bag]) -> Float[Tensor, ""]:
        """Cross-entropy with the weighted words of each video, averaged over videos."""
        return bag_loss(self(x), bags, place=self.place, weight=self.weight)


@dataclass(frozen=True, kw_only=True)
class AskedWords:
    """A question about a video, and the words of its answer.

    Attributes:
        video: Which video of the batch.
        question: Token ids.
        answer: Token ids.
    """

    video: int
    question: tuple[int, ...]
    answer: Bag


class QuestionReader(nn.Module):
    """Answers questions from the slots, as the language model will: by a product of the two.

    The question, a bag of words, attends to the slots and gates what it finds, so that a slot must
    hold what is where and when and not words alone.
    """

    embeddings: Tensor

    def __init__(
        self,
        embeddings: Float[Tensor, "v e"],
        *,
        width: int,
        words: WordStatistics,
        heads: int = 6,
    ) -> None:
        super().__init__()
        unit = F.normalize(embeddings.detach().float(), dim=-1)
        self.register_buffer("embeddings", unit, persistent=False)
        self.words = WordReader(embeddings, width=width, words=words)
        self.question = nn.Sequential(linear(embeddings.shape[1], width), nn.GELU())
        self.attention = Attention(width, heads)
        self.gate = linear(width, width)
        self.combine = nn.Sequential(
            nn.LayerNorm(2 * width),
            linear(2 * width, 2 * width),
            nn.GELU(),
            linear(2 * width, width),
        )

    def loss(self, slots: Float[Tensor, "b s d"], asked: Sequence[AskedWords]) -> Float[Tensor, ""]:
        """How badly the answers' words are said, averaged over questions."""
        lengths = torch.tensor([len(one.question) for one in asked], device=slots.device)
        flat = self.embeddings[[token for one in asked for token in one.question]]
        which = torch.arange(len(asked), device=slots.device).repeat_interleave(lengths)
        total = flat.new_zeros(len(asked), flat.shape[1]).index_add(0, which, flat)
        # Unit vectors: their sum over √n, times √e, has about unit variance.
        query = self.question(total * (flat.shape[1] / lengths[:, None]) ** 0.5)
        found = self.attention(query[:, None], slots[[one.video for one in asked]])[:, 0]
        read = self.combine(torch.cat([found * self.gate(query), query], dim=-1))
        return self.words.loss(read, [one.answer for one in asked])


class AlignmentReaders(nn.Module):
    """Read words from the gists and from the slots.

    One map reads both, so that what the gists have learned is in the slots from the start.

    Args:
        embeddings: The language model's, `(v, e)`; frozen.
        width: d.
        words: Of the answers that are trained.
        heads: Attention heads of the reader of questions.
        gists: g.
    """

    def __init__(
        self,
        embeddings: Float[Tensor, "v e"],
        *,
        width: int,
        words: WordStatistics,
        heads: int = 6,
        gists: int = 1,
    ) -> None:
        super().__init__()
        self.words = WordReader(embeddings, width=width, words=words)
        self.questions = QuestionReader(embeddings, width=width, words=words, heads=heads)
        # Which part each gist is of; slots differ by their gains.
        self.parts = nn.Parameter(0.7 * torch.randn(gists, width))

    def gist_loss(self, gists: Float[Tensor, "b g d"], bags: Sequence[Bag]) -> Float[Tensor, ""]:
        """How badly the gist of the whole says the words of the answers."""
        return self.words.loss(gists[:, 0], bags)

    def gist_question_loss(
        self, gists: Float[Tensor, "b g d"], asked: Sequence[AskedWords]
    ) -> Float[Tensor, ""]:
        """How badly the gists answer questions."""
        return self.questions.loss(gists + self.parts, asked)

    def slot_loss(self, slots: Float[Tensor, "b s d"], bags: Sequence[Bag]) -> Float[Tensor, ""]:
        """How badly the mean of the slots says the words of the answers."""
        return self.words.loss(slots.mean(dim=1), bags)

    def question_loss(
        self, slots: Float[Tensor, "b s d"], asked: Sequence[AskedWords]
    ) -> Float[Tensor, ""]:
        """How badly the slots answer questions."""
        return self.questions.loss(slots, asked)


def bag_loss(
    logits: Float[Tensor, "b k"],
    bags: Sequence[Bag],
    *,
    place: Int[Tensor, " v"],
    weight: Float[Tensor, " k"],
) -> Float[Tensor, ""]:
    """Cross-entropy with each video's words, which share 1 by their weights, averaged.

    Raises:
        ValueError: A bag is empty.
    """
    if not all(bags):
        raise ValueError("a bag holds no word")
    row = torch.tensor([i for i, bag in enumerate(bags) for _ in bag], device=logits.device)
    at = place[[token for bag in bags for token in bag]]
    share = weight[at]
    share = share / share.new_zeros(len(bags)).index_add(0, row, share)[row]
    return -(logits.log_softmax(dim=-1)[row, at] * share).sum() / len(bags)
