"""The rows of one forward pass: each a question with its own video's weights, joining and leaving.

Prompts are padded on the left, so that all rows' next tokens stand in one column. A row joins by a
pass over its prompt alone, after which its keys and values are laid beside the others'.

Dimensions: b rows, h heads, t columns, d features of a head, v words.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(eq=False, kw_only=True)
class Row:
    """A question on its way to an answer.

    Attributes:
        prompt: Token ids.
        weights: Of its video.
        temperature: 0 for the likeliest token each time, else what the logits are divided by.
        top_p: Of sampling, the share of probability that is kept.
        generator: Of sampling.
        positions: How many the language model was given before the answer; those that are not
            tokens of the prompt would be visual ones.
    """

    prompt: Sequence[int]
    weights: PerceptualWeights
    temperature: float | int = 0.0
    top_p: float | int = 1.0
    generator: torch.Generator = field(default_factory=torch.Generator)
    positions: int = 0


class Batch:
    """Rows that go on together, one token a step. For one thread.

    Args:
        model: The language model; between `join` and `leave` of all rows, weights are attached.
        padding: A token id; of no effect on any row.

    Attributes:
        rows: In the order in which `step` returns their tokens.
    """

    def __init__(self, model: PreTrainedModel, padding: int) -> None:
        self.model, self.padding = model, padding
        self.rows: list[Any] = []
        self._attached = ExitStack()
        self._cache: list[tuple[Tensor, Tensor]] = []  # keys and values (b, h, t, d) of each layer
        self._mask = torch.zeros(0, 0, dtype=torch.long)
        self._last: list[int] = []

    def join(self, rows: Sequence[Row]) -> list[int]:
        """Read the prompts of new rows; return the first token of each.

        Raises:
            AdapterError: Weights are of another model; the batch is as it was.
        """
        self._attached.close()
        longest = max(len(row.prompt) for row in rows)
        padded = [[self.padding] * (longest - len(row.prompt)) + [*row.prompt] for row in rows]
        real = [[0] * (longest - len(row.prompt)) + [1] * len(row.prompt) for row in rows]
        mask = torch.tensor(real, device=self.model.device)
        try:
            with self.weights_of(rows):
                logits, cache = self._forward(torch.tensor(padded), mask, [])
            tokens = choose(logits, rows)
        except BaseException:
            self._attach()
            raise
        for row, count in zip(rows, mask.sum(1).tolist(), strict=True):
            row.positions = count
        self._lay_beside(cache, mask)
        self.rows += rows
        self._last += tokens
        self._attach()
        return tokens

    def step(self) -> list[int]:
        """Let every row go on by one token; return them."""
        self._mask = F.pad(self._mask, (0, 1), value=1)
        ids = torch.tensor(self._last)[:, None]
        logits, self._cache = self._forward(ids, self._mask, self._cache)
        self._last = choose(logits, self.rows)
        return list(self._last)

    def keep(self, places: Sequence[int]) -> None:
        """Let all rows leave but those at these places."""
        self._attached.close()
        self.rows = [self.rows[place] for place in places]
        self._last = [self._last[place] for place in places]
        if not self.rows:
            self._cache, self._mask = [], torch.zeros(0, 0, dtype=torch.long)
            return
        chosen = torch.tensor(places, device=self._mask.device)
        mask = self._mask[chosen]
        first = int(mask.any(0).int().argmax())  # columns before it are nobody's any more
        self._mask = mask[:, first:]
        self._cache = [
            (keys[chosen, :, first:], values[chosen, :, first:]) for keys, values in self._cache
        ]
        self._attach()

    def weights_of(self, rows: Sequence[Row]) -> AbstractContextManager[None]:
        """Attach the weights of rows inside a `with` block, each to its own sample."""
        return _together(rows).attached_to(self.model)

    def _attach(self) -> None:
        if self.rows:
            self._attached.enter_context(self.weights_of(self.rows))

    def _forward(
        self, ids: Int[Tensor, "b n"], mask: Int[Tensor, "b t"], past: list[tuple[Tensor, Tensor]]
    ) -> tuple[Float[Tensor, "b v"], list[tuple[Tensor, Tensor]]]:
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer, (keys, values) in enumerate(past):
            cache.update(keys, values, layer)
        position = (mask.cumsum(1) - 1).clamp_(min=0)[:, -ids.shape[1] :]
        run: Any = self.model
        with torch.inference_mode():
            output = run(
                input_ids=ids.to(mask.device),
                attention_mask=mask,
                position_ids=position,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        layers: Any = cache.layers
        return output.logits[:, -1].float(), [(layer.keys, layer.values) for layer in layers]

    def _lay_beside(self, cache: list[tuple[Tensor, Tensor]], mask: Tensor) -> None:
        """Put new rows under those that are there, both padded on the left to one width."""
        if not self.rows:
            self._cache, self._mask = cache, mask
            return
        width = max(self._mask.shape[1], mask.shape[1])
        old, new = width - self._mask.shape[1], width - mask.shape[1]
        self._cache = [
            (_joined(keys, more_keys, old, new), _joined(values, more_values, old, new))
            for (keys, values), (more_keys, more_values) in zip(self._cache, cache, strict=True)
        ]
        self._mask = torch.cat([F.pad(self._mask, (old, 0)), F.pad(mask, (new, 0))])


def _joined(one: Tensor, two: Tensor, pad_one: int, pad_two: int) -> Tensor:
    return torch.cat([F.pad(one, (0, 0, pad_one, 0)), F.pad(two, (0, 0, pad_two, 0))])


def _together(rows: Sequence[Row]) -> PerceptualWeights:
    """Return the weights of all rows: one video's as they are, several as a batch."""
    first = rows[0].weights
    if all(row.weights is first for row in rows):
        return first
    return PerceptualWeights.batch(row.weights for row in rows)


def choose(logits: Float[Tensor, "b v"], rows: Sequence[Row]) -> list[int]:
    """Choose each row's next token: the likeliest, or one sampled as the row asks.

    Sampling keeps the likeliest words whose probabilities sum to `top_p` (Holtzman et al., ICLR
    2020, §3.1).
    """
    tokens = logits.argmax(-1).tolist()
    for place, row in enumerate(rows):
        if row.temperature > 0:
            likely = (logits[place].cpu() / row.temperature).softmax(-1)
            ordered, words = likely.sort(descending=True)
            ordered[(ordered.cumsum(-1) - ordered) >= row.top_p] = 0  # the first always stays
            drawn = torch.multinomial(ordered, 1, generator=row.generator)
            tokens[place] = int(words[drawn])
    return [int(token) for token in tokens]
