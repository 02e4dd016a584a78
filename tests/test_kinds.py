"""Kinds of questions: what they attend to, and what is written of it."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from vipe.binding import Binding
from vipe.kinds import Kinds
from vipe.recognition import Recognised
from vipe.seen import MANY, Seen

OUT, CONCEPTS = 12, 24
TARGETS = {
    "model.layers.1.self_attn.o_proj": (8, OUT),
    "model.layers.2.mlp.down_proj": (9, OUT + 2),
}
FIRST = next(iter(TARGETS))
OTHERS = {f"c{number}": 0.95 for number in range(8, 20)}
"""So many things that kinds are told in full."""


def modules() -> tuple[Binding, Kinds]:
    torch.manual_seed(0)
    names = ("o_proj", "down_proj")
    binding = Binding([OUT, OUT + 2], names, width=16, rank=4, gists=3, concepts=CONCEPTS)
    return binding, Kinds(binding, TARGETS)


def seen(**shares: float) -> Seen:
    """Concepts by number ("c2"), each seen at the second of its number."""
    share = torch.zeros(1, CONCEPTS)
    for name, value in shares.items():
        share[0, int(name[1:])] = value
    at = torch.arange(CONCEPTS).float()[None]
    recognised = Recognised(
        share=share, first=at, last=at, times=torch.ones_like(at), every=torch.tensor([0.5])
    )
    return Seen.of(recognised, torch.tensor([30.0]))


def written(module: Kinds, found: Seen, binding: Binding) -> dict[str, torch.Tensor]:
    return module(found, module.attention(found, binding))


def test_nothing_is_written_at_the_start_and_zero_is_no_saddle() -> None:
    binding, module = modules()
    found = written(module, seen(**OTHERS), binding)
    assert {target: tuple(B.shape) for target, B in found.items()} == {
        target: (1, size[1], module.count) for target, size in TARGETS.items()
    }
    assert not any(B.any() for B in found.values())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        found = written(module, seen(**OTHERS, c1=0.3), binding)
        sum((part - 1).square().sum() for part in found.values()).backward()
        optimizer.step()
    rows = {id(parameter) for parameter in module.rows.parameters()}  # of A
    used = [parameter for parameter in module.parameters() if id(parameter) not in rows]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in used)


def asking(module: Kinds, binding: Binding, *concepts: int, **weighs: float) -> None:
    """Let the first kind ask for some concepts, and say so in the first layer."""
    own = binding.said[module.named].detach()
    own = own - own.mean(dim=0)
    with torch.no_grad():
        wanted = torch.zeros(CONCEPTS)
        wanted[list(concepts)] = 30.0
        module.asks[0] = torch.linalg.lstsq(own, wanted - wanted.mean(), driver="gelsd").solution
        module.none[0] = 5.0 - wanted.mean()
        module.weighs[0] = torch.tensor([0.0, 0.0, weighs.get("last", 0.0), 0.0])
        module.size[0, 0] = 0.05  # 1, in its units


def test_a_kind_finds_what_it_asks_for_among_all_else() -> None:
    binding, module = modules()
    asking(module, binding, 2, 5)
    said = binding.said["o_proj"]
    attention = module.attention(seen(**OTHERS, c5=0.9), binding)[0, 0]
    which = seen(**OTHERS, c5=0.9).which[0]
    assert which[attention.argmax()] == 5
    for number in (2, 5):
        found = written(module, seen(**OTHERS, **{f"c{number}": 0.9}), binding)[FIRST]
        own = found[0, :, 0]
        assert torch.cosine_similarity(own, said[number], dim=0) > 0.9
        assert not found[0, :, 1:].any()


def test_a_kind_may_ask_for_what_came_last() -> None:
    binding, module = modules()
    asking(module, binding, 2, 5, last=60.0)
    found = seen(**OTHERS, c2=0.9, c5=0.9)  # seen at their numbers' seconds
    of_both = module.attention(found, binding)[0, 0]
    weights = dict(zip(found.which[0].tolist(), of_both.tolist(), strict=True))
    assert weights[5] > weights[2]


def test_what_is_unsure_and_nothing_do_not_count() -> None:
    binding, module = modules()
    asking(module, binding, 2, 9)
    alone = written(module, seen(**OTHERS), binding)[FIRST]
    last = f"c{CONCEPTS - 1}"  # that of nothing
    noisy = written(module, seen(**OTHERS, c3=0.04, **{last: 0.9}), binding)[FIRST]
    assert_close(noisy, alone)


def test_of_few_things_nothing_is_written() -> None:
    binding, module = modules()
    asking(module, binding, 1)
    few = {f"c{number}": 0.95 for number in range(3)}
    assert not written(module, seen(**few), binding)[FIRST].any()
    assert len(OTHERS) > MANY
    assert written(module, seen(**OTHERS, c1=0.9), binding)[FIRST].any()
