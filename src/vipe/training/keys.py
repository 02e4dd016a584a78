"""Training, between the gist's steps and the language model's: what concepts start from.

A key has to match what the language model's layers ask with, their codes `A x`, where a thing is
named in a question, and both are there before the first step through the language model: the codes
of a thing can be read off any question that names it. So the keys of concepts are computed, with no
gradient through the language model (docs/decisions/0006): decorrelated from what else a layer
reads, as Meng et al. ("Locating and Editing Factual Associations in GPT", NeurIPS 2022, eq. 2) do.
What is said of a concept starts from the embeddings of its name.

Dimensions: n things, p places in a prompt, s slots, r rank, t tokens, o a target's outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vipe.chat import prompt_ids
from vipe.perception import Perception
from vipe.training.language import TrainingLanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ASKED = ("Is there {}?", "Where is {}?")
_TOGETHER = 32


@torch.no_grad()
def start_of_concepts(
    perception: Perception,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    things: Sequence[str],
) -> dict[str, Tensor]:
    """Return what a binding's keys and values of concepts start from.

    Concepts that stand for nothing have no key and no value. What a concept is said by is written
    only into targets whose outputs are as wide as the embeddings, those of the residual stream.

    Args:
        perception: With a binding.
        language: The frozen language model.
        tokenizer: Its own.
        things: What the first concepts stand for, at most as many as there are.

    Returns:
        The binding's parameters, by name.
    """
    binding = perception.binding
    if binding is None:
        raise ValueError("a perception without concepts has no binding")
    found = {"concept": torch.zeros_like(binding.concept)}
    keys = thing_keys(perception, language, tokenizer, things)
    found["concept"][: len(things)] = keys.to(found["concept"])
    embeddings = language.body.embed_tokens.weight
    for kind, own in binding.said.items():
        if own.shape[1] != embeddings.shape[1]:
            continue
        said = torch.zeros_like(own)
        for place, thing in enumerate(things):
            tokens = tokenizer(" " + _bare(thing), add_special_tokens=False).input_ids
            said[place] = F.normalize(embeddings[tokens].float().mean(dim=0), dim=0)
        found[f"said.{kind}"] = said
    return found


def _bare(thing: str) -> str:
    """A thing without its article."""
    article, _, name = thing.partition(" ")
    return name if article in ("a", "an", "the") and name else thing


def thing_keys(
    perception: Perception,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    things: Sequence[str],
) -> Float[Tensor, "n s r"]:
    """Return the key of each thing: what matches the codes where it is named, and no others.

    A thing's own codes are those at its last token, at the one after it and where the answer
    begins, less what they are for all things. A key is C⁻¹ times these, with C the second moments
    of a slot's codes over all tokens of the prompts: of all keys that match them, that which
    matches the rest least.

    Returns:
        The keys, by which a thing is matched with 1 on average over slots where it is named.
    """
    own, moments = None, None
    for asked in _ASKED:
        codes, seen = _codes(perception, language, tokenizer, asked, things)
        moments = seen if moments is None else moments + seen
        own = codes if own is None else torch.cat([own, codes], dim=1)
    assert own is not None
    assert moments is not None
    named = own[:, :: own.shape[1] // len(_ASKED)].mean(dim=1)
    own = own - own.mean(dim=0)
    slack = 1e-4 * moments.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-12
    moments = moments + slack[:, None, None] * torch.eye(moments.shape[-1]).to(moments)
    found = torch.linalg.solve(moments, own.permute(2, 3, 0, 1).flatten(2))
    keys = found.unflatten(2, own.shape[:2]).permute(2, 3, 0, 1)
    energy = torch.einsum("npsr,npsr->p", keys, own) / (own.shape[0] * own.shape[2])
    keys = (keys / energy.clamp_min(1e-12).sqrt()[:, None, None]).sum(dim=1)
    matched = torch.einsum("nsr,nsr->ns", keys, named).mean()
    return keys / matched.clamp_min(1e-6)


def _codes(
    perception: Perception,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: str,
    things: Sequence[str],
) -> tuple[Float[Tensor, "n p s r"], Float[Tensor, "s r r"]]:
    """What each slot's A reads of questions about things.

    Returns:
        The codes at three places of each, and the sum over all tokens of their second moments.
    """
    found: list[Tensor] = []
    moments: list[Tensor] = []
    after = asked.partition("{}")[2]
    for start in range(0, len(things), _TOGETHER):
        some = things[start : start + _TOGETHER]
        prompts = [prompt_ids(tokenizer, asked.format(thing)) for thing in some]
        length = max(map(len, prompts))
        ids = torch.tensor([prompt + [0] * (length - len(prompt)) for prompt in prompts])
        codes = language.codes(ids, perception.static_weights()).float()
        for row, (thing, prompt) in enumerate(zip(some, prompts, strict=True)):
            last = _last_token(tokenizer, prompt, thing + after) - 1
            found.append(codes[row, [last, last + 1, len(prompt) - 1]])
            read = codes[row, : len(prompt)]
            moments.append(torch.einsum("tsr,tsu->sru", read, read) / len(prompt))
    return torch.stack(found), torch.stack(moments).mean(dim=0)


def _last_token(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], ending: str) -> int:
    """The place of the last token of a text in a prompt that holds it once."""
    for end in range(1, len(prompt) + 1):
        if ending in tokenizer.decode(list(prompt[:end])):
            return end - 1
    raise ValueError(f"the prompt does not hold {ending!r}")
