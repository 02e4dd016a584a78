"""Quick starts: what is not imported, with the same answer; and what happens when it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vipe import Decoding, ViPE
from vipe.cli import startup

HEAVY = {
    "torch", "transformers", "accelerate", "timm", "peft", "av", "numpy", "PIL", "pydantic",
    "matplotlib",
}  # fmt: skip


def python(
    code: str, *arguments: object, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, vipe.cli\nvipe.cli.run(['--help'])\nprint('MODULES', *sys.modules)"
    done = python(code)
    assert done.returncode == 0
    assert not HEAVY & set(done.stdout.partition("MODULES")[2].split())


def test_the_command_s_own_process_answers_without_the_compiler(
    model_folder: Path, saved_vipe: ViPE, clip: Path
) -> None:
    code = """
import sys
from vipe.cli import startup, main
leave = startup.leave
def told(status):
    names = ("sympy", "torch._inductor", "torch.distributed.tensor", "accelerate")
    print(*(name for name in names if name in sys.modules), file=sys.stderr)
    leave(status)
startup.leave = told
main()
"""
    options = ("--model", model_folder, "--max-new-tokens", 12)
    done = python(code, "ask", clip, "What is it?", *options)
    expected = saved_vipe.ask(
        saved_vipe.see(clip), "What is it?", decoding=Decoding(max_new_tokens=12)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected + "\n"
    notes = [line for line in done.stderr.splitlines() if not line.startswith("vipe: ")]
    assert notes == [""]  # nothing of libraries, and none of these imported


@pytest.mark.default_model
def test_a_first_answer_unpacks_the_language_model(clip: Path, tmp_path: Path) -> None:
    code = "from vipe.cli import main\nmain()"
    empty = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = python(code, "ask", clip, "What is in the video?", environment=empty)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    (folder,) = (tmp_path / "vipe" / "backbones").iterdir()
    assert (folder / "model.safetensors").is_file()


def test_another_backbone_than_the_foreseen_ones_is_built_by_all_of_timm() -> None:
    code = """
import sys
from vipe.cli import startup
startup.own_process = True
startup.lean_imports()
import timm
print(len(timm.__version__) > 2, type(timm).__name__)
print(*(name for name in ("timm.models.resnet", "torchvision.models") if name in sys.modules))
lite = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
print(type(timm).__name__, lite.feature_info.channels())
print(sum(p.numel() for p in timm.create_model("test_resnet", pretrained=False).parameters()))
import timm, torchvision
print(type(timm).__name__, timm.is_model("resnet18"), timm.data.IMAGENET_DEFAULT_MEAN[0])
print(type(torchvision.models.resnet18()).__name__, timm.list_models("tf_efficientnet_lite0"))
again = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
print([p.shape for p in again.parameters()] == [p.shape for p in lite.parameters()])
"""
    done = python(code)
    assert done.stdout.splitlines() == [
        "True _Entrance",
        "",
        "_Entrance [16, 24, 40, 112, 320]",
        "469688",
        "module True 0.485",
        "ResNet ['tf_efficientnet_lite0']",
        "True",
    ], done.stderr


def test_where_a_package_is_otherwise_all_of_timm_is_imported() -> None:
    code = """
import sys
from vipe.cli import startup
startup.own_process = True
startup._ENTERED = ("torchvision", "no_such_package", "timm")
startup.lean_imports()
print([n for n, m in sys.modules.items() if isinstance(m, startup._Entrance)])
import timm, torchvision
print(timm.is_model("resnet18"), type(torchvision.models.resnet18()).__name__)
"""
    done = python(code)
    assert done.stdout.splitlines() == ["[]", "True ResNet"], done.stderr


def test_in_other_processes_nothing_is_changed() -> None:
    import torch
    from transformers import PreTrainedModel

    usual = PreTrainedModel.get_init_context
    startup.lean_imports()
    assert PreTrainedModel.get_init_context == usual
    assert not isinstance(sys.modules.get("torch._dynamo"), startup._StandIn)
    assert torch.distributed.is_available()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> startup._StandIn:
    """For a module of this test that stands for the compiler."""
    name, foreseen = "colorsys", {"mark_me": "mark", "rgb_to_hsv": "late"}
    monkeypatch.setattr(startup, "_COMPILER", {name: foreseen})
    module = startup._StandIn(name, foreseen)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_stand_ins_mark_nothing_and_load_the_real_module_when_called(
    stand_in: startup._StandIn,
) -> None:
    from colorsys import mark_me, rgb_to_hsv  # type: ignore[attr-defined]

    def function() -> None: ...

    assert mark_me(function) is function
    assert mark_me(reason="why")(function) is function
    assert sys.modules["colorsys"] is stand_in
    assert rgb_to_hsv(1.0, 1.0, 1.0) == (0.0, 0.0, 1.0)
    assert sys.modules["colorsys"] is not stand_in


def test_what_is_not_foreseen_is_the_real_module_s(stand_in: startup._StandIn) -> None:
    assert stand_in.hls_to_rgb(0.0, 1.0, 0.0) == (1.0, 1.0, 1.0)
    assert sys.modules["colorsys"] is not stand_in
    with pytest.raises(AttributeError):
        _ = stand_in.__path__
