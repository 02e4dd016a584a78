"""Training, the alignment loss: the slots are taught to hold a video's words, without the model.

The language model is most of a step's cost, and through it the slots learn slowly at first: until
they hold something of the video, no weights made from them help. So a small reader answers the
same questions from the slots directly: the mean of the question's token embeddings attends to a
few of the slots, drawn anew each step so that every slot has to hold what is asked, and the bag
of the answer's tokens is predicted in the space of the frozen language model's own embeddings
(after Joulin et al., "Learning Visual Features from Large Weakly Supervised Data", ECCV 2016, who
predict bags of words). What a slot knows is then a linear map away from the words that the
language model writes, and that map is what is left to learn through it. The reader is thrown away
after training.

Dimensions: b videos, q questions of each, s slots, d width, e the embeddings' size, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vipe.layers import CrossBlock


@dataclass(frozen=True, kw_only=True)
class Bags:
    """Questions and answers as bags of tokens.

    Attributes:
        video: `(n,)`, which video of the batch each question is about.
        question: Token ids of each question.
        answer: Distinct token ids of each answer.
    """

    video: Int[Tensor, " n"]
    question: tuple[tuple[int, ...], ...]
    answer: tuple[tuple[int, ...], ...]


class AlignmentReader(nn.Module):
    """Answers questions from slots, as bags of tokens.

    Args:
        embeddings: The language model's, `(v, e)`; frozen.
        width: d.
        heads: Attention heads.
        slots: How many slots are read at a time.
    """

    def __init__(
        self, embeddings: Float[Tensor, "v e"], *, width: int, heads: int, slots: int = 12
    ) -> None:
        super().__init__()
        self.slots = slots
        unit = F.normalize(embeddings.detach().float(), dim=-1)
        self.register_buffer("embeddings", unit, persistent=False)
        size = embeddings.shape[1]
        self.ask = nn.Sequential(nn.LayerNorm(size), nn.Linear(size, width))
        self.block = CrossBlock(width, heads)
        self.answer = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, size))
        self.bias = nn.Parameter(torch.zeros(len(embeddings)))
        self.temperature = nn.Parameter(torch.tensor(0.0))

    def forward(
        self, slots: Float[Tensor, "b s d"], bags: Bags, *, step: int
    ) -> Float[Tensor, ""]:
        """Return the mean negative log-likelihood of the answers' tokens.

        Args:
            slots: What perception made of the videos.
            bags: The questions and answers about them.
            step: Draws the slots that are read.
        """
        draw = torch.Generator().manual_seed(step)
        chosen = torch.randperm(slots.shape[1], generator=draw)[: self.slots]
        context = slots[:, chosen][bags.video]
        query = self.ask(torch.stack([self.embeddings[list(q)].mean(0) for q in bags.question]))
        read = self.block(query[:, None], context)[:, 0]
        scale = 10 * self.temperature.exp()
        logits = scale * self.answer(read) @ self.embeddings.T / slots.shape[-1] ** 0.5 + self.bias
        return bag_loss(logits, bags.answer)


def bag_loss(
    logits: Float[Tensor, "n v"], answers: Sequence[Sequence[int]]
) -> Float[Tensor, ""]:
    """Cross-entropy with the uniform distribution over each answer's tokens, averaged."""
    row = torch.tensor([i for i, answer in enumerate(answers) for _ in answer])
    token = torch.tensor([token for answer in answers for token in answer])
    share = torch.tensor([1 / len(answer) for answer in answers for _ in answer])
    chosen = logits.log_softmax(dim=-1)[row, token]
    return -(chosen * share).sum() / len(answers)
