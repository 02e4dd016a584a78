"""Rows of one forward pass: a row's tokens do not depend on who is beside it, or when it joined."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import tiny
from vipe import PerceptualWeights, ViPE
from vipe.errors import AdapterError
from vipe.serving.server.batch import Batch, Row, choose


def seen(model: ViPE, count: int) -> list[PerceptualWeights]:
    return [model.see(tiny.frames(3 + i, size=64)) for i in range(count)]


def alone(model: ViPE, row: Row, count: int) -> list[int]:
    """What transformers' own loop decodes for a row."""
    ids = torch.tensor([row.prompt])
    with row.weights.attached_to(model.language_model):
        output = model.language_model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=count,
            min_new_tokens=count,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    return output[0, len(row.prompt) :].tolist()


@pytest.fixture
def rows(saved_vipe: ViPE) -> list[Row]:
    prompts = [list(range(5, 5 + length)) for length in (9, 4, 14, 6)]
    return [
        Row(prompt=prompt, weights=weights)
        for prompt, weights in zip(prompts, seen(saved_vipe, 4), strict=True)
    ]


def parameters(model: ViPE) -> list[Tensor]:
    return [p.clone() for p in model.language_model.parameters()]


def test_rows_that_join_and_leave_get_what_each_gets_alone(
    saved_vipe: ViPE, rows: list[Row]
) -> None:
    expected = [alone(saved_vipe, row, 8) for row in rows]
    assert len({tuple(tokens) for tokens in expected}) == 4, "the videos make a difference"
    before = parameters(saved_vipe)
    batch = Batch(saved_vipe.language_model, 0)
    got: dict[int, list[int]] = {id(row): [] for row in rows}

    def note(tokens: list[int], of: list[Row]) -> None:
        for row, token in zip(of, tokens, strict=True):
            got[id(row)].append(token)

    note(batch.join(rows[:2]), rows[:2])
    for _ in range(3):
        note(batch.step(), batch.rows)
    note(batch.join([rows[2]]), [rows[2]])
    note(batch.step(), batch.rows)
    batch.keep([0, 2])  # the second is given up
    note(batch.step(), batch.rows)
    note(batch.join([rows[3]]), [rows[3]])
    for _ in range(2):
        note(batch.step(), batch.rows)
    batch.keep([1, 2])  # the first has its eight
    for _ in range(3):
        note(batch.step(), batch.rows)
    batch.keep([])
    for row, tokens in zip(rows, expected, strict=True):
        mine = got[id(row)]
        assert mine == tokens[: len(mine)]
        assert row.positions == len(row.prompt)
    assert [len(got[id(row)]) for row in rows] == [8, 5, 8, 6]
    assert all(map(torch.equal, before, parameters(saved_vipe)))


def test_columns_that_are_nobodys_go(saved_vipe: ViPE, rows: list[Row]) -> None:
    batch = Batch(saved_vipe.language_model, 0)
    batch.join([rows[2]])
    for _ in range(10):
        batch.step()
    batch.join([rows[1]])
    batch.step()
    batch.keep([1])
    assert batch._mask.shape == (1, len(rows[1].prompt) + 1)
    assert {keys.shape[2] for keys, _ in batch._cache} == {len(rows[1].prompt) + 1}


def test_weights_of_another_model_leave_the_batch_as_it_was(
    saved_vipe: ViPE, rows: list[Row]
) -> None:
    expected = alone(saved_vipe, rows[0], 3)
    batch = Batch(saved_vipe.language_model, 0)
    tokens = batch.join([rows[0]])
    weights = rows[1].weights
    other = PerceptualWeights(
        A={"no.such.layer": next(iter(weights.A.values()))},
        B={"no.such.layer": next(iter(weights.B.values()))},
        alpha=1.0,
        base_model="another",
    )
    with pytest.raises(AdapterError, match="no layer"):
        batch.join([Row(prompt=[5, 6], weights=other)])
    tokens += batch.step() + batch.step()
    assert tokens == expected
    batch.keep([])


@pytest.mark.usefixtures("unchecked")  # rows without weights
def test_sampling_is_by_row_and_seed() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(3, 1)

    def draw(seed: int, **settings: float) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        row = Row(prompt=[1], weights=None, generator=generator, **settings)  # type: ignore[arg-type]
        greedy = Row(prompt=[1], weights=None)  # type: ignore[arg-type]
        return [choose(logits[:2], [greedy, row])[1] for _ in range(400)]

    assert draw(1, temperature=1.0) == draw(1, temperature=1.0) != draw(2, temperature=1.0)
    shares = [draw(1, temperature=1.0).count(word) / 400 for word in range(4)]
    expected = logits[0].softmax(-1).tolist()
    # Five standard deviations of 400 draws are at most 0.125.
    assert shares == pytest.approx(expected, abs=0.125)
    # The two likeliest have 0.88 of the probability.
    assert set(draw(1, temperature=1.0, top_p=0.7)) == {0, 1}
    assert set(draw(1, temperature=1.0, top_p=0.1)) == {0}
