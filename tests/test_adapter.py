"""Adapter folders: there and back, whole or not at all, and what is said of damaged ones."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from vipe.errors import AdapterError
from vipe.weights import PerceptualWeights

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"
TARGET = "model.layers.0.self_attn.o_proj"
KEY_A, KEY_B = (f"base_model.model.{TARGET}.lora_{factor}.weight" for factor in "AB")


def make(
    *, samples: int | None = None, alpha: float = 6.0, dtype: torch.dtype = torch.float32
) -> PerceptualWeights:
    lead = () if samples is None else (samples,)
    return PerceptualWeights(
        A={TARGET: torch.randn(3, 6, dtype=dtype), "lm_head": torch.randn(3, 6, dtype=dtype)},
        B={
            TARGET: torch.randn(*lead, 5, 3, dtype=dtype),
            "lm_head": torch.randn(*lead, 9, 3, dtype=dtype),
        },
        alpha=alpha,
        base_model="org/tiny",
        metadata={"video": "Hund im Garten – α.mp4", "frames": "8"},
    )


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("alpha", [6.0, 0.5, -2.0, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_and_back(tmp_path: Path, alpha: float, dtype: torch.dtype) -> None:
    weights = make(alpha=alpha, dtype=dtype)
    weights.save(tmp_path / "new" / "adapter")
    assert sorted(files(tmp_path)) == [f"new/adapter/{CONFIG}", f"new/adapter/{TENSORS}"]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "new" / "adapter").iterdir()}
    (tmp_path / "plain").touch()
    assert modes == {(tmp_path / "plain").stat().st_mode & 0o777}, "readable as any new file is"
    loaded = PerceptualWeights.load(str(tmp_path / "new" / "adapter"))
    assert set(loaded.targets) == set(weights.targets)
    for target in weights.targets:
        for one, two in zip(loaded.factors(target), weights.factors(target), strict=True):
            assert one.dtype == dtype
            assert torch.equal(one, two)
    assert loaded.alpha == pytest.approx(alpha)
    assert (loaded.base_model, loaded.metadata) == (weights.base_model, weights.metadata)


def test_one_video_of_a_batch_in_one_storage(tmp_path: Path) -> None:
    """The heads may cut all factors from one tensor, which safetensors would refuse to write."""
    whole = torch.randn(2, 14, 3, requires_grad=True)
    weights = PerceptualWeights(
        A=make().A,
        B={TARGET: whole[:, :5], "lm_head": whole[:, 5:]},
        alpha=6.0,
        base_model="org/tiny",
    )
    weights[1].save(tmp_path / "one")
    weights[1:].save(tmp_path / "two")
    for name in ("one", "two"):
        assert torch.equal(PerceptualWeights.load(tmp_path / name).B["lm_head"], whole[1, 5:])
    with pytest.raises(ValueError, match="batch of 2"):
        weights.save(tmp_path / "both")
    assert not (tmp_path / "both").exists()


def test_the_configuration_is_stable_and_names_the_layers_exactly(tmp_path: Path) -> None:
    weights = make()
    weights.save(tmp_path / "a")
    weights.save(tmp_path / "b")
    assert files(tmp_path / "a")[CONFIG] == files(tmp_path / "b")[CONFIG]
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    assert config["target_modules"] == ["lm_head", TARGET]
    assert (config["r"], config["lora_alpha"], config["peft_type"]) == (3, 6, "LORA")
    assert config["base_model_name_or_path"] == "org/tiny"
    assert config["task_type"] == "CAUSAL_LM"


def test_layers_may_have_ranks_of_their_own(tmp_path: Path) -> None:
    weights = make()
    wider = replace(
        weights,
        A={**weights.A, TARGET: torch.randn(7, 6)},
        B={**weights.B, TARGET: torch.randn(5, 7)},
        alpha=14.0,
    )
    assert (wider.rank, wider.scale) == (7, 2.0)
    wider.save(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / CONFIG).read_text())
    # Who takes no notice of the patterns has room for the largest, and scales all layers alike.
    assert (config["r"], config["lora_alpha"]) == (7, 14)
    assert (config["rank_pattern"], config["alpha_pattern"]) == ({"lm_head": 3}, {"lm_head": 6})
    loaded = PerceptualWeights.load(tmp_path / "adapter")
    assert (loaded.rank, loaded.scale) == (7, 2.0)
    for target in wider.targets:
        for one, two in zip(loaded.factors(target), wider.factors(target), strict=True):
            assert torch.equal(one, two)
    twice = loaded + wider
    assert {target: twice.A[target].shape[0] for target in wider.targets} == {
        target: wider.A[target].shape[0] for target in wider.targets
    }


def test_an_adapter_is_replaced_and_an_empty_folder_filled(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for _ in range(3):
        weights = make()
        weights.save(folder)
        assert torch.equal(PerceptualWeights.load(folder).B[TARGET], weights.B[TARGET])
        assert names(tmp_path) == ["adapter"]
        assert sorted(files(folder)) == [CONFIG, TENSORS]


def test_who_reads_an_adapter_that_is_written_again_finds_one_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, first, second = tmp_path / "adapter", make(), make()
    first.save(folder)
    found: list[PerceptualWeights] = []

    def look(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            found.append(PerceptualWeights.load(folder))
            done = function(*arguments, **named)
            found.append(PerceptualWeights.load(folder))
            return done

        return call

    for name in ("mkdir", "rename", "replace", "write_bytes"):  # whatever changes the disk
        monkeypatch.setattr(Path, name, look(getattr(Path, name)))
    second.save(folder)
    are = [torch.equal(one.B[TARGET], second.B[TARGET]) for one in found]
    assert are == sorted(are)
    assert are[0] is False
    assert are[-1] is True
    assert all(
        is_second or torch.equal(one.B[TARGET], first.B[TARGET])
        for one, is_second in zip(found, are, strict=True)
    )


@pytest.mark.parametrize("with_adapter", [False, True])
def test_a_folder_with_anything_else_is_not_replaced(tmp_path: Path, with_adapter: bool) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    if with_adapter:
        make().save(folder)
    (folder / "thesis.txt").write_text("years of work")
    before = files(tmp_path)
    with pytest.raises(AdapterError, match=r"mine: not replaced, it holds thesis\.txt"):
        make().save(folder)
    assert files(tmp_path) == before
    with pytest.raises(AdapterError, match=r"thesis\.txt: exists and is not a folder"):
        make().save(folder / "thesis.txt")
    with pytest.raises(AdapterError, match=r"below: cannot write"):
        make().save(folder / "thesis.txt" / "below")
    assert files(tmp_path) == before


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", ["tensors", "config", "replace", "first rename", "second rename"])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: str
) -> None:
    folder = tmp_path / "adapter"
    make().save(folder)
    before, renames, rename = files(tmp_path), [], Path.rename

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    def fail_at_rename(self: Path, to: Path) -> Path:
        renames.append(to)
        if len(renames) == (1 if at == "first rename" else 2):
            raise error
        return rename(self, to)

    with monkeypatch.context() as patch:
        if at == "tensors":
            patch.setattr(Path, "write_bytes", fail)
        elif at == "config":
            patch.setattr("peft.LoraConfig.save_pretrained", fail)
        elif at == "replace":
            patch.setattr(Path, "replace", fail)
        else:
            patch.setattr(Path, "rename", fail_at_rename)
        expected = AdapterError if isinstance(error, OSError) else KeyboardInterrupt
        with pytest.raises(expected) as caught:
            # Of another configuration, so that the folder itself is what is replaced.
            make(alpha=0.5 if "rename" in at else 6.0).save(folder)
    if expected is AdapterError:
        assert str(caught.value) == f"{folder}: cannot write the adapter: No space left on device"
    assert files(tmp_path) == before
    assert names(tmp_path) == ["adapter"]


# What is wrong with a folder, as a change of a good one, and what is said of it.


def settings(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(config | changes))

    return change


def tensors(**changes: torch.Tensor | None) -> Callable[[Path], None]:
    keys = {"A": KEY_A, "B": KEY_B}

    def change(folder: Path) -> None:
        stored = safetensors.torch.load_file(folder / TENSORS)
        for name, tensor in changes.items():
            stored[keys.get(name, name)] = tensor
        stored = {k: v for k, v in stored.items() if v is not None}
        safetensors.torch.save_file(stored, folder / TENSORS)

    return change


def content(name: str, data: Callable[[bytes], bytes] | None) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        old = (folder / name).read_bytes()
        (folder / name).unlink()
        if data is not None:
            (folder / name).write_bytes(data(old))

    return change


def no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def only_a_pickle(folder: Path) -> None:
    (folder / TENSORS).rename(folder / "adapter_model.bin")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no such folder": (no_folder, "no such adapter folder"),
    "no configuration": (content(CONFIG, None), f"not an adapter, {CONFIG} is missing"),
    "no tensors": (content(TENSORS, None), f"not an adapter, {TENSORS} is missing"),
    "only a pickle": (only_a_pickle, f"{TENSORS} is missing"),
    "empty configuration": (content(CONFIG, lambda old: b""), f"{CONFIG}: not valid JSON"),
    "cut configuration": (content(CONFIG, lambda old: old[:99]), f"{CONFIG}: not valid JSON"),
    "bytes": (content(CONFIG, lambda old: b"\xff\xfe\x00"), f"{CONFIG}: not valid JSON"),
    "a list": (content(CONFIG, lambda old: b"[1]"), r"not a LoRA adapter \(peft_type is None\)"),
    "another method": (settings(peft_type="IA3"), r"not a LoRA adapter \(peft_type is 'IA3'\)"),
    "rslora": (settings(use_rslora=True), "not a plain LoRA, it uses use_rslora"),
    "dora and bias": (settings(use_dora=True, bias="all"), "it uses bias, use_dora"),
    "pissa": (settings(init_lora_weights="pissa"), "it uses init_lora_weights"),
    "saved modules": (settings(modules_to_save=["lm_head"]), "it uses modules_to_save"),
    "rank 0": (settings(r=0), "not a usable configuration: ranks"),
    "rank of words": (settings(r="eight"), "not a usable configuration"),
    "no alpha": (settings(lora_alpha=None), "not a usable configuration"),
    "infinite alpha": (settings(lora_alpha=float("inf")), "not a usable configuration"),
    "another rank": (settings(r=4), f"has rank 3, {CONFIG} says 4"),
    "pattern": (settings(rank_pattern={"(": 3}), "not a usable configuration"),
    "pattern list": (settings(rank_pattern=[3]), "not a usable configuration"),
    "zero bytes": (content(TENSORS, lambda old: b""), f"{TENSORS}: damaged"),
    "cut": (content(TENSORS, lambda old: old[:-9]), f"{TENSORS}: damaged"),
    "noise": (content(TENSORS, lambda old: b"noise" * 99), f"{TENSORS}: damaged"),
    "nothing in it": (
        tensors(
            A=None,
            B=None,
            **{f"base_model.model.lm_head.lora_{f}.weight": None for f in "AB"},
        ),
        "is empty",
    ),
    "a factor missing": (tensors(B=None), rf"o_proj has no {KEY_B}"),
    "the other missing": (tensors(A=None), f"unexpected {KEY_B}"),
    "a bias": (tensors(bias=torch.zeros(3)), "unexpected bias"),
    "names of no PEFT": (tensors(A=None, x=torch.zeros(3)), "unexpected"),
    "no matrix": (tensors(A=torch.zeros(6)), r"has torch.float32 \(6,\)"),
    "ranks apart": (tensors(B=torch.zeros(5, 2)), r"\(3, 6\) and torch.float32 \(5, 2\)"),
    "whole numbers": (tensors(A=torch.zeros(3, 6, dtype=torch.int64)), r"torch\.int64"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    spoil, said = BAD[name]
    folder = tmp_path / "adapter"
    make().save(folder)
    spoil(folder)
    with pytest.raises(AdapterError, match=said) as caught:
        PerceptualWeights.load(folder)
    assert str(caught.value).startswith(str(folder))
    assert len(str(caught.value).splitlines()) == 1
