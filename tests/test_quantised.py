"""Updates on a quantised language model: beside it, and never in its weights."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

import tiny
import tiny_backbones
from vipe import PerceptualWeights, ViPE
from vipe.attachment import attach
from vipe.errors import ModelError
from vipe.model_files import resolve_folder
from vipe.perception import PerceptionConfig
from vipe.quantised import home_of, is_quantised
from vipe.targets import find_targets

AO = pytest.mark.skipif(
    importlib.util.find_spec("torchao") is None, reason="torchao is not installed: extra quantised"
)
BITS = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def load(folder: str | Path, **settings: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **settings).eval()


def by_transformers(folder: str | Path) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig

    return load(folder, quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))


def by_torchao(folder: str | Path) -> Any:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    model = load(folder)
    quantize_(model, Int8WeightOnlyConfig())
    return model


def by_bitsandbytes(folder: str | Path, bits: int = 8) -> Any:
    """On the GPU where there is one."""
    from transformers import BitsAndBytesConfig

    settings: dict[str, Any] = {f"load_in_{bits}bit": True}
    where = "cuda" if torch.cuda.is_available() else "cpu"
    return load(folder, quantization_config=BitsAndBytesConfig(**settings), device_map=where)


WAYS = [
    pytest.param(by_transformers, marks=AO, id="torchao by transformers"),
    pytest.param(by_torchao, marks=AO, id="torchao by itself"),
    pytest.param(by_bitsandbytes, marks=BITS, id="bitsandbytes, 8 bits"),
]


@pytest.fixture(scope="module", params=WAYS)
def language_model(request: pytest.FixtureRequest, tiny_language_model_folder: Path) -> Any:
    return request.param(tiny_language_model_folder)


@pytest.fixture(scope="module")
def model(language_model: Any, model_folder: Path) -> ViPE:
    return ViPE.from_pretrained(
        model_folder, language_model=language_model, device=language_model.device
    )


@pytest.fixture(scope="module")
def seen(model: ViPE) -> PerceptualWeights:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return model.see(tiny.frames(5, size=64))


def ids(model: Any) -> Tensor:
    return torch.randint(3, 200, (2, 9)).to(model.device)


def logits(model: Any, prompts: Tensor) -> Tensor:
    with torch.no_grad():
        return model(input_ids=prompts).logits.float()


def stored(model: Any) -> list[tuple[str, Tensor]]:
    """What is stored of the quantised weights: whole numbers and scales."""
    found = []
    for name, weight in model.named_parameters():
        if is_quantised(weight):
            parts = getattr(weight, "__tensor_flatten__", None)
            inner = [getattr(weight, part) for part in parts()[0]] if parts else [weight.data]
            found += [(f"{name} {i}", part.clone()) for i, part in enumerate(inner)]
    return found


def random_weights(targets: dict[str, tuple[int, int]]) -> PerceptualWeights:
    return PerceptualWeights(
        A={name: torch.randn(2, size[0]) * 0.3 for name, size in targets.items()},
        B={name: torch.randn(size[1], 2) * 0.3 for name, size in targets.items()},
        alpha=2.0,
        base_model="tiny",
    )


def test_a_video_is_added_beside_the_weights(language_model: Any, seen: PerceptualWeights) -> None:
    prompts = ids(language_model)
    before, bare = stored(language_model), logits(language_model, prompts)
    assert before
    with seen.attached_to(language_model):
        attached = logits(language_model, prompts)
    assert (attached - bare).abs().max() > 0.1
    assert torch.equal(logits(language_model, prompts), bare)
    for (name, value), (_, now) in zip(before, stored(language_model), strict=True):
        assert torch.equal(now, value), name


@AO
def test_it_is_exact_but_for_the_quantised_weights(
    tiny_language_model_folder: Path, model_folder: Path
) -> None:
    """As attached to a model whose weights are the numbers that the quantised ones stand for."""
    quantised = by_torchao(tiny_language_model_folder)
    plain = load(tiny_language_model_folder)
    modules = dict(quantised.named_modules())
    for name, module in plain.named_modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(modules[name].weight.dequantize().float())
    seen = ViPE.from_pretrained(model_folder, only_see=True).see(tiny.frames(5, size=64))
    prompts = ids(plain)
    with seen.attached_to(plain), seen.attached_to(quantised):
        # Logits up to about 10; seen: 4e-6.
        torch.testing.assert_close(
            logits(quantised, prompts), logits(plain, prompts), rtol=1e-5, atol=5e-5
        )


@BITS
def test_four_bits(tiny_tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    """Of a wider model: bitsandbytes packs 64 numbers at a time."""
    plain: Any = tiny_backbones.language_model(
        tiny_tokenizer, hidden_size=128, intermediate_size=256
    )
    plain.save_pretrained(tmp_path)
    quantised = by_bitsandbytes(tmp_path, 4)
    weights = random_weights(find_targets(plain, PerceptionConfig()))
    prompts = ids(quantised)
    bare = logits(quantised, prompts)
    before = stored(quantised)  # the first pass packs them anew, on a CPU
    with weights.attached_to(quantised):
        assert (logits(quantised, prompts) - bare).abs().max() > 0.1
        for target in weights.targets:
            check_addition(quantised.get_submodule(target), *weights.factors(target))
    assert torch.equal(logits(quantised, prompts), bare)
    for (name, value), (_, now) in zip(before, stored(quantised), strict=True):
        assert torch.equal(now, value), name
    with pytest.raises(ModelError, match="is quantised"):
        weights.merge_into(quantised)


def check_addition(layer: nn.Module, A: Tensor, B: Tensor) -> None:
    """What a layer gives beyond what it gives by itself is the update's, which has scale 1."""
    where = next(iter((*layer.parameters(), *layer.buffers()))).device
    x = torch.randn(1, 3, A.shape[1], device=where)
    with torch.no_grad():
        added = (layer(x) - layer.forward(x)).cpu()
    torch.testing.assert_close(added, x.cpu() @ A.T @ B.T, rtol=1e-4, atol=1e-4)


def test_merging_is_refused_and_nothing_changed(
    language_model: Any, seen: PerceptualWeights
) -> None:
    prompts = ids(language_model)
    bare = logits(language_model, prompts)
    with pytest.raises(ModelError, match="is quantised: attach instead") as error:
        seen.merge_into(language_model)
    assert "\n" not in str(error.value)
    assert torch.equal(logits(language_model, prompts), bare)


def test_it_answers_and_a_batch_is_its_videos(model: ViPE, seen: PerceptualWeights) -> None:
    other = model.see(tiny.frames(4, size=64))
    questions = ["What is it?", "Who goes there?"]
    alone = [model.ask(seen, questions[0]), model.ask(other, questions[1])]
    assert model.ask_batch([seen, other], questions) == alone
    assert all(alone)


def test_peft_gives_the_same_logits(
    language_model: Any, seen: PerceptualWeights, tmp_path: Path
) -> None:
    prompts = ids(language_model)
    with seen.attached_to(language_model):
        attached = logits(language_model, prompts)
    seen.save(tmp_path / "adapter")
    peft = PeftModel.from_pretrained(copy.deepcopy(language_model), str(tmp_path / "adapter"))
    torch.testing.assert_close(logits(peft.eval(), prompts), attached, rtol=1e-5, atol=5e-5)


def test_it_cannot_be_cast_afterwards(model: ViPE) -> None:
    with pytest.raises(ModelError, match="quantised: give its dtype when"):
        model.to(dtype=torch.bfloat16)


class Packed(nn.Module):
    """A linear layer as GPTQ's and AWQ's libraries have it: no `weight`, buffers of their own."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        scales = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("qweight", (linear.weight.detach() / scales).round().to(torch.int8))
        self.register_buffer("scales", scales)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, (self.qweight.float() * self.scales).to(x.dtype))


def test_a_layer_of_a_librarys_own_class(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    model: Any = tiny_backbones.language_model(tiny_tokenizer)
    wanted = find_targets(model, PerceptionConfig())
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name != "lm_head":
            model.set_submodule(name, Packed(module))
    assert find_targets(model, PerceptionConfig()) == wanted
    weights = random_weights(wanted)
    with attach(model, weights):
        for target in weights.targets:
            check_addition(model.get_submodule(target), *weights.factors(target))
    with pytest.raises(ModelError, match="is quantised"):
        weights.merge_into(model)


def test_what_is_quantised() -> None:
    assert is_quantised(torch.zeros(2, dtype=torch.int8))
    assert is_quantised(torch.zeros(2).to(torch.float8_e4m3fn))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        assert not is_quantised(torch.zeros(2, dtype=dtype))
        assert home_of(nn.Linear(2, 2, dtype=dtype)) == (torch.device("cpu"), dtype)
    assert home_of(nn.Identity()) == (torch.device("cpu"), None)


@AO
def test_the_default_model_in_int8_answers_about_a_real_clip(
    default_model: ViPE, shared_data: Path
) -> None:
    """Its own words, of which int8 changes few: `benchmarks/quantised.py` counts them."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    seen = default_model.see(shared_data / "clips" / "dog.mp4")
    small = copy.deepcopy(default_model.language_model)
    quantize_(small, Int8WeightOnlyConfig())
    model = ViPE.from_pretrained(resolve_folder(None), language_model=small)
    question = "Is there a dog in the video?"
    assert model.ask(seen, question).lower().startswith("yes")
    assert default_model.ask(seen, question).lower().startswith("yes")
