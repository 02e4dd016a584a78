"""GGUF adapters: names, metadata and the order of rows are llama.cpp's.

The reference for the order is transformers' reader of llama.cpp's files, which undoes it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import gguf
import pytest
import torch
from transformers import LlamaForCausalLM, PretrainedConfig
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

from vipe import PerceptualWeights
from vipe.errors import AdapterError
from vipe.serving.llama_cpp import export_gguf

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TARGETS = {
    f"model.layers.{layer}.{ours}": f"blk.{layer}.{theirs}.weight"
    for layer in (0, 2)
    for ours, theirs in NAMES.items()
}


@pytest.fixture
def weights(
    tiny_language_model: LlamaForCausalLM, tiny_language_model_folder: Path
) -> PerceptualWeights:
    layers = {target: tiny_language_model.get_submodule(target) for target in TARGETS}
    return PerceptualWeights(
        A={target: torch.randn(4, layer.in_features) for target, layer in layers.items()},
        B={target: torch.randn(layer.out_features, 4) for target, layer in layers.items()},
        alpha=6.0,
        base_model=str(tiny_language_model_folder),
    )


def read(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    reader = gguf.GGUFReader(file)
    tensors = {tensor.name: torch.from_numpy(tensor.data.copy()) for tensor in reader.tensors}
    return tensors, {name: field.contents() for name, field in reader.fields.items()}


def test_the_file_is_the_update(
    weights: PerceptualWeights, tiny_language_model: LlamaForCausalLM, tmp_path: Path
) -> None:
    export_gguf(weights, tmp_path / "new" / "dog.gguf")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["dog.gguf"]
    tensors, fields = read(tmp_path / "new" / "dog.gguf")
    assert fields["general.architecture"] == "llama"
    assert fields["general.type"] == "adapter"
    assert fields["adapter.type"] == "lora"
    assert fields["adapter.lora.alpha"] == 6.0
    assert tensors.keys() == {f"{name}.lora_{f}" for name in TARGETS.values() for f in "ab"}
    config = tiny_language_model.config
    for target, name in TARGETS.items():
        A, B = tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"]
        delta = (6.0 / 4) * (B @ A)
        for kind, heads in (("q", config.num_attention_heads), ("k", config.num_key_value_heads)):
            if f"attn_{kind}." in name:
                assert not torch.allclose(delta, weights.delta(target))
                delta = halves(delta, heads)
        torch.testing.assert_close(delta, weights.delta(target))


def test_layers_of_other_ranks_are_scaled_alike(weights: PerceptualWeights, tmp_path: Path) -> None:
    """llama.cpp divides α by the rank of each layer."""
    wide, name = "model.layers.0.mlp.down_proj", TARGETS["model.layers.0.mlp.down_proj"]
    inputs, outputs = weights.A[wide].shape[1], weights.B[wide].shape[0]
    wider = replace(
        weights,
        A={**weights.A, wide: torch.randn(10, inputs)},
        B={**weights.B, wide: torch.randn(outputs, 10)},
        alpha=15.0,
    )
    export_gguf(wider, tmp_path / "dog.gguf")
    tensors, fields = read(tmp_path / "dog.gguf")
    alpha = fields["adapter.lora.alpha"]
    assert isinstance(alpha, float)
    for target, own in ((wide, name), *list(TARGETS.items())[-1:]):
        A, B = tensors[f"{own}.lora_a"], tensors[f"{own}.lora_b"]
        torch.testing.assert_close(alpha / len(A) * (B @ A), wider.delta(target))


def halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
    processor = LlamaTensorProcessor(config={})
    return torch.from_numpy(processor._reverse_permute_weights(rows.numpy(), heads, heads))


def test_an_update_of_nothing_is_nothing(weights: PerceptualWeights, tmp_path: Path) -> None:
    """llama.cpp takes an α of 0 for a scale of 1."""
    export_gguf(weights * 0, tmp_path / "none.gguf")
    tensors, fields = read(tmp_path / "none.gguf")
    assert fields["adapter.lora.alpha"] != 0
    assert all(not t.any() for name, t in tensors.items() if name.endswith("lora_b"))


def test_bfloat16_and_a_batch_of_one(weights: PerceptualWeights, tmp_path: Path) -> None:
    half = weights.to(dtype=torch.bfloat16)
    export_gguf(PerceptualWeights.batch([half])[:], tmp_path / "dog.gguf")
    tensors, _ = read(tmp_path / "dog.gguf")
    name = "blk.0.ffn_down.weight.lora_b"
    assert torch.equal(tensors[name], half.B["model.layers.0.mlp.down_proj"].float())
    with pytest.raises(ValueError, match="batch of 2"):
        export_gguf(PerceptualWeights.batch([half, half * 2]), tmp_path / "two.gguf")


def test_what_llama_cpp_does_not_take(weights: PerceptualWeights, tmp_path: Path) -> None:
    head = replace(
        weights,
        A={**weights.A, "lm_head": torch.randn(4, 32)},
        B={**weights.B, "lm_head": torch.randn(259, 4)},
    )
    with pytest.raises(AdapterError, match="no update of lm_head"):  # tied to the embeddings
        export_gguf(head, tmp_path / "dog.gguf")
    PretrainedConfig(model_type="bert").save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(AdapterError, match="type gpt2"):
        export_gguf(replace(weights, base_model=str(tmp_path / "other")), tmp_path / "dog.gguf")
    assert not list(tmp_path.glob("*.gguf"))


def test_a_file_that_cannot_be_written(weights: PerceptualWeights, tmp_path: Path) -> None:
    (tmp_path / "dog.gguf").write_text("old")
    export_gguf(weights, tmp_path / "dog.gguf")
    assert read(tmp_path / "dog.gguf")[0]
    with pytest.raises(AdapterError, match="cannot be written"):
        export_gguf(weights, tmp_path / "dog.gguf" / "below.gguf")
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(AdapterError, match="cannot be written"):
        export_gguf(weights, tmp_path / "folder.gguf")
    assert {path.name for path in tmp_path.iterdir()} == {"dog.gguf", "folder.gguf"}
