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
from vipe.data.scene_wordings import bare
from vipe.perception import Perception
from vipe.training.language import TrainingLanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ASKED = (
    ("Is there {} in the video?", ""),
    ("Is there {}?", ""),
    ("Where is {}?", "on the"),
    ("In which part of the picture is {}?", "at the"),
)
"""Questions that name a thing, and how an answer begins that says more than yes or no."""
_ELSEWHERE = 0.3
"""What the codes of all tokens count beside those where an answer is written."""
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
        Parameters of the perception, by name.
    """
    binding = perception.binding
    if binding is None:
        raise ValueError("a perception without concepts has no binding")
    concept = torch.zeros_like(binding.concept)
    keys = thing_keys(perception, language, tokenizer, things)
    concept[: len(things)] = keys.to(concept)
    found = {"binding.concept": concept}
    embeddings = language.body.embed_tokens.weight
    for kind, own in binding.said.items():
        if own.shape[1] != embeddings.shape[1]:
            continue
        said = torch.zeros_like(own)
        for place, thing in enumerate(things):
            tokens = tokenizer(" " + bare(thing), add_special_tokens=False).input_ids
            said[place] = F.normalize(embeddings[tokens].float().mean(dim=0), dim=0)
        found[f"binding.said.{kind}"] = said
    return found


def _the(thing: str) -> str:
    """A thing that was spoken of before: "the dog" of "a dog"."""
    return thing if bare(thing) == thing else f"the {bare(thing)}"


def thing_keys(
    perception: Perception,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    things: Sequence[str],
) -> Float[Tensor, "n s r"]:
    """Return the key of each thing: what matches the codes where it is asked for, and no others.

    Early layers are asked where a thing is named, by the codes of its last token; later ones have
    moved it to where the answer is written. A thing's own codes are those less what they are for
    all things. A key is C⁻¹ times these, with C the second moments of a slot's codes: of all keys
    that match them, that which matches the rest least.

    Returns:
        The keys, by which a thing is matched with 1 on average over slots where it is asked for.
    """
    named, answered, anything = _codes(perception, language, tokenizer, things)
    always = answered.mean(dim=0)
    read = torch.einsum("npsr,npsu->sru", answered, answered) / len(things)
    read = read + 2 * torch.einsum("psr,psu->sru", always, always)
    moments = _ELSEWHERE * anything + read / answered.shape[1]
    slack = 1e-4 * moments.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-12
    moments = moments + slack[:, None, None] * torch.eye(moments.shape[-1]).to(moments)
    early = torch.tensor(_early(perception), device=named.device)
    return torch.where(early[:, None], _matching(named, moments), _matching(answered, moments))


def _matching(
    codes: Float[Tensor, "n p s r"], moments: Float[Tensor, "s r r"]
) -> Float[Tensor, "n s r"]:
    """Return keys that match a thing's own codes at some places with 1 on average."""
    own = codes - codes.mean(dim=0)
    found = torch.linalg.solve(moments, own.permute(2, 3, 0, 1).flatten(2))
    keys = found.unflatten(2, own.shape[:2]).permute(2, 3, 0, 1)
    energy = torch.einsum("npsr,npsr->ps", keys, own) / len(own)
    keys = (keys / energy.clamp_min(1e-12).sqrt()[..., None]).sum(dim=1)
    matched = torch.einsum("nsr,npsr->", keys, own) / own[..., 0].numel()
    return keys / matched.clamp_min(1e-6)


def _early(perception: Perception) -> list[bool]:
    """Which slots are of the first third of the layers."""
    layers = [
        next(int(part) for part in target.split(".") if part.isdigit())
        for target in perception.targets
    ]
    return [3 * layer <= max(layers) for layer in layers]


def _codes(
    perception: Perception,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    things: Sequence[str],
) -> tuple[Float[Tensor, "n p s r"], Float[Tensor, "n q s r"], Float[Tensor, "s r r"]]:
    """What each slot's A reads of questions about things.

    Returns:
        The codes where each thing is named, those where the answer begins or goes on, and the mean
        over all tokens of their second moments.
    """
    static = perception.static_weights()
    named: list[Tensor] = []
    answered: list[Tensor] = []
    moments: list[Tensor] = []
    for asked, answer in _ASKED:
        after = asked.partition("{}")[2]
        begun = list(tokenizer(answer, add_special_tokens=False).input_ids) if answer else []
        names, answers = [], []
        for start in range(0, len(things), _TOGETHER):
            some = [thing if not answer else _the(thing) for thing in things[start:][:_TOGETHER]]
            prompts = [prompt_ids(tokenizer, asked.format(thing)) for thing in some]
            length = max(map(len, prompts)) + len(begun)
            ids = [prompt + begun for prompt in prompts]
            padded = torch.tensor([one + [0] * (length - len(one)) for one in ids])
            codes = language.codes(padded, static, list(perception.targets)).float()
            for row, (thing, prompt) in enumerate(zip(some, prompts, strict=True)):
                last = _last_token(tokenizer, prompt, thing + after[:1]) - 1
                names.append(codes[row, last])
                places = dict.fromkeys((len(prompt) - 1, len(ids[row]) - 1))
                answers.append(codes[row, list(places)])
                read = codes[row, : len(ids[row])]
                moments.append(torch.einsum("tsr,tsu->sru", read, read) / len(read))
        named.append(torch.stack(names))
        answered.append(torch.stack(answers))
    return torch.stack(named, dim=1), torch.cat(answered, dim=1), torch.stack(moments).mean(dim=0)


def _last_token(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], ending: str) -> int:
    """The place of the last token of a text in a prompt that holds it once."""
    for end in range(1, len(prompt) + 1):
        if ending in tokenizer.decode(list(prompt[:end])):
            return end - 1
    raise ValueError(f"the prompt does not hold {ending!r}")
