"""Training, the alignment loss: the slots are taught to hold a video's words, without the model.

The language model is most of a step's cost, and through it the slots learn slowly at first: until
they hold something of the video, no weights made from them help. So the words of all answers about
a video are predicted from its slots directly, by one linear map into the space of the frozen
language model's own embeddings (after Joulin et al., "Learning Visual Features from Large Weakly
Supervised Data", ECCV 2016, who predict bags of words). What a slot knows is then a linear map
away from the words that the language model writes, and which of them a question asks for is left
to the language model. The map is thrown away after training.

Dimensions: b videos, s slots, d width, e the embeddings' size, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Bag = tuple[int, ...]
"""The distinct token ids of all answers about one video."""


class AlignmentReader(nn.Module):
    """Predicts the words of a video's answers from the mean of its slots.

    Args:
        embeddings: The language model's, `(v, e)`; frozen.
        width: d.
    """

    def __init__(self, embeddings: Float[Tensor, "v e"], *, width: int) -> None:
        super().__init__()
        unit = F.normalize(embeddings.detach().float(), dim=-1)
        self.register_buffer("embeddings", unit, persistent=False)
        self.project = nn.Linear(width, embeddings.shape[1])
        self.bias = nn.Parameter(torch.zeros(len(embeddings)))
        self.scale = nn.Parameter(torch.tensor(4.0))

    def start_from(self, batches: Iterable[Sequence[Bag]]) -> None:
        """Start with how often each token is in an answer.

        Else that is the first thing that training teaches, through every weight on the way.
        """
        counts = torch.full_like(self.bias, 0.01)
        for bags in batches:
            for bag in bags:
                counts[list(bag)] += 1 / len(bag)
        with torch.no_grad():
            self.bias.copy_((counts / counts.sum()).log())

    def forward(self, slots: Float[Tensor, "b s d"]) -> Float[Tensor, "b v"]:
        """Return the logits of each token to be in an answer."""
        return self.scale * self.project(slots.mean(dim=1)) @ self.embeddings.T + self.bias


def bag_loss(logits: Float[Tensor, "b v"], bags: Sequence[Bag]) -> Float[Tensor, ""]:
    """Cross-entropy with the uniform distribution over each video's words, averaged."""
    row = torch.tensor([i for i, bag in enumerate(bags) for _ in bag])
    token = torch.tensor([token for bag in bags for token in bag])
    share = torch.tensor([1 / len(bag) for bag in bags for _ in bag])
    return -(logits.log_softmax(dim=-1)[row, token] * share).sum() / len(bags)
