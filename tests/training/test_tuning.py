"""What is tuned of the language model: it learns, nothing else changes, and it is what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from torch.testing import assert_close
from transformers import AutoConfig

import tiny
from vipe import PerceptualWeights, ViPE, ViPEConfig
from vipe.backbones import load_language_model
from vipe.errors import ModelError
from vipe.integrations.transformers import ViPEModel
from vipe.loading import load_model
from vipe.seer import Seer
from vipe.serving.language_model import export_language_model
from vipe.training import loop, sources
from vipe.training.loop import train
from vipe.training.optimizer import tuned_warmup
from vipe.training.recipe import Recipe
from vipe.training.run import Run
from vipe.twin import SoftPrompt, TokenTwin

LORA = {"tuned": "lora", "rank": 3, "alpha": 6.0, "learning_rate": 1e-2}
WHOLE = {"tuned": "full", "learning_rate": 1e-3}
FROZEN = {"tuned": "frozen"}
METHODS = ("vipe", "tokens")


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sources.Scenes, "build", lambda self, data, **_: tiny.ColourClips(list(tiny.COLOURS)[:4])
    )
    monkeypatch.setattr(loop.RunLog, "plot", lambda _: None)  # half of a tiny run's time


@pytest.fixture
def make(tiny_config: ViPEConfig, tmp_path: Path) -> Any:
    def make(language_model: dict[str, Any], name: str = "run", **changes: Any) -> Recipe:
        values: dict[str, Any] = {
            "name": name,
            "model": tiny_config.to_dict(),
            "cache": tmp_path,
            "runs": tmp_path,
            "sources": [{"clips": 3, "source": {"kind": "scenes"}}],
            "language_model": language_model,
            "optimizer": {"steps": 6, "learning_rate": 5e-3, "warmup": 2},
            "row_tokens": 150,
            "merge_ratios": [0.5],
            "checkpoint_every": 3,
        }
        return Recipe.model_validate(values | changes)

    return make


def kept(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.named_parameters()}


def changed(module: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    return {n for n, value in module.named_parameters() if not torch.equal(value, before[n])}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tuning", [FROZEN, LORA, WHOLE], ids=lambda tuning: tuning["tuned"])
def test_it_learns_and_only_what_is_said_changes(
    make: Any, method: str, tuning: dict[str, Any]
) -> None:
    steps = {"steps": 40, "learning_rate": 5e-3, "warmup": 5}
    run: Run = loop.build(make(tuning, method=method, optimizer=steps), tiny.Quiet())
    language, module = kept(run.language_model), kept(run.module)
    losses = [loop.train_step(run, run.train[i], i)["loss"] for i in range(40)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])  # seen: 0.50 to 0.69
    found = changed(run.language_model, language)
    assert found == (set(language) if tuning is WHOLE else set())
    lora = {name for name in module if name.startswith("language_lora.")}
    assert bool(lora) == (tuning is LORA)
    assert lora <= changed(run.module, module)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tuning", [LORA, WHOLE], ids=lambda tuning: tuning["tuned"])
def test_the_second_stage_begins_after_the_first(
    make: Any, method: str, tuning: dict[str, Any]
) -> None:
    run: Run = loop.build(
        make(tuning | {"after": 2}, method=method, accumulate=1, alignment={"steps": 1}),
        tiny.Quiet(),
    )

    def tuned() -> set[str]:
        of_module = changed(run.module, module)
        lora = {name for name in of_module if name.startswith("language_lora.")}
        return lora | changed(run.language_model, language)

    language, module = kept(run.language_model), kept(run.module)
    for step in range(2):
        loop.train_step(run, run.train[step], step)
        assert changed(run.module, module)
        assert tuned() == set()
        assert all(p.grad is None for p in run.language.parameters())
    loop.train_step(run, run.train[2], 2)
    loop.train_step(run, run.train[3], 3)
    assert tuned()


def test_its_learning_rate_is_its_own_and_warms_up_when_it_comes_in(make: Any) -> None:
    recipe = make(
        WHOLE | {"after": 10, "weight_decay": 0.3},
        optimizer={"steps": 100, "learning_rate": 1e-2, "warmup": 4},
    )
    assert [tuned_warmup(step, recipe) for step in (0, 9, 10, 11, 13, 50)] == [
        0, 0, 0.25, 0.5, 1, 1,
    ]  # fmt: skip
    assert tuned_warmup(0, make(FROZEN)) == 1
    run: Run = loop.build(recipe, tiny.Quiet())
    loop.train_step(run, run.train[0], 11)
    own = {id(p) for p in run.language.parameters()}
    for group in run.optimizer.param_groups:
        ours = {id(p) in own for p in group["params"]}
        assert len(ours) == 1
        if ours == {True}:
            assert group["lr"] == pytest.approx(0.5 * 1e-3, rel=0.1), "the cosine has begun"
            matrices = {p.ndim == 2 for p in group["params"]}
            assert group["weight_decay"] == (0.3 if matrices == {True} else 0)
    at_gists = make(WHOLE, alignment={"gist_steps": 3, "steps": 2})
    assert at_gists.tuned_after == 5
    assert make(FROZEN).tuned_after is None


@pytest.mark.parametrize(
    ("tuning", "stop"),
    [(LORA | {"after": 2}, 4), (WHOLE | {"after": 4}, 4), (WHOLE, 5)],
    ids=["lora", "full, before", "full"],
)
def test_a_run_that_was_killed_and_resumed_is_the_same_run(
    make: Any, tuning: dict[str, Any], stop: int
) -> None:
    class Killing(tiny.Quiet):
        def step(self, step: int, total: int, values: dict[str, float]) -> None:
            if step == stop:
                raise KeyboardInterrupt

    whole = make(tuning, "whole", accumulate=2)
    killed = make(tuning, "killed", accumulate=2)
    train(whole, tiny.Quiet())
    with pytest.raises(KeyboardInterrupt):
        train(killed, Killing())
    train(killed, tiny.Quiet())
    one, other = (
        torch.load(r.folder / "checkpoint.pt", weights_only=True)["module"] for r in (whole, killed)
    )
    assert one.keys() == other.keys()
    assert any(name.startswith("language.") for name in one) == (tuning["tuned"] == "full")
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    files = [sorted((r.folder / "model").rglob("*.safetensors")) for r in (whole, killed)]
    assert len(files[0]) == len(files[1]) == (2 if tuning["tuned"] == "full" else 1)
    for ours, theirs in zip(*files, strict=True):
        assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tuning", [LORA, WHOLE], ids=lambda tuning: tuning["tuned"])
def test_what_is_saved_answers_as_what_was_trained(
    make: Any, method: str, tuning: dict[str, Any], tiny_config: ViPEConfig
) -> None:
    recipe = make(tuning, method=method)
    folder = train(recipe, tiny.Quiet())
    run: Run = loop.build(recipe, tiny.Quiet())
    state = torch.load(recipe.folder / "checkpoint.pt", weights_only=True)["module"]
    run.trained.load_state_dict(
        {n: v.bfloat16().float() if v.is_floating_point() else v for n, v in state.items()}
    )
    run.module.eval()
    batch = run.train[0]
    (turn, *_), *_ = batch.rows.turns
    loaded: Any = load_model(folder)
    with torch.no_grad():
        if method == "vipe":
            visual, weights = None, run.module(batch.tokens)
            seen: Any = loaded.video_to_weights(batch.tokens)[0]
        else:
            visual, weights = run.module(batch.tokens), run.module.weights()
            values = loaded.video_to_tokens(batch.tokens)
            seen = SoftPrompt(values=values.values[0][values.present[0]])
        with run.language.attached(weights):
            logits, labels = run.language(batch.rows, visual)
    likely = logits.log_softmax(-1).gather(1, labels[:, None])[: len(turn.answer) + 1].sum()
    assert loaded.score(seen, turn.question, [turn.answer])[0] == pytest.approx(
        likely.item(), abs=1e-4
    )
    assert isinstance(loaded, ViPE if method == "vipe" else TokenTwin)
    own = str(folder / "language_model")
    assert loaded.config.language_model == (own if tuning is WHOLE else tiny_config.language_model)
    original, _ = load_language_model(tiny_config.language_model)
    now, _ = load_language_model(loaded.config.language_model)
    same = all(
        torch.equal(value, dict(now.named_parameters())[name])
        for name, value in original.named_parameters()
    )
    assert same == (tuning is LORA)


def test_a_lora_goes_with_every_adapter(make: Any, tmp_path: Path) -> None:
    folder = train(make(LORA, optimizer={"steps": 6, "learning_rate": 1e-2}), tiny.Quiet())
    model = ViPE.from_pretrained(folder)
    assert model.config.lora is not None
    clips = tiny.ColourClips()
    one, other = (model.see(clips.render(f"plain/{name}")) for name in ("red", "blue"))
    one.save(tmp_path / "adapter")
    assert {t.rsplit(".")[-1] for t in one.targets} == set(model.config.lora.targets)
    # Two and three: of layers that a video decides and the LoRA updates both.
    assert one.rank == 5
    both = one + other
    assert both.rank == one.rank
    for target in one.targets:
        alike = model.video_to_weights.static_weights().delta(target)
        # Of the static part, which the LoRA is in, sums have one.
        assert_close(both.delta(target), one.delta(target) + other.delta(target) - alike)
        assert torch.equal(one.delta(target), other.delta(target)) == ("down_proj" not in target
            and "o_proj" not in target)  # fmt: skip
        if "down_proj" not in target and "o_proj" not in target:
            assert_close(one.delta(target), alike)
    loaded = PerceptualWeights.load(tmp_path / "adapter")
    assert loaded.rank == 5
    mean = model.compose([loaded, other])
    assert_close(mean.delta(one.targets[0]), (0.5 * both).delta(one.targets[0]))
    ids = torch.tensor([[5, 9, 30, 7]])
    with torch.no_grad():
        with one.attached_to(model.language_model):
            attached = model.language_model(ids).logits
        plain, _ = load_language_model(model.config.language_model)
        bare = plain(ids).logits
        peft = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))(ids).logits
    assert_close(attached, peft, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(attached, bare, atol=1e-2)


def test_a_language_model_of_its_own_goes_with_the_model(make: Any, tmp_path: Path) -> None:
    folder = train(make(WHOLE), tiny.Quiet())
    own = folder / "language_model"
    assert '"language_model": "./language_model"' in (folder / "config.json").read_text()
    assert '"dtype": "bfloat16"' in (own / "config.json").read_text()
    model = ViPE.from_pretrained(folder)
    seen = model.see(tiny.ColourClips().render("plain/red"))
    seen.save(tmp_path / "adapter")
    assert seen.base_model == str(own)
    assert Seer.of(model).digest == Seer.named(folder).digest
    # PEFT finds it by its name, and a server gets it with `vipe language-model`.
    plain, _ = load_language_model(PerceptualWeights.load(tmp_path / "adapter").base_model)
    ids = torch.tensor([[5, 9, 30, 7]])
    with torch.no_grad(), seen.attached_to(model.language_model):
        ours = model.language_model(ids).logits
        peft = PeftModel.from_pretrained(plain, str(tmp_path / "adapter"))(ids).logits
    assert_close(ours, peft, rtol=1e-4, atol=1e-4)
    export_language_model(model.config.language_model, tmp_path / "served")
    assert (tmp_path / "served" / "model.safetensors").is_file()
    config = AutoConfig.from_pretrained(folder)  # as a pipeline does
    wrapped = ViPEModel.from_pretrained(folder, config=config).vipe
    assert wrapped.config == model.config
    # Moved, saved again, or seen by a model that has no weights to answer with: still its own.
    moved = folder.rename(tmp_path / "moved")
    again = ViPE.from_pretrained(moved)
    again.save_pretrained(tmp_path / "again")
    third = ViPE.from_pretrained(tmp_path / "again", only_see=True)
    assert third.config.language_model == str(tmp_path / "again" / "language_model")
    for name, value in again.language_model.named_parameters():
        assert torch.equal(value, dict(model.language_model.named_parameters())[name])
    (moved / "language_model" / "config.json").unlink()
    assert (tmp_path / "again" / "language_model" / "config.json").is_file()
    for file in (moved / "language_model").iterdir():
        file.unlink()
    (moved / "language_model").rmdir()
    with pytest.raises(ModelError, match=f"^{moved}: has no language_model"):
        ViPE.from_pretrained(moved)


@pytest.mark.parametrize("then", [FROZEN, LORA, WHOLE], ids=lambda tuning: tuning["tuned"])
def test_a_run_starts_from_what_another_tuned(make: Any, then: dict[str, Any]) -> None:
    first = train(make(WHOLE, "first"), tiny.Quiet())
    second = train(make(then, "second", start=str(first)), tiny.Quiet())
    loaded = ViPE.from_pretrained(second)
    assert loaded.config.language_model == str(second / "language_model")
    before = ViPE.from_pretrained(first).language_model
    same = not changed(loaded.language_model, kept(before))
    assert same == (then is not WHOLE)


def test_a_lora_may_start_where_there_was_none(make: Any) -> None:
    first = train(make(FROZEN, "first"), tiny.Quiet())
    second: Run = loop.build(make(LORA, "second", start=str(first)), tiny.Quiet())
    assert not any(B.any() for B in second.module.language_lora.B.values())
    third = train(make(LORA, "third", start=str(first)), tiny.Quiet())
    with pytest.raises(ModelError, match="does not fit"):
        loop.build(make(FROZEN, "fourth", start=str(third)), tiny.Quiet())
    fifth: Run = loop.build(make(LORA, "fifth", start=str(third)), tiny.Quiet())
    assert any(B.any() for B in fifth.module.language_lora.B.values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"language_model": WHOLE, "precision": "int8"}, "a language model in int8 cannot be"),
        ({"language_model": {"tuned": "half"}}, "'half'"),
        ({"language_model": FROZEN | {"rank": 3}}, "rank"),
        ({"language_model": LORA | {"rank": 0}}, "rank"),
        ({"language_model": LORA | {"targets": []}}, "targets"),
        ({"model": {"lora": {"rank": 3}}}, "a recipe says it as language_model"),
    ],
)
def test_what_does_not_fit_is_said(make: Any, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        make(**{"language_model": FROZEN} | changes)


def test_targets_that_are_not_there_are_named(make: Any) -> None:
    with pytest.raises(ModelError, match="no linear module c_attn"):
        loop.build(make(LORA | {"targets": ["c_attn"]}), tiny.Quiet())
