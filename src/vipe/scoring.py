"""Stage 7 of the flow, from the other side: how likely the language model finds given answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.inference_mode()
def log_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[str],
) -> Float[Tensor, " n"]:
    """Return log p(answer | prompt) of each pair in nats, the end of the answer included.

    Args:
        model: With the weights of each prompt's video attached.
        tokenizer: The model's own.
        prompts: Token ids of each prompt.
        answers: One for each prompt.

    Raises:
        ValueError: There are not as many answers as prompts.
    """
    ids = [torch.tensor(prompt, dtype=torch.long, device=model.device) for prompt in prompts]
    embed: Any = model.get_input_embeddings()
    return _log_likelihoods(model, tokenizer, [embed(one) for one in ids], answers)


@torch.inference_mode()
def log_likelihoods_after(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Float[Tensor, "_ e"]],
    answers: Sequence[str],
) -> Float[Tensor, " n"]:
    """As `log_likelihoods`, of prompts that are given as embeddings, `(t, e)`, t of any length."""
    return _log_likelihoods(model, tokenizer, prompts, answers)


def _log_likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Tensor],
    answers: Sequence[str],
) -> Tensor:
    ends = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    pairs = [
        (prompt, [*tokenizer(answer, add_special_tokens=False).input_ids, *ends])
        for prompt, answer in zip(prompts, answers, strict=True)
    ]
    if not pairs:
        return torch.zeros(0)
    longest = max(len(prompt) + len(answer) for prompt, answer in pairs)
    run: Any = model
    embed: Any = model.get_input_embeddings()
    rows = []
    ids = torch.zeros(len(pairs), longest, dtype=torch.long)
    mask, answered = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer)
        ids[row, len(prompt) : end] = torch.tensor(answer)
        mask[row, :end] = 1
        answered[row, len(prompt) : end] = True
        after = embed(ids[row, len(prompt) :].to(prompt.device))
        rows.append(torch.cat([prompt, after]))
    logits = run(
        inputs_embeds=torch.stack(rows).to(model.dtype),
        attention_mask=mask.to(model.device),
        use_cache=False,
    ).logits.cpu()
    places, columns = answered.nonzero(as_tuple=True)
    # A token is foretold at the place before it.
    chosen = logits[places, columns - 1].float().log_softmax(dim=-1)
    each = chosen.gather(1, ids[places, columns, None])[:, 0]
    return torch.zeros(len(pairs)).index_add(0, places, each)
