"""Training, between the gist's steps and the language model's: what the binding's keys start from.

A key has to match what the language model's layers ask with, their codes `A x`, where a thing is
named in a question. Both sides are there before the first step through the language model: the
codes of a thing can be read off any question that names it, and which things a video shows is
said by the questions of presence that are answered "yes". So the map from a gist to the keys of
what it holds is a ridge regression (in closed form, as Meng et al., "Mass-Editing Memory in a
Transformer", ICLR 2023, eq. 14, write facts), with no gradient through the language model
(docs/decisions/0006).

Dimensions: n things, s slots, r rank, d width, g gists, t tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.chat import prompt_ids
from vipe.perception import Perception
from vipe.training.batches import Batch
from vipe.training.language import TrainingLanguageModel
from vipe.training.packing import Turn
from vipe.vision import VideoToWeights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ASKED = ("Is there {}?", "Where is {}?")
_RIDGE = 0.01
_TOGETHER = 32
_SIZE = 0.1
"""Keys are made smaller by this: what is bound should not grow faster than what heads write."""


@torch.no_grad()
def start_keys(
    module: VideoToWeights,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    batches: Iterable[Batch],
) -> int:
    """Fit the keys of a binding to what the gists of some batches hold.

    Args:
        module: With a binding, whose gists are trained.
        language: The frozen language model.
        tokenizer: Its own.
        batches: Clips with questions of presence.

    Returns:
        Of how many things the clips were known to show; with none, nothing is changed.
    """
    perception = module.perception
    if perception.binding is None:
        return 0
    gists: list[Tensor] = []
    shown: list[tuple[str, ...]] = []
    for batch in batches:
        there = [_there(turns) for turns in batch.rows.turns]
        kept = [place for place, things in enumerate(there) if things]
        gists.append(module.injection.gists(batch.tokens)[kept, 0].float())
        shown += [there[place] for place in kept]
    things = sorted({thing for some in shown for thing in some})
    if not things:
        return 0
    keys, whiten = thing_keys(perception, language, tokenizer, things)
    number = {thing: place for place, thing in enumerate(things)}
    wanted = torch.stack([keys[[number[thing] for thing in some]].sum(0) for some in shown])
    read = torch.cat(gists)
    read = torch.cat([read, read.new_ones(len(read), 1)], dim=1)
    square = read.T @ read + _RIDGE * len(read) * torch.eye(read.shape[1], device=read.device)
    found = torch.linalg.solve(square, read.T @ wanted.flatten(1).to(read))[:-1]
    found = found.T.unflatten(0, keys.shape[1:])
    perception.binding.content.copy_(_SIZE * torch.einsum("srt,srd->std", whiten.to(found), found))
    return len(things)


def _there(turns: Sequence[Turn]) -> tuple[str, ...]:
    """The things that a clip's questions of presence say it shows."""
    return tuple(
        dict.fromkeys(
            turn.about for turn in turns if turn.about and turn.answer.casefold().startswith("yes")
        )
    )


def thing_keys(
    perception: Perception,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    things: Sequence[str],
) -> tuple[Float[Tensor, "n s r"], Float[Tensor, "s r r"]]:
    """Return the key of each thing, in coordinates in which codes have unit variance, and these.

    A thing's key is what its codes have of their own, at its last token, at the one after it and
    where the answer begins; what the codes of all things share is left out.

    Returns:
        The keys, of unit mean square, and the map W of each slot to those coordinates: a key k
        matches a code c by `k · W c`.
    """
    codes = torch.cat(
        [_codes(perception, language, tokenizer, asked, things) for asked in _ASKED], dim=1
    )
    own = codes - codes.mean(dim=0)
    covariance = torch.einsum("npsr,npst->srt", own, own) / (len(things) * codes.shape[1])
    slack = 1e-4 * covariance.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-12
    values, vectors = torch.linalg.eigh(
        covariance + slack[:, None, None] * torch.eye(covariance.shape[-1]).to(covariance)
    )
    whiten = vectors @ torch.diag_embed(values.rsqrt()) @ vectors.mT
    shared = torch.einsum("srt,st->sr", whiten, codes.mean(dim=(0, 1)))
    shared = torch.nn.functional.normalize(shared, dim=-1)
    keys = torch.einsum("srt,npst->nsr", whiten, own)
    keys = keys - (keys * shared).sum(dim=-1, keepdim=True) * shared
    return keys / keys.square().mean().sqrt().clamp_min(1e-6), whiten


def _codes(
    perception: Perception,
    language: TrainingLanguageModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: str,
    things: Sequence[str],
) -> Float[Tensor, "n p s r"]:
    """What each slot's A reads of questions about things, at three places of each."""
    found = []
    after = asked.partition("{}")[2]
    for start in range(0, len(things), _TOGETHER):
        some = things[start : start + _TOGETHER]
        prompts = [prompt_ids(tokenizer, asked.format(thing)) for thing in some]
        length = max(map(len, prompts))
        ids = torch.tensor([prompt + [0] * (length - len(prompt)) for prompt in prompts])
        codes = language.codes(ids, perception.static_weights())
        for row, (thing, prompt) in enumerate(zip(some, prompts, strict=True)):
            last = _last_token(tokenizer, prompt, thing + after) - 1
            found.append(codes[row, [last, last + 1, len(prompt) - 1]])
    return torch.stack(found).float()


def _last_token(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], ending: str) -> int:
    """The place of the last token of a text in a prompt that holds it once."""
    for end in range(1, len(prompt) + 1):
        if ending in tokenizer.decode(prompt[:end]):
            return end - 1
    raise ValueError(f"the prompt does not hold {ending!r}")
