"""Calibration: the norms' statistics are those of the latest batches under the present weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.testing import assert_close

from vipe.training.calibration import calibrate
from vipe.training.recipe import Alignment
from vipe.training.run import Run
from vipe.training.writes_weights import WritesWeights


def norms(run: Run) -> dict[str, nn.BatchNorm1d]:
    modules = run.module.named_modules()
    return {name: m for name, m in modules if isinstance(m, nn.BatchNorm1d)}


def test_the_statistics_are_those_of_the_latest_batches(run: Run) -> None:
    inputs: dict[str, list[torch.Tensor]] = {name: [] for name in norms(run)}
    for name, norm in norms(run).items():
        norm.register_forward_pre_hook(lambda _, x, name=name: inputs[name].append(x[0]))
    calibrate(run, 12)
    assert len(inputs) == 2, "of the gists and of the slots"
    for name, norm in norms(run).items():
        seen = inputs[name]
        assert len(seen) == 8
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert_close(norm.running_mean, torch.stack([x.mean(0) for x in seen]).mean(0))
        assert_close(norm.running_var, torch.stack([x.var(0) for x in seen]).mean(0))
    gists = torch.cat(
        [run.module.injection.eval().gists(run.train[s].tokens) for s in range(4, 12)]
    )
    assert gists.mean().abs() < 0.01
    assert 0.8 < gists.std() < 1.1


def test_nothing_else_changes_and_it_can_be_done_again(run: Run) -> None:
    parameters = {name: p.clone() for name, p in run.module.named_parameters()}
    momenta = [norm.momentum for norm in norms(run).values()]
    calibrate(run, 1)
    once = {name: value.clone() for name, value in run.module.state_dict().items()}
    calibrate(run, 1)
    for name, value in run.module.state_dict().items():
        assert torch.equal(value, once[name]), name
    assert all(torch.equal(p, parameters[n]) for n, p in run.module.named_parameters())
    assert [norm.momentum for norm in norms(run).values()] == momenta
    assert all(momenta)


def test_clips_that_are_rewarded_count_among_the_latest(run: Run) -> None:
    seen: list[int] = []
    run.module.perception.norm.norm.register_forward_pre_hook(lambda _, x: seen.append(len(x[0])))
    run.rewarded = run.gist
    calibrate(run, 2)
    assert seen == [10, 10]
    seen.clear()
    run.recipe = run.recipe.model_copy(update={"alignment": Alignment(steps=2)})
    calibrate(run, 2)
    assert seen == [5, 5], "before there are answers none is rewarded"


def test_while_the_gists_alone_are_trained_their_norm_alone_is_calibrated(run: Run) -> None:
    alignment = run.recipe.alignment.model_copy(update={"gist_steps": 12})
    assert isinstance(run.method, WritesWeights)
    run.method.alignment = alignment
    calibrate(run, 12)
    counts = {name: norm.num_batches_tracked.item() for name, norm in norms(run).items()}  # type: ignore[union-attr]
    assert counts == {"injection.gist.norm.norm": 8, "perception.norm.norm": 0}
