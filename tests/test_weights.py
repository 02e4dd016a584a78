"""The value: its checks, indexing, moving. What it does with a model is in test_attachment.py."""

import pytest
import torch

from vipe.weights import PerceptualWeights

SIZES = {"layers.0.o_proj": (6, 5), "layers.1.down_proj": (9, 5)}  # target: (in, out)
RANK = 3


def make(*, A_samples: int | None = None, B_samples: int | None = None) -> PerceptualWeights:
    lead_A = () if A_samples is None else (A_samples,)
    lead_B = () if B_samples is None else (B_samples,)
    return PerceptualWeights(
        A={target: torch.randn(*lead_A, RANK, size[0]) for target, size in SIZES.items()},
        B={target: torch.randn(*lead_B, size[1], RANK) for target, size in SIZES.items()},
        alpha=6.0,
        base_model="tiny",
        metadata={"video": "dog.mp4"},
    )


def test_one_video() -> None:
    weights = make()
    assert weights.targets == tuple(SIZES)
    assert (weights.rank, weights.scale, len(weights), weights.is_batched) == (3, 2.0, 1, False)
    assert weights.nbytes == 4 * RANK * (6 + 5 + 9 + 5)
    for target, (inputs, outputs) in SIZES.items():
        delta = weights.delta(target)
        assert delta.shape == (outputs, inputs)
        torch.testing.assert_close(delta, 6.0 / 3 * weights.B[target] @ weights.A[target])


@pytest.mark.parametrize(("A_samples", "B_samples"), [(None, 4), (4, None), (4, 4)])
def test_indexing_a_batch_picks_the_videos(A_samples: int | None, B_samples: int | None) -> None:
    weights = make(A_samples=A_samples, B_samples=B_samples)
    assert weights.is_batched
    assert len(weights) == len(list(weights)) == 4
    target = weights.targets[0]
    deltas = weights.delta(target)
    for i, one in enumerate(weights):
        assert not one.is_batched
        torch.testing.assert_close(one.delta(target), deltas[i])
    torch.testing.assert_close(weights[-1].delta(target), deltas[3])
    for index in (slice(1, 3), [3, 0, 0], torch.tensor([2, 1])):
        torch.testing.assert_close(weights[index].delta(target), deltas[index])
    if A_samples is None:
        assert weights[2].A[target] is weights.A[target], "a shared factor stays the same tensor"
    with pytest.raises(IndexError, match="update 4 of a batch of 4"):
        weights[4]


def test_one_video_is_a_batch_of_one() -> None:
    weights = make()
    torch.testing.assert_close(
        weights[0].delta("layers.0.o_proj"), weights.delta("layers.0.o_proj")
    )
    assert not weights[0].is_batched
    assert len(weights[[0, 0, 0]]) == 3
    with pytest.raises(IndexError):
        weights[1]


def test_moving_changes_dtype_and_nothing_else() -> None:
    weights = make(B_samples=2)
    moved = weights.to(dtype=torch.bfloat16)
    assert {f.dtype for t in moved.targets for f in moved.factors(t)} == {torch.bfloat16}
    assert moved.nbytes * 2 == weights.nbytes
    assert (moved.alpha, moved.base_model, moved.metadata) == (6.0, "tiny", {"video": "dog.mp4"})
    assert weights.to(device="cpu").A["layers.0.o_proj"] is weights.A["layers.0.o_proj"]
    assert weights.to(device="meta").B["layers.0.o_proj"].is_meta


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("A", "B", "said"),
    [
        ({}, {}, "same targets"),
        ({"x": (3, 6)}, {"y": (5, 3)}, r"1 layers \(x only here\) and 1 layers \(y only here\)"),
        ({"x": (3, 6)}, {"x": (5, 4)}, r"x: .*A \(3, 6\) and B \(5, 4\)"),
        ({"x": (2, 3, 6)}, {"x": (4, 5, 3)}, r"A \(2, 3, 6\) and B \(4, 5, 3\)"),
        ({"x": (6,)}, {"x": (5, 3)}, r"A \(6,\)"),
        ({"x": (1, 1, 3, 6)}, {"x": (5, 3)}, r"A \(1, 1, 3, 6\)"),
        ({"x": (3, 6), "y": (3, 6)}, {"x": (2, 5, 3), "y": (5, 3)}, "y: .*form for all targets"),
        ({"x": (3, 6), "y": (3, 6)}, {"x": (2, 5, 3), "y": (4, 5, 3)}, "y: .*same form"),
    ],
)
def test_factors_that_do_not_fit_are_refused(
    A: dict[str, tuple[int, ...]], B: dict[str, tuple[int, ...]], said: str
) -> None:
    factors = [{name: torch.zeros(shape) for name, shape in f.items()} for f in (A, B)]
    with pytest.raises(ValueError, match=said):
        PerceptualWeights(A=factors[0], B=factors[1], alpha=1.0, base_model="tiny")
