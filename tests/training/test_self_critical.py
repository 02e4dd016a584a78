"""Sampled captions: those that score above the others of a clip become likelier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import tiny
from vipe.data.clip import Clip
from vipe.errors import RecipeError
from vipe.training.batches import Batch
from vipe.training.language import TrainingLanguageModel
from vipe.training.packing import Packer
from vipe.training.recipe import Rewarded
from vipe.training.run import Run
from vipe.training.self_critical import SelfCritic, advantages, critic_of
from vipe.weights import PerceptualWeights


class Colours(tiny.ColourClips):
    """Each clip has two captions of its colour."""

    def clip(self, index: int, epoch: int = 0) -> Clip:
        clip = super().clip(index, epoch)
        *others, caption, _ = clip.questions
        answers = (*caption.answers, f"all of it is {self.names[index]}")
        return replace(clip, questions=(*others, replace(caption, answers=answers)))


def of_short(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Tensor:
    return torch.tensor([-float(len(caption)) for caption in captions])


def critic(run: Run, **changes: Any) -> SelfCritic:
    packer = Packer(run.train.packer.tokenizer, 400)
    values: dict[str, Any] = {"samples": 4, "temperature": 1.0, "max_new_tokens": 6}
    return SelfCritic(changes.pop("reward", of_short), packer, **values | changes)


def of_captions(run: Run) -> Batch:
    """A batch whose rows each ask for a caption."""
    run.train.kinds = [("caption",)]
    return run.train[0]


def weights_of(run: Run, batch: Batch) -> PerceptualWeights:
    module = run.module
    queries = module.injection(batch.tokens)
    slots = module.perception.read(queries)
    times = module.injection.times(batch.tokens)
    weights: PerceptualWeights = module.decide(slots, queries.gists, times)
    return weights


def test_advantages_are_above_the_mean_of_the_others() -> None:
    found = advantages(torch.tensor([[1.0, 2.0, 6.0], [3.0, 3.0, 3.0]]))
    assert_close(found, torch.tensor([[-3.0, -1.5, 4.5], [0.0, 0.0, 0.0]]))


def test_samples_are_drawn_under_each_clips_weights_and_scored_beside_its_captions(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[list[list[int]]] = []
    seen: list[tuple[Sequence[str], Sequence[Sequence[str]]]] = []

    def sample(self: Any, tokenizer: Any, prompts: Any, **_: Any) -> list[str]:
        assert any(layer.factors is not None for layer in self._targets.values())
        said.append(prompts)
        return [f"film {i}" for i in range(len(prompts))]

    def reward(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Tensor:
        seen.append((captions, references))
        return torch.arange(float(len(captions)))

    monkeypatch.setattr(TrainingLanguageModel, "sample", sample)
    batch = of_captions(run)
    loss, values = critic(run, reward=reward)(run.language, weights_of(run, batch), batch)
    asked = [turns[0] for turns in batch.rows.turns]
    assert len(said[0]) == 4 * len(asked)
    assert seen[0][0] == [f"film {i}" for i in range(4 * len(asked))]
    assert seen[0][1] == [turn.answers for turn in asked for _ in range(4)]
    assert values["reward"] == pytest.approx((4 * len(asked) - 1) / 2)
    assert loss.requires_grad


def test_what_is_rewarded_becomes_likelier(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = of_captions(run)
    weights = weights_of(run, batch)
    A = {t: a.detach() for t, a in weights.A.items()}
    B = {t: torch.zeros_like(b).requires_grad_() for t, b in weights.B.items()}
    learned = replace(weights, A=A, B=B, static=None, tokens=(), writer=None)
    said = ["a red film", "a blue one"]
    monkeypatch.setattr(
        TrainingLanguageModel,
        "sample",
        lambda self, tokenizer, prompts, **_: said * (len(prompts) // 2),
    )
    judge = critic(
        run,
        samples=2,
        reward=lambda captions, _: torch.tensor([float("red" in c) for c in captions]),
    )

    def surprise() -> tuple[float, float]:
        """The mean loss of the tokens of each text."""
        asked = [turns[0] for turns in batch.rows.turns]
        rows = judge.packer.pack([[replace(turn, answer=text) for text in said] for turn in asked])
        with torch.no_grad(), run.language.attached(learned):
            logits, labels = run.language(rows)
        each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        of_red = rows.answered() % 2 == 0
        return each[of_red].mean().item(), each[~of_red].mean().item()

    before = surprise()
    optimizer = torch.optim.Adam(B.values(), lr=0.02)
    for _ in range(8):
        loss, values = judge(run.language, learned, batch)
        assert values["reward"] == pytest.approx(0.5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = surprise()
    assert after[0] < before[0] - 0.1
    assert after[1] > before[1] + 0.1


def test_where_all_samples_are_alike_nothing_is_learned(run: Run) -> None:
    batch = of_captions(run)
    judge = critic(run, reward=lambda captions, _: torch.ones(len(captions)))
    loss, _ = judge(run.language, weights_of(run, batch), batch)
    assert loss.item() == 0


def test_samples_that_do_not_fit_a_row_are_left_out(run: Run) -> None:
    batch = of_captions(run)
    judge = critic(run)
    judge.packer = Packer(run.train.packer.tokenizer, 80)  # one turn, not four
    loss, _ = judge(run.language, weights_of(run, batch), batch)
    assert torch.isfinite(loss)


def test_ngrams_are_counted_in_the_captions_of_the_source(run: Run) -> None:
    rewarded = Rewarded.model_validate({"source": {"kind": "scenes"}, "clips": 2, "samples": 3})
    judge = critic_of(rewarded, Colours(), run.train.packer.tokenizer)
    own, other = judge.reward(
        ["all of it is red", "all of it is blue"], [("all of it is red",)] * 2
    )
    assert own > other > 0
    assert (judge.samples, judge.temperature, judge.weight) == (3, 0.6, 1.0)


def test_every_clip_needs_a_caption(run: Run) -> None:
    class Silent(tiny.ColourClips):
        def clip(self, index: int, epoch: int = 0) -> Clip:
            return replace(super().clip(index, epoch), questions=())

    rewarded = Rewarded.model_validate({"source": {"kind": "scenes"}, "clips": 2})
    with pytest.raises(RecipeError, match="rewarded: clip 0 of the source has no caption"):
        critic_of(rewarded, Silent(), run.train.packer.tokenizer)


def test_one_sample_has_no_others_to_be_compared_with(run: Run) -> None:
    with pytest.raises(ValueError, match="samples"):
        critic(run, samples=1)
