"""The loop: killed and resumed it is the same run, it learns, and what it leaves can be asked."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.testing import assert_close

import media
import tiny
from vipe import ViPE, ViPEConfig
from vipe.errors import ModelError, RecipeError
from vipe.training import loop, sources
from vipe.training.held_out import _exact
from vipe.training.log import RunLog
from vipe.training.loop import train
from vipe.training.optimizer import learning_rate
from vipe.training.recipe import Recipe
from vipe.training.writes_weights import WritesWeights


class Watching:
    """Notes what it is told; may stop the run after a step, as a kill would."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.values: dict[int, dict[str, float]] = {}
        self.losses: dict[int, float] = {}
        self.scores: dict[int, dict[str, float]] = {}
        self.encoded: list[tuple[int, int]] = []

    def encoding(self, done: int, total: int) -> None:
        self.encoded.append((done, total))

    def step(self, step: int, total: int, values: dict[str, float]) -> None:
        losses = [values[name] for name in ("gist_loss", "slot_loss", "loss") if name in values]
        self.values[step], self.losses[step] = values, losses[-1]
        if step == self.stop_after:
            raise KeyboardInterrupt

    def evaluated(self, step: int, values: dict[str, float]) -> None:
        self.scores[step] = values


@pytest.fixture(autouse=True)
def colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources of scenes are plain colours: `count` of them, from `first_seed` on."""
    monkeypatch.setattr(
        sources.Scenes,
        "build",
        lambda self, data, **_: tiny.ColourClips(
            list(tiny.COLOURS)[self.first_seed : self.first_seed + self.count]
        ),
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make(tiny_config: ViPEConfig, cache: Path, tmp_path: Path) -> Any:
    def make(name: str = "run", **changes: Any) -> Recipe:
        values: dict[str, Any] = {
            "name": name,
            "model": tiny_config.to_dict(),
            "cache": cache,
            "runs": tmp_path,
            "sources": [{"clips": 3, "source": {"kind": "scenes", "count": 4}}],
            "held_out": {
                "every": 2,
                "clips": 5,
                "sources": {"colours": {"kind": "scenes", "first_seed": 1, "count": 5}},
            },
            "optimizer": {"steps": 6, "learning_rate": 1e-2, "warmup": 2},
            "row_tokens": 150,
            "merge_ratios": [0.0, 0.5],
            "checkpoint_every": 3,
        }
        return Recipe.model_validate(values | changes)

    return make


def weights(recipe: Recipe) -> dict[str, torch.Tensor]:
    return torch.load(recipe.folder / "checkpoint.pt", weights_only=True)["module"]


@pytest.mark.parametrize(
    ("stop_after", "alignment"),
    [
        (2, {}),
        (5, {}),
        (4, {"gist_steps": 4}),
        (5, {"gist_steps": 1, "steps": 3, "weight": 0.3}),
        (5, {"gist_steps": 3, "steps": 3}),
        (5, {"gist_steps": 2, "weight": 0.3, "gist_weight": 0.5}),
    ],
)
def test_a_run_that_was_killed_and_resumed_is_the_same_run(
    make: Any, stop_after: int, alignment: dict[str, Any]
) -> None:
    whole, killed = (make(name, alignment=alignment) for name in ("whole", "killed"))
    through = Watching()
    folder = train(whole, through)
    assert folder == whole.folder / "model"
    assert sorted(through.losses) == [1, 2, 3, 4, 5, 6]
    with pytest.raises(KeyboardInterrupt):
        train(killed, Watching(stop_after=stop_after))
    resumed = Watching()
    train(killed, resumed)
    # At most the steps since the last checkpoint are lost, and none is done twice over.
    assert sorted(resumed.losses) == list(range(1 if stop_after < 3 else 4, 7))
    assert resumed.losses.items() <= through.losses.items()
    assert resumed.scores.items() <= through.scores.items()

    one, other = weights(whole), weights(killed)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    files = [r.folder / "model" / "model.safetensors" for r in (whole, killed)]
    assert files[0].read_bytes() == files[1].read_bytes()

    rows = RunLog(killed.folder, resume_at=99).rows()
    assert max(Counter((r["split"], r["step"], r["name"]) for r in rows).values()) == 1
    patches, slots, weight = (alignment.get(k, 0) for k in ("gist_steps", "steps", "weight"))
    begins = patches + slots + 1
    for name, steps in (
        ("gist_loss", range(1, 7 if "gist_weight" in alignment else patches + 1)),
        ("slot_loss", range(patches + 1, 7 if weight else begins)),
        ("question_loss", range(1, 7 if weight else begins)),
        ("loss", range(begins, 7)),
    ):
        found = {int(r["step"]) for r in rows if (r["split"], r["name"]) == ("train", name)}
        assert found == set(steps), name
    assert {r["step"] for r in rows if r["split"] == "held_out"} == {"2", "4", "6"}
    names = {path.name for path in killed.folder.iterdir()}
    assert names == {"checkpoint.pt", "log.csv", "loss.png", "model"}


def test_batches_of_other_processes_are_the_same_batches(make: Any) -> None:
    alone, helped = (Watching() for _ in range(2))
    train(make("alone", alignment={"gist_weight": 0.5}), alone)
    train(make("helped", alignment={"gist_weight": 0.5}, workers=2), helped)
    assert helped.losses == pytest.approx(alone.losses, rel=1e-5)


def test_a_run_that_is_over_is_over(make: Any) -> None:
    over = make()
    train(over, Watching())
    before = (over.folder / "model" / "model.safetensors").read_bytes()
    again = Watching()
    assert train(over, again) == over.folder / "model"
    assert again.losses == {}
    assert (over.folder / "model" / "model.safetensors").read_bytes() == before


def test_it_learns_and_what_it_leaves_can_be_asked(make: Any) -> None:
    task = make(
        sources=[{"clips": 4, "source": {"kind": "scenes", "count": 4}}],
        optimizer={"steps": 60, "learning_rate": 1e-2, "warmup": 5},
        held_out={"every": 60, "clips": 4, "sources": {"seen": {"kind": "scenes", "count": 4}}},
        checkpoint_every=60,
    )
    watching = Watching()
    folder = train(task, watching)
    losses = list(watching.losses.values())
    assert all(map(math.isfinite, losses))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])  # seen: 0.62
    scores = watching.scores[60]
    assert set(scores) == {
        f"seen/{name}" for name in ("loss", "caption", "colour", "presence", "pass")
    }
    assert all(0 <= value <= 1 for name, value in scores.items() if name != "seen/loss")
    with Image.open(task.folder / "loss.png") as picture:
        assert picture.format == "PNG"

    model = ViPE.from_pretrained(folder)
    things = model.config.perception.things
    assert things
    assert set(things) <= set(tiny.COLOURS)
    named = replace(task.config.perception, things=things)
    assert model.config == replace(task.config, perception=named)
    saved, trained = load_file(folder / "model.safetensors"), weights(task)
    for name, value in saved.items():
        assert torch.equal(value, trained[f"module.{name}"].to(value.dtype)), name
    seen = model.see(tiny.ColourClips().render("plain/red"))
    assert seen.delta(seen.targets[0]).any()
    assert isinstance(model.ask(seen, "What colour is it?"), str)


def test_the_features_of_a_source_are_computed_once(make: Any) -> None:
    train(make("one"), Watching())
    again = Watching()
    train(make("two"), again)
    assert again.encoded == []


def test_held_out_clips_need_not_divide_into_batches(make: Any, tmp_path: Path) -> None:
    # Four clips, three to a batch: the fifth has no features and must not be asked for.
    sources = {"colours": {"kind": "scenes", "count": 6}}
    odd = make(
        sources=[{"clips": 3, "source": {"kind": "scenes", "count": 2}}],
        held_out={"every": 6, "clips": 4, "sources": sources},
        cache=tmp_path / "cache",
    )
    watching = Watching()
    train(odd, watching)
    assert list(watching.scores) == [6]


def test_what_held_out_clips_are_asked_can_be_chosen(make: Any) -> None:
    sources = {"colours": {"kind": "scenes", "count": 6}}
    held_out = {"every": 6, "clips": 6, "sources": sources}
    asked = {}
    for rows in (None, ["presence"]):
        watching = Watching()
        train(make(f"of {rows}", held_out=held_out | {"rows": rows}), watching)
        asked[rows is None] = {name.split("/")[1] for name in watching.scores[6]}
    kinds = {name for name in asked[True] if not name.endswith("loss")}
    assert len(kinds) > 1
    assert {name for name in asked[False] if not name.endswith("loss")} == {"presence"}


@pytest.mark.parametrize("damage", ["cut", "another model"])
def test_a_damaged_checkpoint_is_named(make: Any, damage: str) -> None:
    run = make()
    train(run, Watching())
    path = run.folder / "checkpoint.pt"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        run.model["perception"] = run.model["perception"] | {"rank": 3}
    with pytest.raises(ModelError, match=f"^{path}: cannot resume") as error:
        train(run, Watching())
    assert "\n" not in str(error.value)


def test_a_run_can_start_from_a_model(make: Any) -> None:
    folder = train(make("first"), Watching())
    second = loop.build(make("second", start=str(folder)), Watching())
    saved = load_file(folder / "model.safetensors")
    for name, value in second.module.state_dict().items():
        assert torch.equal(value, saved[name].to(value.dtype)), name
    with pytest.raises(ModelError, match="nowhere: not a model folder"):
        loop.build(make("third", start="nowhere"), Watching())


def test_a_run_can_start_from_a_part_of_a_model(make: Any) -> None:
    folder = train(make("first"), Watching())
    saved = load_file(folder / "model.safetensors")
    run = loop.build(
        make("second", start=str(folder), start_only=["injection"], seed=5), Watching()
    )
    same = {
        name.split(".")[0]: torch.equal(value, saved[name].to(value.dtype))
        for name, value in run.module.state_dict().items()
        if name in ("injection.project.0.weight", "perception.slots")
    }
    assert same == {"injection": True, "perception": False}


def test_a_part_of_a_model_may_have_another_name_in_the_run(make: Any) -> None:
    folder = train(make("first"), Watching())
    saved = load_file(folder / "model.safetensors")
    twin = {"method": "tokens", "reads": "queries", "seed": 5}
    part = {"start": str(folder), "start_only": {"injection": "projector.injection"}}
    fresh, started = (
        loop.build(make(name, **twin, **start), Watching()).module.state_dict()
        for name, start in (("fresh", {}), ("started", part))
    )
    assert fresh.keys() == started.keys()
    taken = {name for name in started if name.startswith("projector.injection.")}
    assert {name.removeprefix("projector.") for name in taken} == {
        name for name in saved if name.startswith("injection.")
    }
    for name, value in started.items():
        if name in taken:
            assert torch.equal(value, saved[name.removeprefix("projector.")].to(value.dtype)), name
        else:
            assert torch.equal(value, fresh[name]), name
    assert any(not torch.equal(started[name], fresh[name]) for name in taken)


def test_a_source_that_is_not_there_is_named(make: Any, tmp_path: Path) -> None:
    source = {"kind": "photographs", "tars": "absent-*.tar"}
    with pytest.raises(RecipeError, match=r"absent-\*\.tar: no such files"):
        train(make(data=tmp_path, sources=[{"clips": 1, "source": source}]), Watching())


def test_only_what_is_to_be_trained_is(make: Any) -> None:
    run = loop.build(make(), Watching())
    before = {name: value.clone() for name, value in run.language.state_dict().items()}
    loop.train_step(run, run.train[0], 0)
    assert all(torch.equal(v, before[name]) for name, v in run.language.state_dict().items())
    assert all(p.grad is None for p in run.language.parameters())
    optimised = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in run.module.parameters()} <= optimised
    assert not {id(p) for p in run.language.parameters()} & optimised


def test_an_answer_counts_when_every_token_of_it_is_right(make: Any) -> None:
    run = loop.build(make(), Watching())
    batch = run.train[0]
    asked = [turn for turns in batch.rows.turns for turn in turns]
    lengths = [len(turn.answer) + 1 for turn in asked]  # a byte a token, and the end
    right = torch.ones(sum(lengths), dtype=torch.bool)
    assert _exact(batch, right) == [(turn.kind, 1.0) for turn in asked]
    right[lengths[0] + lengths[1] - 1] = False  # the end of the second answer
    right[-1] = False
    wrong = {1, len(asked) - 1}
    wanted = [(turn.kind, float(i not in wrong)) for i, turn in enumerate(asked)]
    assert _exact(batch, right) == wanted


def rates(make: Any, alignment: dict[str, Any], **optimizer: Any) -> list[float]:
    run = make(alignment=alignment, optimizer={"final": 0.1, "warmup": 10} | optimizer)
    return [learning_rate(step, run) for step in range(run.optimizer.steps + 1)]


def test_the_learning_rate_warms_up_and_falls_as_a_cosine(make: Any) -> None:
    whole = rates(make, {}, steps=100, learning_rate=2.0)
    assert whole[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert whole[10] == 2.0
    assert whole[55] == pytest.approx(1.1)
    assert whole[100] == pytest.approx(0.2)
    assert all(a > b for a, b in pairwise(whole[10:]))
    assert rates(make, {}, steps=1, learning_rate=1.0, warmup=0)[0] == 1.0


def test_the_gist_has_a_schedule_of_their_own(make: Any) -> None:
    alignment = {"gist_steps": 50, "gist_learning_rate": 7.0}
    both = rates(make, alignment, steps=150, learning_rate=2.0)
    assert both[:50] == pytest.approx(rates(make, {}, steps=50, learning_rate=7.0)[:50])
    assert both[50:] == pytest.approx(rates(make, {}, steps=100, learning_rate=2.0))


def test_the_slots_keep_the_full_rate_and_the_language_model_has_its_own_schedule(
    make: Any,
) -> None:
    both = rates(make, {"steps": 40}, steps=140, learning_rate=2.0)
    assert both[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert both[10:40] == [2.0] * 30
    assert both[40:] == pytest.approx(rates(make, {}, steps=100, learning_rate=2.0))


def test_rows_that_hold_no_question_are_named(make: Any) -> None:
    run = loop.build(make(row_tokens=40), Watching())
    with pytest.raises(RecipeError, match="row_tokens: 40 hold none of the questions of step 1"):
        loop.train_step(run, run.train[0], 0)


def test_the_readers_learn_what_is_held_out(make: Any) -> None:
    sources = {"seen": {"kind": "scenes", "count": 4}}
    task = make(
        sources=[{"clips": 4, "source": {"kind": "scenes", "count": 4}}],
        alignment={"gist_steps": 60, "gist_learning_rate": 1e-2, "steps": 60},
        optimizer={"steps": 120, "learning_rate": 1e-2, "warmup": 5},
        held_out={"every": 60, "clips": 4, "sources": sources},
    )
    watching = Watching()
    train(task, watching)
    of_gists = {"seen/gist_loss", "seen/question_loss", "seen/concept_loss"}
    assert set(watching.scores[60]) == of_gists, "all that the gist's steps teach"
    assert set(watching.scores[120]) == {"seen/gist_loss", "seen/slot_loss", "seen/question_loss"}
    # A token is a byte here: even who knows the words has a loss, of about 3 for a whole bag.
    assert watching.losses[60] < watching.losses[1] - 0.5
    before, after = watching.scores[60], watching.scores[120]
    # The slots know at their first step most of what the gist has learned (seen: 3.8 after 3.2).
    assert watching.losses[61] < watching.losses[60] + 1.2
    # So it is with questions, which the same reader reads of both (seen: 7.1, 2.0, 1.8).
    blank = watching.values[1]["question_loss"]
    assert before["seen/question_loss"] < 0.6 * blank
    assert after["seen/question_loss"] < before["seen/question_loss"]


def test_the_gist_learns_beside_the_language_model_by_its_weight(make: Any) -> None:
    def gradients(weight: float, *, beside: bool) -> dict[str, torch.Tensor]:
        task = make(alignment={"gist_weight": weight}, optimizer={"steps": 1, "clip": 1e9})
        run = loop.build(task, Watching())
        run.optimizer.step = run.optimizer.zero_grad = lambda **_: None  # type: ignore[method-assign,assignment]
        loop.train_step(run, run.train[0], 0, run.gist[0] if beside else None)
        learn = {n: p.grad for n, p in run.module.named_parameters() if p.requires_grad}
        return {
            n: torch.zeros(()) if gradient is None else gradient for n, gradient in learn.items()
        }

    without, half, whole = (
        gradients(weight, beside=beside) for weight, beside in ((1, False), (0.5, True), (1, True))
    )
    learned = [name for name in whole if name.startswith("injection.gist.pool")]
    assert learned
    for name in learned:
        assert whole[name].abs().sum() > 0
        assert_close(half[name] - without[name], (whole[name] - without[name]) / 2)


REWARDED = {"clips": 2, "row_tokens": 200, "max_new_tokens": 6, "source": {"kind": "scenes"}}


def test_captions_are_rewarded_once_there_are_answers_and_alike_after_a_kill(make: Any) -> None:
    whole, killed = (
        make(name, rewarded=REWARDED, alignment={"gist_steps": 2}) for name in ("whole", "killed")
    )
    through = Watching()
    train(whole, through)
    assert [step for step, values in through.values.items() if "reward" in values] == [3, 4, 5, 6]
    with pytest.raises(KeyboardInterrupt):
        train(killed, Watching(stop_after=4))
    train(killed, Watching())
    one, other = weights(whole), weights(killed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_loss_of_rewards_counts_by_its_weight(make: Any) -> None:
    def gradient(weight: float, worth: float) -> torch.Tensor:
        task = make(rewarded=REWARDED | {"weight": weight}, optimizer={"steps": 1, "clip": 1e9})
        run = loop.build(task, Watching())
        assert isinstance(run.method, WritesWeights)
        assert run.method.critic is not None
        assert run.rewarded is not None
        run.method.critic.reward = lambda captions, _: worth * torch.tensor([*map(len, captions)])
        run.optimizer.step = run.optimizer.zero_grad = lambda **_: None  # type: ignore[method-assign,assignment]
        loop.train_step(run, run.train[0], 0, rewarded=run.rewarded[0])
        return torch.cat([p.grad.flatten() for p in run.module.parameters() if p.grad is not None])

    without, once, twice = gradient(1.0, 0.0), gradient(1.0, 0.5), gradient(2.0, 0.5)
    assert (once - without).abs().max() > 1e-4
    assert_close(twice - without, 2 * (once - without), rtol=1e-3, atol=1e-6)


def test_files_are_trained_on_and_broken_ones_are_named_counted_and_skipped(
    make: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("red", "blue", "green", "white"):
        Image.new("RGB", (20, 20), name).save(tmp_path / f"{name}.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "red.png").read_bytes()[:30])
    turns = [{"from": "human", "value": "<image>\nWhat colour?"}, {"from": "gpt", "value": "red"}]
    entries = [
        {"image": f"{name}.png", "conversations": turns}
        for name in ("red", "torn", "blue", "absent")
    ]
    (tmp_path / "train.json").write_text(json.dumps([*entries, {"image": "red.png"}]))
    held = [{"image": f"{name}.png", "caption": "a film"} for name in ("green", "torn", "white")]
    (tmp_path / "val.jsonl").write_text("\n".join(map(json.dumps, held)))
    media.photographs(tmp_path / "shards" / "train-0.tar", ["one", "two", "three"])
    task = make(
        data=tmp_path,
        sources=[
            {"clips": 2, "source": {"kind": "conversations", "files": "*.json"}},
            {"clips": 2, "source": {"kind": "webdataset", "tars": "shards/*.tar"}},
        ],
        held_out={"clips": 2, "sources": {"h": {"kind": "conversations", "files": "*.jsonl"}}},
        optimizer={"steps": 2},
    )
    told = Watching()
    assert (train(task, told) / "model.safetensors").is_file()
    assert set(told.losses) == {1, 2}
    assert f"{tmp_path}/train.json: 3 of 5 records are skipped" in caplog.messages
    assert f"{tmp_path}/val.jsonl: 1 of 3 records are skipped" in caplog.messages
    named = [message for message in caplog.messages if message.endswith(": skipped")]
    for fault in (
        "entry 2: ", "torn.png", "absent.png: No such file", "entry 5: has no 'conversations'",
    ):  # fmt: skip
        assert sum(fault in message for message in named if "train.json" in message) == 1
