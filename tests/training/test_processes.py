"""Several processes: two do what one does with twice the micro-batches, by copies or by parts.

They are started once, by torchrun, and go through all the runs of this module one after another
(`several_processes.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from several_processes import go
from torch.testing import assert_close

import tiny
from vipe import ViPEConfig
from vipe.training import loop, sources
from vipe.training.log import RunLog
from vipe.training.processes import Processes
from vipe.training.recipe import Recipe

STOPPED = 4  # between two checkpoints
TWIN = {"method": "tokens", "alignment": {"steps": 1}}
# One step: a rounding that falls to the other side is as large as what is compared.
LORA = {"language_model": {"tuned": "lora", "rank": 3, "after": 3, "learning_rate": 1e-3}}
WHOLE = {"language_model": {"tuned": "full", "after": 3, "learning_rate": 1e-4}}
INT8 = {"precision": "int8", "alignment": {}, "held_out": {}, "optimizer": {"steps": 1}}


def launch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Start two processes on the CPU."""
    paths = [str(Path(tiny.__file__).parent), os.environ.get("PYTHONPATH", "")]
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        [sys.executable, *torchrun, *map(str, arguments)],
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "ACCELERATE_USE_CPU": "true",
            "PYTHONPATH": os.pathsep.join(paths),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


class Runs:
    """Recipes of one folder that differ in little, with a step of every stage."""

    def __init__(self, folder: Path, config: ViPEConfig) -> None:
        self.folder, self.config = folder, config

    def values(self, name: str, **changes: Any) -> dict[str, Any]:
        values: dict[str, Any] = {
            "name": name,
            "model": self.config.to_dict(),
            "cache": str(self.folder / "cache"),
            "runs": str(self.folder),
            # Over fewer videos than these, a channel in which they are all but alike makes much of
            # rounding: a norm divides by how far they are apart.
            "sources": [{"clips": 6, "source": {"kind": "scenes"}}],
            "held_out": {"every": 3, "clips": 4, "sources": {"seen": {"kind": "scenes"}}},
            "alignment": {"gist_steps": 1, "steps": 1, "weight": 0.3, "gist_weight": 0.5},
            "optimizer": {"steps": 6, "learning_rate": 1e-3, "warmup": 2},
            "row_tokens": 150,
            "merge_ratios": [0.0, 0.5],
            "checkpoint_every": 3,
        }
        return values | changes

    def alone(self, name: str, *, stop_before: int | None = None, **changes: Any) -> None:
        """Do a run in this process."""
        go(self.values(name, **changes), stop_before)

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return torch.load(self.folder / name / "checkpoint.pt", weights_only=True)["module"]

    def log(self, name: str) -> dict[tuple[str, str, str], float]:
        rows = RunLog(self.folder / name, resume_at=99).rows()
        return {
            (row["split"], row["step"], row["name"]): float(row["value"])
            for row in rows
            if not row["name"].endswith("_per_second")
        }


@pytest.fixture(scope="module")
def runs(tiny_config: ViPEConfig, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All runs of two processes, done, and those of one that they are compared with."""
    made = Runs(tmp_path_factory.mktemp("processes"), tiny_config)
    made.alone("one, then parts", stop_before=STOPPED, accumulate=2)
    todo: list[tuple[dict[str, Any], int | None]] = [
        (made.values("copies"), None),
        (made.values("copies, stopped"), STOPPED),
        (made.values("copies, stopped"), None),
        (made.values("parts", shard=True), None),
        (made.values("parts, stopped", shard=True), STOPPED),
        (made.values("parts, stopped", shard=True), None),
        (made.values("parts, then one", shard=True), STOPPED),
        (made.values("one, then parts", shard=True), None),
        (made.values("four", accumulate=2), None),
        (made.values("twin, parts", shard=True, **TWIN), None),
        (made.values("int8, parts", shard=True, **INT8), None),
        (made.values("lora, copies", **LORA), None),
        (made.values("whole, copies", **WHOLE), None),
        (made.values("whole, parts", shard=True, **WHOLE), STOPPED),
        (made.values("whole, parts", shard=True, **WHOLE), None),
    ]
    (made.folder / "runs.json").write_text(json.dumps(todo))
    launch(Path(__file__).with_name("several_processes.py"), made.folder / "runs.json")
    made.alone("one", accumulate=2)
    made.alone("one of four", accumulate=4)
    made.alone("parts, then one", accumulate=2)
    made.alone("twin, one", accumulate=2, **TWIN)
    made.alone("int8, one", accumulate=2, **INT8)
    made.alone("lora, one", accumulate=2, **LORA)
    made.alone("whole, one", accumulate=2, **WHOLE)
    return made


@pytest.mark.parametrize(
    ("several", "alone"),
    [
        ("copies", "one"),
        ("parts", "one"),
        ("parts, then one", "one"),
        ("one, then parts", "one"),
        ("four", "one of four"),
        ("twin, parts", "twin, one"),
        ("int8, parts", "int8, one"),
        ("lora, copies", "lora, one"),
        ("whole, copies", "whole, one"),
        ("whole, parts", "whole, one"),
    ],
)
def test_processes_do_what_one_does_with_as_many_micro_batches(
    runs: Runs, several: str, alone: str
) -> None:
    found, wanted = runs.log(several), runs.log(alone)
    assert found.keys() == wanted.keys()
    assert {name for _, _, name in found} > {"loss", "gradient_norm", "tokens", "examples"}
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name  # seen: 2e-6
    weights = runs.weights(alone)
    for name, tensor in runs.weights(several).items():
        # Seen: 3e-5, of a bias of keys: its gradient is rounding alone, of which Adam makes more.
        assert_close(tensor, weights[name], rtol=0, atol=3e-4, msg=name)


@pytest.mark.parametrize("kind", ["copies", "parts"])
def test_a_run_that_was_killed_and_resumed_is_the_same_run(runs: Runs, kind: str) -> None:
    one, other = runs.weights(kind), runs.weights(f"{kind}, stopped")
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert runs.log(kind) == runs.log(f"{kind}, stopped")


def test_what_parts_leave_is_whole(runs: Runs) -> None:
    folder = runs.folder / "parts"
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint.pt", "log.csv", "model",
    }  # fmt: skip
    one, parts = (
        torch.load(runs.folder / name / "checkpoint.pt", weights_only=True)
        for name in ("one", "parts")
    )
    for kind in ("module", "optimizer"):
        assert shapes(one[kind]) == shapes(parts[kind])
    for name, value in load_file(folder / "model" / "model.safetensors").items():
        assert torch.equal(value, parts["module"][f"module.{name}"].bfloat16()), name


def test_a_language_model_in_parts_is_saved_whole(runs: Runs) -> None:
    one, parts = (
        load_file(runs.folder / name / "model" / "language_model" / "model.safetensors")
        for name in ("whole, one", "whole, parts")
    )
    assert shapes(one) == shapes(parts)
    trained = runs.weights("whole, parts")
    for name, value in parts.items():
        own = trained["language." + name.replace("model.", "body.", 1)]
        assert torch.equal(value, own.bfloat16()), name


def shapes(value: Any) -> Any:
    """What a state is made of, with tensors' shapes in place of their values."""
    match value:
        case torch.Tensor():
            return value.dtype, value.shape
        case dict():
            return {key: shapes(part) for key, part in value.items()}
        case list():
            return [shapes(part) for part in value]
        case _:
            return type(value)


def test_micro_batches_give_the_gradient_of_their_mean(
    tiny_config: ViPEConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.Scenes, "build", lambda *_, **__: tiny.ColourClips())
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: None)
    monkeypatch.setattr(torch.optim.AdamW, "zero_grad", lambda self, **_: None)

    def gradients(*places: int) -> dict[str, torch.Tensor]:
        values = Runs(tmp_path, tiny_config).values(
            "run", accumulate=len(places), alignment={"weight": 0.3}, optimizer={"steps": 1}
        )
        values["optimizer"]["clip"] = 1e9
        run = loop.build(Recipe.model_validate(values), tiny.Quiet())
        for place in places:
            loop.train_step(run, run.train[place], 0, last=place == places[-1])
        parameters = run.trained.named_parameters()
        return {name: p.grad for name, p in parameters if p.grad is not None}

    first, second, both = gradients(0), gradients(1), gradients(0, 1)
    assert both.keys() == first.keys()
    for name, gradient in both.items():
        assert_close(gradient, (first[name] + second[name]) / 2)


def test_every_batch_is_seen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(accumulate=3)
    assert list(processes.places(2, 4)) == [6, 7, 8, 9, 10, 11]
    state = type(processes._accelerator)
    monkeypatch.setattr(state, "num_processes", 2)
    seen = []
    for index in range(2):
        monkeypatch.setattr(state, "process_index", index)
        places = list(processes.places(2, 4))
        assert places == [*processes.places(2, 3), *processes.places(3, 4)]
        seen += places
    assert sorted(seen) == list(range(12, 24))


def test_alone_nothing_is_split() -> None:
    assert not Processes(shard=True).shard


def test_the_command_line_in_several_processes_speaks_once(
    tiny_config: ViPEConfig, tmp_path: Path
) -> None:
    for name in ("red", "blue", "green"):
        Image.new("RGB", (20, 20), name).save(tmp_path / f"{name}.png")
    rows = [
        {"image": f"{name}.png", "question": "What colour?", "answer": name}
        for name in ("red", "blue", "absent", "green")
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    values = Runs(tmp_path, tiny_config).values(
        "run",
        data=str(tmp_path),
        sources=[{"clips": 2, "source": {"kind": "conversations", "files": "*.jsonl"}}],
        held_out={},
        optimizer={"steps": 2},
    )
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(values))))
    done = launch("-m", "vipe", "train", tmp_path / "run.yaml")
    assert done.stdout == f"{tmp_path / 'run' / 'model'}\n"
    assert done.stderr.count("absent.png") == 1
    assert [path.name for path in (tmp_path / "cache" / "features").glob("*/*")] != []
    counted = Runs(tmp_path, tiny_config).log("run")
    assert counted["train", "1", "examples"] == 4  # two clips in each process
