"""Batches and sums of updates, each held against the dense ΔW."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vipe.errors import AdapterError
from vipe.weights import PerceptualWeights

SIZES = {"layers.0.o_proj": (6, 5), "layers.1.down_proj": (9, 5)}  # target: (in, out)


def make(
    seed: int,
    *,
    decides: str = "B",
    samples: int | None = None,
    rank: int = 3,
    alpha: float = 6.0,
    sizes: dict[str, tuple[int, int]] = SIZES,
    base_model: str = "tiny",
    **metadata: str,
) -> PerceptualWeights:
    """An update in which the factors that the video does not decide are the same for all seeds."""
    own, shared = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(999)
    lead = () if samples is None else (samples,)

    def draw(factor: str, *shape: int) -> torch.Tensor:
        if factor in decides:
            return torch.randn(*lead, *shape, generator=own, dtype=torch.float64)
        return torch.randn(*shape, generator=shared, dtype=torch.float64)

    return PerceptualWeights(
        A={target: draw("A", rank, inputs) for target, (inputs, _) in sizes.items()},
        B={target: draw("B", outputs, rank) for target, (_, outputs) in sizes.items()},
        alpha=alpha,
        base_model=base_model,
        metadata=metadata,
    )


def assert_delta(weights: PerceptualWeights, dense: dict[str, torch.Tensor]) -> None:
    for target in SIZES:
        torch.testing.assert_close(weights.delta(target), dense[target], rtol=1e-10, atol=1e-12)


def dense(*terms: tuple[float, PerceptualWeights]) -> dict[str, torch.Tensor]:
    return {t: sum(factor * weights.delta(t) for factor, weights in terms) for t in SIZES}


scales = st.floats(-4, 4, allow_nan=False)
alphas = st.sampled_from([1.0, 6.0, 16.0])


@given(
    decides=st.sampled_from(["A", "B", "AB"]),
    samples=st.tuples(*[st.sampled_from([None, 3])] * 2),
    alpha=st.tuples(alphas, alphas),
    factor=scales,
)
def test_a_sum_has_the_sum_of_the_dense_updates(
    decides: str,
    samples: tuple[int | None, int | None],
    alpha: tuple[float, float],
    factor: float,
) -> None:
    one, two = (make(i, decides=decides, samples=samples[i], alpha=alpha[i]) for i in range(2))
    total = one + factor * two
    assert_delta(total, dense((1, one), (factor, two)))
    assert len(total) == max(len(one), len(two))


def test_the_rank_of_a_sum_stays_where_a_factor_is_shared() -> None:
    assert (make(0) + make(1)).rank == 3
    assert (make(0, decides="A") + make(1, decides="A")).rank == 3
    different = make(0, decides="AB") + make(1, decides="AB", rank=2)
    assert different.rank == 5


def test_sharing_is_seen_in_copies() -> None:
    one, two = make(0), make(1)
    assert one.A["layers.0.o_proj"] is not two.A["layers.0.o_proj"]
    assert (one + two).rank == one.rank


def test_sum_of_many_and_their_mean() -> None:
    items = [make(i) for i in range(5)]
    assert_delta(sum(items), dense(*((1, item) for item in items)))
    assert_delta(sum(items) * (1 / 5), dense(*((1 / 5, item) for item in items)))
    assert sum(items).rank == 3
    assert_delta(0.0 * items[0] + items[1], dense((1, items[1])))


def test_notes_of_a_sum_name_both() -> None:
    total = make(0, video="a.mp4", frames="8") + make(1, video="b.mp4", frames="8", seconds="2")
    assert total.metadata == {"video": "a.mp4; b.mp4", "frames": "8", "seconds": "2"}


@pytest.mark.parametrize(
    ("decides", "alpha"), product(["A", "B", "AB"], [(6.0, 6.0, 6.0), (6.0, 1.0, 16.0)])
)
def test_a_batch_holds_each_in_order(decides: str, alpha: tuple[float, ...]) -> None:
    items = [make(i, decides=decides, alpha=alpha[i], video=f"{i}", kind="x") for i in range(3)]
    batched = PerceptualWeights.batch(items)
    assert len(batched) == 3
    for item, one in zip(items, batched, strict=True):
        assert_delta(one, dense((1, item)))
    if decides == "B":
        assert batched.A["layers.0.o_proj"].ndim == 2, "A is kept once"
    assert batched.metadata == {"kind": "x"}, "only what all agree on"


def test_a_batch_takes_batches_and_copies() -> None:
    one, two = make(0), make(1, samples=2)
    batched = PerceptualWeights.batch([one, two, one])
    assert len(batched) == 4
    for item, expected in zip(batched, [one, two[0], two[1], one], strict=True):
        assert_delta(item, dense((1, expected)))
    assert len(PerceptualWeights.batch([one, one])) == 2
    with pytest.raises(ValueError, match="at least one"):
        PerceptualWeights.batch([])


def test_gradients_reach_the_terms() -> None:
    items = [make(i, decides="AB").to(dtype=torch.float32) for i in range(2)]
    leaves = [f.requires_grad_() for item in items for t in SIZES for f in item.factors(t)]
    total = items[0] + 0.5 * items[1]
    sum(total.delta(target).square().sum() for target in SIZES).backward()
    assert all(leaf.grad is not None and leaf.grad.abs().sum() > 0 for leaf in leaves)


FEWER = {"layers.0.o_proj": (6, 5)}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"sizes": FEWER}, r"2 layers \(layers.1.down_proj only here\) and 1 layers \(none only"),
        ({"sizes": SIZES | FEWER | {"layers.0.o_proj": (7, 5)}}, "maps 6 to 5 .* 7 to 5"),
        ({"base_model": "other"}, "'tiny' and 'other'"),
    ],
)
def test_updates_of_different_models_are_refused(other: dict, said: str) -> None:
    for combine in (lambda a, b: a + b, lambda a, b: PerceptualWeights.batch([a, b])):
        with pytest.raises(AdapterError, match=said) as caught:
            combine(make(0), make(1, **other))
        assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked")
def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="2 and of 3 videos"):
        make(0, samples=2) + make(1, samples=3)
    for nonsense in (lambda: make(0) + 1, lambda: make(0) * make(1), lambda: 1 + make(0)):
        with pytest.raises(TypeError):
            nonsense()
