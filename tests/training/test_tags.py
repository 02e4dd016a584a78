"""Tags: what they start from, and that the static LoRA reads them."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM

from vipe.perception import Perception, PerceptionConfig
from vipe.training.tags import start_of_tags


def perception_of(model: LlamaForCausalLM, *, gists: int = 5, concepts: int = 7) -> Perception:
    config = PerceptionConfig(width=16, heads=2, depth=1, rank=3, concepts=concepts)
    return config.build(model, name="tiny", gists=gists).eval()


def started(perception: Perception) -> dict[str, torch.Tensor]:
    found = start_of_tags(perception)
    for name, value in found.items():
        assert perception.get_parameter(name).shape == value.shape
        assert not torch.equal(perception.get_parameter(name), value)
    return found


def test_tags_are_at_right_angles_and_alike_in_all_layers(
    tiny_language_model: LlamaForCausalLM,
) -> None:
    found = started(perception_of(tiny_language_model))
    tags = found["binding.shared_tag.o_proj"]
    assert torch.equal(tags, found["binding.shared_tag.down_proj"])
    angles = tags @ tags.T / 0.1**2
    torch.testing.assert_close(angles, torch.eye(5), atol=1e-5, rtol=0)


def test_the_static_lora_tells_the_tags_apart(tiny_language_model: LlamaForCausalLM) -> None:
    perception = perception_of(tiny_language_model, gists=4)
    found = started(perception)
    tags = found["binding.shared_tag.o_proj"]
    before = perception.static_lora.A
    for name in ("model-layers-0-self_attn-q_proj", "model-layers-2-self_attn-v_proj"):
        A = found[f"static_lora.A.{name}"]
        read = tags @ A.T  # what is read of each tag
        apart = torch.cdist(read, read)[~torch.eye(4, dtype=torch.bool)]
        assert apart.min() > 0.9 * apart.max()  # three numbers tell four tags apart
        was = tags @ before[name].T
        assert apart.mean() > torch.cdist(was, was)[~torch.eye(4, dtype=torch.bool)].mean()
        torch.testing.assert_close(A.norm(), before[name].norm(), atol=0, rtol=0.2)


def test_more_parts_than_the_stream_is_wide(tiny_language_model: LlamaForCausalLM) -> None:
    found = started(perception_of(tiny_language_model, gists=40))  # 32 wide
    assert found["binding.shared_tag.o_proj"].isfinite().all()


def test_without_concepts_there_are_no_tags(tiny_language_model: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="no tags"):
        start_of_tags(perception_of(tiny_language_model, concepts=0))
