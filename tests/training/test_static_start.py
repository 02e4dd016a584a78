"""Where the static A starts: components that are whitened, of what the layers are given."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from vipe.training.loop import Run
from vipe.training.static_start import Moments, start_static, whitened_directions


def test_moments_gathered_in_parts_are_those_of_the_whole() -> None:
    x = torch.randn(500, 6) @ torch.randn(6, 6) + torch.arange(6)
    seen = Moments(6)
    for part in x.split([100, 1, 399]):
        seen.add(part)
    assert_close(seen.covariance(), x.T.cov(correction=0), rtol=1e-3, atol=1e-3)


def test_directions_see_every_component_alike() -> None:
    # One direction a thousand times as wide as another, and a mean far from zero.
    scales = torch.logspace(-1, 2, 12)
    x = torch.randn(5000, 12) * scales + 50
    seen = Moments(12)
    seen.add(x.double().float())
    A = whitened_directions(seen, 8, torch.Generator().manual_seed(1))
    assert A.shape == (8, 12)
    variance = x.square().mean().item() / 3
    assert_close((x @ A.T).T.cov(), variance * torch.eye(8), rtol=0, atol=0.05 * variance)
    shared = (A * scales).norm(dim=0)  # how much each component is heard
    assert shared.max() < 3 * shared.min()


def test_a_run_starts_with_them_and_with_no_update(run: Run) -> None:
    module, language = run.module, run.language
    before = {name: p.clone() for name, p in module.perception.static.items()}
    rows = [run.train[step].rows for step in range(3)]
    start_static(module.perception, language, rows)
    for target in module.perception.targets:
        A = module.perception.static[target.replace(".", "-")]
        assert not torch.equal(A, before[target.replace(".", "-")])
        inputs = torch.cat([dict(language.inputs(batch, batch.turn > 0))[target] for batch in rows])
        varies = (inputs @ A.T).std(0)
        wanted = (inputs.square().mean() / 3).sqrt().expand_as(varies)
        assert_close(varies, wanted, rtol=0.05, atol=0.0)
    weights = module.eval()(run.train[0].tokens)
    assert all(not B.any() for B in weights.B.values())
