"""PEFT reads what is written here, and the other way round, to the same logits and words.

Logits are up to about 10. Attached and PEFT's differ in where the scale is multiplied, which is
exact for powers of two and else rounds once more: measured at most 2e-5 (float32).
"""

import copy
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

from vipe.attachment import attach
from vipe.weights import PerceptualWeights

ALL = [
    f"model.layers.{i}.{name}" for i in range(3) for name in ("self_attn.o_proj", "mlp.down_proj")
]
LAYOUTS = {
    "all layers": ALL,
    "one layer of three": [name for name in ALL if ".1." in name],
    "grouped queries": [f"model.layers.{i}.self_attn.{p}_proj" for i in (0, 2) for p in "qkv"],
    "with static targets": [*ALL, *(f"model.layers.1.self_attn.{p}_proj" for p in "qkv")],
    "with the head": [*ALL, "lm_head"],
    "one layer of a higher rank": ALL,
}


def make(
    model: LlamaForCausalLM,
    targets: list[str],
    *,
    alpha: float = 8.0,
    samples: int | None = None,
    ranks: dict[str, int] | None = None,
) -> PerceptualWeights:
    of = dict.fromkeys(targets, 4) | (ranks or {})
    layers = {target: (of[target], model.get_submodule(target)) for target in targets}
    lead = () if samples is None else (samples,)
    return PerceptualWeights(
        A={name: torch.randn(r, layer.in_features) * 0.3 for name, (r, layer) in layers.items()},
        B={
            name: torch.randn(*lead, layer.out_features, r) * 0.3
            for name, (r, layer) in layers.items()
        },
        alpha=alpha,
        base_model="tiny",
        metadata={"video": "dog.mp4"},
    )


def logits(model: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids).logits


def close(one: torch.Tensor, two: torch.Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("alpha", [8.0, 3.0])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_peft_loads_the_folder_to_the_same_logits(
    tiny_language_model: LlamaForCausalLM, tmp_path: Path, layout: str, alpha: float
) -> None:
    model, ids = tiny_language_model, torch.randint(3, 200, (2, 9))
    ranks = {ALL[-1]: 7} if "higher rank" in layout else {}
    weights = make(model, LAYOUTS[layout], alpha=alpha, ranks=ranks)
    weights.save(tmp_path / "adapter")
    with attach(model, weights):
        attached = logits(model, ids)
    assert not torch.allclose(attached, logits(model, ids), atol=0.1)
    peft = PeftModel.from_pretrained(copy.deepcopy(model), str(tmp_path / "adapter"))
    touched = {name for name, module in peft.base_model.model.named_modules() if _is_lora(module)}
    assert touched == set(LAYOUTS[layout]), "these layers and no others"
    close(logits(peft, ids), attached)
    if "lm_head" not in touched:  # it is tied to the embeddings, which merging would change
        with weights.merge_into(model):
            close(logits(model, ids), attached)
            close(logits(model, ids), logits(peft.merge_and_unload(), ids))


def _is_lora(module: torch.nn.Module) -> bool:
    return bool(getattr(module, "lora_A", None))


@pytest.mark.parametrize("beams", [1, 2])
def test_generation_says_the_same(
    tiny_language_model: LlamaForCausalLM, tmp_path: Path, beams: int
) -> None:
    model, ids = tiny_language_model, torch.randint(3, 200, (3, 5))
    weights = make(model, ALL, samples=3)
    rules = {"max_new_tokens": 8, "do_sample": False, "num_beams": beams}
    with attach(model, weights):
        together = model.generate(ids, attention_mask=torch.ones_like(ids), **rules)
    answers = []
    for i, one in enumerate(weights):
        one.save(tmp_path / str(i))
        peft = PeftModel.from_pretrained(copy.deepcopy(model), str(tmp_path / str(i)))
        mask = torch.ones_like(ids[:1])
        answers.append(peft.generate(input_ids=ids[i : i + 1], attention_mask=mask, **rules)[0])
        length = len(answers[i])
        assert torch.equal(together[i, :length], answers[i])
    plain = model.generate(ids, attention_mask=torch.ones_like(ids), **rules)
    assert not torch.equal(plain[0, : len(answers[0])], answers[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"r": 4, "lora_alpha": 16},
        {"r": 3, "lora_alpha": 5, "layers_to_transform": [0, 2], "init_lora_weights": "gaussian"},
        {"r": 4, "lora_alpha": 6, "rank_pattern": {"down_proj": 2}},
        {"r": 4, "lora_alpha": 6, "rank_pattern": {"o_proj": 6}, "alpha_pattern": {"o_proj": 9}},
        {"r": 2, "lora_alpha": 0, "alpha_pattern": {"model.layers.1.mlp.down_proj": 7}},
    ],
    ids=str,
)
def test_what_peft_saves_is_loaded_to_the_same_logits(
    tiny_language_model: LlamaForCausalLM, tmp_path: Path, settings: dict
) -> None:
    model, ids = tiny_language_model, torch.randint(3, 200, (2, 9))
    config = LoraConfig(target_modules=["o_proj", "down_proj"], **settings)
    peft = get_peft_model(copy.deepcopy(model), config).eval()
    for name, parameter in peft.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    peft.save_pretrained(str(tmp_path / "adapter"))
    weights = PerceptualWeights.load(tmp_path / "adapter")
    with attach(model, weights):
        attached = logits(model, ids)
    close(attached, logits(peft, ids))
    assert not torch.allclose(attached, logits(model, ids), atol=0.1)
    weights.save(tmp_path / "again")
    again = PeftModel.from_pretrained(copy.deepcopy(model), str(tmp_path / "again"))
    close(logits(again, ids), logits(peft, ids))
