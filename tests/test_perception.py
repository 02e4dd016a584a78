"""Perception: which layers get a slot, and weights of their sizes. See also tests/contracts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import LlamaForCausalLM

import tiny
from vipe.errors import ModelError
from vipe.injection import Injection, InjectionConfig, PerceptualQueries
from vipe.perception import Factor, Perception, PerceptionConfig
from vipe.targets import find_targets

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def queries(videos: int = 2, count: int = 5) -> PerceptualQueries:
    injection: Injection = InjectionConfig(width=16, heads=2, depth=1).build(8).eval()
    return injection(tiny.tokens(videos, count))


def build(model: nn.Module, **changes: object) -> Perception:
    config = PerceptionConfig(width=16, heads=2, depth=1, rank=3, **changes)  # type: ignore[arg-type]
    return config.build(model, name="tiny", gists=14).eval()


def test_every_layer_gets_its_targets_with_their_sizes(
    tiny_language_model: LlamaForCausalLM,
) -> None:
    model = tiny_language_model  # 4 heads of 8, 2 for keys and values
    config = PerceptionConfig(targets=ALL)
    found = find_targets(model, config)
    assert len(found) == 3 * 7
    assert found["model.layers.1.self_attn.q_proj"] == (32, 32)
    assert found["model.layers.0.self_attn.k_proj"] == (32, 16)
    assert found["model.layers.2.self_attn.v_proj"] == (32, 16)
    assert found["model.layers.2.mlp.gate_proj"] == (32, 48)
    assert found["model.layers.2.mlp.down_proj"] == (48, 32)
    weights = build(model, targets=ALL)(queries())
    weights.check_fits(model)
    assert weights.targets == tuple(found)
    assert weights.rank == 3
    assert weights.base_model == "tiny"


def test_some_layers(tiny_language_model: LlamaForCausalLM) -> None:
    perception = build(tiny_language_model, layers=(0, 2), targets=("v_proj",))
    assert list(perception.targets) == [
        "model.layers.0.self_attn.v_proj",
        "model.layers.2.self_attn.v_proj",
    ]
    static = [f"model.layers.{layer}.self_attn.{kind}_proj" for layer in (0, 1, 2) for kind in "qk"]
    static.insert(4, "model.layers.1.self_attn.v_proj")  # where the video does not decide it
    assert sorted(perception.static_targets) == sorted(static)
    assert perception(queries()).targets == (*perception.targets, *perception.static_targets)


def test_static_targets_are_alike_for_all_videos(tiny_language_model: LlamaForCausalLM) -> None:
    perception = build(
        tiny_language_model, static_targets=("q_proj", "up_proj"), static_layers=(1,)
    )
    static = ["model.layers.1.self_attn.q_proj", "model.layers.1.mlp.up_proj"]
    assert list(perception.static_targets) == static
    for parameter in perception.parameters():
        nn.init.normal_(parameter, std=0.3)
    weights = perception(queries())
    alike = perception.static_weights()
    for target in static:
        one, other = weights.delta(target)
        assert one.any()
        assert torch.equal(one, other)
        assert_close(one, alike.delta(target))
    one, other = weights.delta("model.layers.1.self_attn.o_proj")
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("factor", ["A", "B", "AB"])
def test_static_targets_go_with_every_factor(
    tiny_language_model: LlamaForCausalLM, factor: str
) -> None:
    weights = build(tiny_language_model, factor=factor)(queries())
    weights.check_fits(tiny_language_model)
    assert all(not weights.delta(target).any() for target in weights.targets)  # at first
    assert len(weights) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"targets": ("o_proj", "c_proj")}, r"no linear module c_proj in"),
        ({"targets": ("lm_head",)}, r"no linear module lm_head in"),
        ({"targets": ("norm",)}, r"no linear module norm in"),
        ({"targets": ()}, r"no linear module to update in"),
        ({"layers": (1, 3)}, r"no layer 3\b"),
        ({"layers": (7,)}, r"no linear module down_proj, o_proj in"),
    ],
)
def test_what_the_language_model_lacks_is_named(
    tiny_language_model: LlamaForCausalLM, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(ModelError, match=said) as error:
        build(tiny_language_model, **wrong)
    assert "\n" not in str(error.value)


def test_modules_of_one_name_need_one_size(tiny_language_model: LlamaForCausalLM) -> None:
    tiny_language_model.model.layers[1].mlp.down_proj = nn.Linear(40, 32)
    with pytest.raises(ModelError, match=r"down_proj has \(48, 32\) .* and \(40, 32\)"):
        build(tiny_language_model)


def test_slots_have_unit_variance_and_differ(tiny_language_model: LlamaForCausalLM) -> None:
    config = PerceptionConfig(width=96, heads=2, targets=ALL)
    slots = config.build(tiny_language_model, name="tiny", gists=14).slots
    assert slots.shape == (21, 96)
    assert slots.var().item() == pytest.approx(1, abs=0.15)
    assert torch.cdist(slots, slots)[~torch.eye(21, dtype=torch.bool)].min() > 7


def test_slots_start_from_the_gists(tiny_language_model: LlamaForCausalLM) -> None:
    perception = PerceptionConfig(width=32, heads=2, depth=3).build(
        tiny_language_model, name="tiny", gists=3
    )
    flat = nn.functional.batch_norm(torch.randn(200, 96), None, None, training=True)
    gists = flat.unflatten(1, (3, 32))
    read = perception.read(
        PerceptualQueries(values=torch.randn(200, 6, 32), key_bias=torch.zeros(200, 6), gists=gists)
    )
    # Per slot, over videos: most of the variance is that gist's (correlation seen: 0.95).
    gains = perception.norm.norm.weight.view(read.shape[1:])
    correlation = torch.einsum("bsd,bgd->sg", read / gains, gists) / (200 * 32)
    starts = torch.tensor([0, 1, 0, 2, 0, 1])
    assert correlation[torch.arange(6), starts].min() > 0.85
    assert correlation.scatter(1, starts[:, None], 0.0).abs().max() < 0.15


def test_the_bias_that_stays_as_it_is_changes_nothing(
    tiny_language_model: LlamaForCausalLM,
) -> None:
    perception, seen = build(tiny_language_model).train(), queries(12)
    before = perception.read(seen)
    (stays,) = (part for part in perception.blocks.parameters() if not part.requires_grad)
    stays += torch.randn_like(stays)
    assert_close(perception.read(seen), before, rtol=0, atol=1e-3)


def test_of_one_gist_alone_every_slot_starts(tiny_language_model: LlamaForCausalLM) -> None:
    perception = PerceptionConfig().build(tiny_language_model, name="tiny", gists=1)
    assert torch.equal(perception.mix, torch.ones(6, 1))


def test_layers_hear_each_channel_differently(tiny_language_model: LlamaForCausalLM) -> None:
    perception = PerceptionConfig(width=96, heads=2).build(
        tiny_language_model, name="tiny", gists=14
    )
    gains = perception.norm.norm.weight.view(len(perception.targets), 96)
    # A channel's gains over the layers are no multiple of another channel's.
    assert torch.linalg.matrix_rank(gains) == len(perception.targets)
    assert gains.mean().item() == pytest.approx(1, abs=0.2)
    assert gains.std().item() == pytest.approx(1, abs=0.2)


def test_a_static_factor_is_shared_by_all_videos(tiny_language_model: LlamaForCausalLM) -> None:
    one, other = (build(tiny_language_model, factor=factor)(queries()) for factor in ("B", "A"))
    target = one.targets[0]
    assert (one.A[target].ndim, one.B[target].ndim) == (2, 3)
    assert (other.A[target].ndim, other.B[target].ndim) == (3, 2)


@pytest.mark.parametrize("factor", ["A", "AB"])
def test_a_decided_a_is_as_large_as_a_drawn_one(
    tiny_language_model: LlamaForCausalLM, factor: Factor
) -> None:
    torch.manual_seed(0)
    decided = build(tiny_language_model, factor=factor).train()(queries(64))
    drawn = build(tiny_language_model, factor="B").eval()(queries(1))
    ratios = [
        (decided.A[target].std() / drawn.A[target].std()).item()
        for target in find_targets(tiny_language_model, PerceptionConfig())
    ]
    assert 0.8 < sum(ratios) / len(ratios) < 1.25


def test_the_update_depends_on_the_video_once_heads_are_not_zero(
    tiny_language_model: LlamaForCausalLM,
) -> None:
    perception = build(tiny_language_model)
    assert perception.heads_B is not None
    for parameter in perception.heads_B.parameters():
        nn.init.normal_(parameter, std=0.1)
    weights = perception(queries(3))
    target = weights.targets[1]
    first, second, _ = weights.delta(target)
    assert not torch.allclose(first, second, atol=1e-3)
    # The same kind of module in another layer reads the video by its own slot.
    assert not torch.allclose(first, weights.delta(weights.targets[3])[0], atol=1e-3)


def test_padding_of_queries_is_never_read(tiny_language_model: LlamaForCausalLM) -> None:
    perception = build(tiny_language_model, factor="AB")
    nn.init.normal_(next(iter(perception.heads_B.parameters())))  # type: ignore[union-attr]
    short = queries(2, 4)
    padded = PerceptualQueries(
        values=torch.cat([short.values, torch.full((2, 3, 16), 9.0)], dim=1),
        key_bias=torch.cat([short.key_bias, torch.full((2, 3), -torch.inf)], dim=1),
        gists=short.gists,
    )
    one, other = perception(short), perception(padded)
    for target in one.targets:
        assert_close(one.A[target], other.A[target])
        assert_close(one.B[target], other.B[target])


@pytest.mark.parametrize(
    ("wrong", "said"), [({"width": 10, "heads": 4}, "width 10"), ({"rank": 0}, "rank must be")]
)
def test_a_wrong_config_is_an_error(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PerceptionConfig(**wrong)  # type: ignore[arg-type]
