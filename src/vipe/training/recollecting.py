"""Training, where recollection comes in: it starts from what the language model asks and says."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch

from vipe.training.asked import answers
from vipe.training.asked_kinds import start_kinds
from vipe.training.asked_seconds import asks_for_times, start_seconds

if TYPE_CHECKING:
    from vipe.training.run import Run
    from vipe.training.writes_weights import WritesWeights

_BATCHES = 32


@torch.no_grad()
def start_recollection(run: Run, method: WritesWeights) -> Counter[Any]:
    """Let the kinds and the seconds start that are new to the model.

    Args:
        run: Has rows in which they are asked for.
        method: Its method, of a perception with recollection.

    Returns:
        From how many tokens of answers each was learned.
    """
    perception, things = method.module.perception, method.things.names
    recollection, binding = perception.recollection, perception.binding
    if recollection is None or binding is None:
        raise ValueError("a perception without recollection has no kinds")
    new = [part for part in (recollection.kinds, recollection.seconds) if not part.size.any()]
    if not new:
        return Counter()
    tokenizer: Any = run.train.packer.tokenizer
    times = asks_for_times(things, random.Random(run.recipe.seed))
    found = answers(run, method, recollection.late, _BATCHES, beside=times)
    names = binding.said[recollection.kinds.named].detach()[: len(things)].cpu()
    learned: Counter[Any] = Counter()
    if recollection.kinds in new:
        articles = {tokenizer(text, add_special_tokens=False).input_ids[0] for text in ("a", "an")}
        learned += start_kinds(
            recollection.kinds,
            found,
            names=names,
            things=things,
            says=recollection.kinds.start(binding),
            articles={*articles, tokenizer.eos_token_id},
        )
    if recollection.seconds in new:
        learned += start_seconds(
            recollection.seconds,
            found,
            names=names,
            things=things,
            embeddings=run.language.body.embed_tokens.weight,
            tokenizer=tokenizer,
        )
    return learned
