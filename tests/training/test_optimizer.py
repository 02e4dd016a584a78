"""The optimiser: what decays, and what learns at which rate. The schedule: see test_loop."""

from __future__ import annotations

import torch
from torch import nn

from vipe.binding import Binding
from vipe.recollection import Recollection
from vipe.static_lora import StaticLora
from vipe.training.optimizer import make_optimizer, set_learning_rate
from vipe.training.recipe import Optimizer


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)
        self.slots = nn.Parameter(torch.zeros(5, 4))
        self.mix = nn.Parameter(torch.zeros(5, 3))
        self.heads_B = nn.ModuleDict({"o_proj": nn.Linear(4, 2)})
        self.static = nn.ParameterDict({"0": nn.Parameter(torch.zeros(2, 3))})
        self.shift = nn.ParameterDict({"B-0": nn.Parameter(torch.zeros(2, 2))})
        self.static_lora = StaticLora({"0": (3, 4)}, rank=2, alpha=2.0, language_model="tiny")
        self.binding = Binding([2, 2], ["o_proj", "o_proj"], width=4, rank=2, gists=3, concepts=5)
        self.recollection = Recollection(self.binding, {"layers.0.o_proj": (3, 2)})


def test_matrices_decay_and_nothing_else() -> None:
    module = Heads()
    groups = make_optimizer(module, Optimizer(steps=1, weight_decay=0.5)).param_groups
    decaying = {id(p) for g in groups if g["weight_decay"] == 0.5 for p in g["params"]}
    static = module.static_lora
    lora = [module.static["0"], module.shift["B-0"], static.A["0"], static.B["0"]]
    matrices = [module.linear.weight, module.heads_B["o_proj"].weight, *lora]
    assert decaying == set(map(id, matrices))
    others = [p for g in groups if g["weight_decay"] == 0 for p in g["params"]]
    assert len(others) == len(list(module.parameters())) - len(matrices)


def test_parts_have_learning_rates_of_their_own() -> None:
    module = Heads()
    config = Optimizer(steps=1, heads=3.0, shared=10.0, static=8.0, factor=0.25, recollection=6.0)
    optimizer = make_optimizer(module, config)
    set_learning_rate(optimizer, 0.5)
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    binding = ("tag", "part", "concept", "said")
    expected = {
        1.5: ("mix", "heads_B.", "shift.", *(f"binding.{name}" for name in binding)),
        5.0: ("binding.shared_tag", "binding.across"),
        4.0: ("static_lora.",),
        0.125: ("static.", "recollection.kinds.rows.", "recollection.seconds.rows."),
        3.0: ("recollection.",),
    }
    for name, parameter in module.named_parameters():
        own = [rate for rate, names in expected.items() if name.startswith(names)]
        assert rates[id(parameter)] == (own[0] if own else 0.5), name
