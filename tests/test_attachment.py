"""Updates on a language model: attached for a batch, merged, and gone again."""

import copy
import inspect
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from vipe import attachment
from vipe.attachment import attach, low_rank_add
from vipe.errors import AdapterError, ModelError
from vipe.weights import PerceptualWeights

# Other sizes in and out (k_proj, by grouped queries; down_proj) and the same (o_proj).
TARGETS = [
    f"model.layers.{i}.{name}"
    for i in range(3)
    for name in ("self_attn.k_proj", "self_attn.o_proj", "mlp.down_proj")
]


def make(
    model: nn.Module,
    *,
    samples: int | None = None,
    decides: str = "B",
    targets: list[str] = TARGETS,
    alpha: float = 8.0,
) -> PerceptualWeights:
    """A random update, large enough to change every logit."""
    A, B = {}, {}
    for target in targets:
        module = model.get_submodule(target)
        for factor, name, shape in (
            (A, "A", (4, module.in_features)),
            (B, "B", (module.out_features, 4)),
        ):
            lead = () if samples is None or name not in decides else (samples,)
            factor[target] = torch.randn(*lead, *shape) * 0.3
    return PerceptualWeights(A=A, B=B, alpha=alpha, base_model="tiny")


def tokens(samples: int) -> torch.Tensor:
    return torch.randint(3, 200, (samples, 7))


def logits(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(ids, use_cache=False).logits


def close(one: torch.Tensor, two: torch.Tensor) -> None:
    # Logits of about ±10 in float32; the sums run in another order. Largest seen: 1.6e-5.
    torch.testing.assert_close(one, two, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("decides", ["A", "B", "AB"])
def test_a_batch_equals_its_singles_and_the_dense_update(
    tiny_language_model: LlamaForCausalLM, decides: str
) -> None:
    model, ids = tiny_language_model, tokens(3)
    weights = make(model, samples=3, decides=decides)
    with attach(model, weights):
        together = logits(model, ids)
    for i in range(3):
        with weights[i].attached_to(model):
            close(logits(model, ids[i : i + 1]), together[i : i + 1])
        dense = copy.deepcopy(model)
        for target in TARGETS:
            dense.get_submodule(target).weight.data += weights[i].delta(target)
        close(logits(dense, ids[i : i + 1]), together[i : i + 1])
    assert not torch.allclose(together, logits(model, ids), atol=0.1)


def test_several_samples_of_each_video_lie_side_by_side(
    tiny_language_model: LlamaForCausalLM,
) -> None:
    model, ids = tiny_language_model, tokens(6)
    weights = make(model, samples=3)
    with attach(model, weights):
        six = logits(model, ids)
    with attach(model, weights[[0, 0, 1, 1, 2, 2]]):
        close(logits(model, ids), six)
    with attach(model, weights[1]):
        close(logits(model, ids)[2:4], six[2:4])


@pytest.mark.parametrize("grow", [{"num_beams": 2}, {"num_return_sequences": 2, "num_beams": 2}])
def test_generation_of_a_batch_equals_its_singles(
    tiny_language_model: LlamaForCausalLM, grow: dict[str, int]
) -> None:
    model, ids = tiny_language_model, tokens(3)
    weights = make(model, samples=3)
    rules = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False, **grow}
    rules["attention_mask"] = torch.ones_like(ids)
    with attach(model, weights):
        together = model.generate(ids, **rules)
    rows = len(together) // 3
    rules["attention_mask"] = torch.ones_like(ids[:1])
    for i in range(3):
        with attach(model, weights[i]):
            one = model.generate(ids[i : i + 1], **rules)
        assert torch.equal(one, together[i * rows : (i + 1) * rows])


def test_leaving_restores_the_model_bit_for_bit(tiny_language_model: LlamaForCausalLM) -> None:
    model, ids = tiny_language_model, tokens(2)
    model.requires_grad_(False)
    before, state = logits(model, ids), {k: v.clone() for k, v in model.state_dict().items()}
    classes = {name: type(module) for name, module in model.named_modules()}
    attributes = {name: set(vars(module)) for name, module in model.named_modules()}

    def assert_untouched() -> None:
        assert torch.equal(logits(model, ids), before)
        for name, module in model.named_modules():
            assert type(module) is classes[name]
            assert not module._forward_hooks
            assert set(vars(module)) == attributes[name]
            assert not module.training
        for name, value in model.state_dict().items():
            assert torch.equal(value, state[name])
        assert not any(p.requires_grad for p in model.parameters())

    weights = make(model, samples=2)
    with attach(model, weights):
        assert not torch.equal(logits(model, ids), before)
    assert_untouched()
    with pytest.raises(KeyError), attach(model, weights):
        raise KeyError("an error inside the block")
    assert_untouched()
    late = make(model, targets=[*TARGETS[:2], "lm_head"])
    late = PerceptualWeights(
        A=late.A, B=late.B | {"lm_head": torch.zeros(7, 4)}, alpha=1.0, base_model="tiny"
    )
    with pytest.raises(AdapterError), attach(model, late):
        pass
    assert_untouched()


def test_a_zero_update_changes_no_bit(tiny_language_model: LlamaForCausalLM) -> None:
    model, ids = tiny_language_model, tokens(3)
    zero = make(model, samples=3)
    zero = PerceptualWeights(
        A=zero.A, B={t: torch.zeros_like(B) for t, B in zero.B.items()}, alpha=8.0, base_model=""
    )
    for weights in (zero, zero[0]):
        with attach(model, weights):
            attached = logits(model, ids)
        assert torch.equal(attached, logits(model, ids))


def test_nested_updates_add(tiny_language_model: LlamaForCausalLM) -> None:
    model, ids = tiny_language_model, tokens(3)
    one, two = make(model, samples=3), make(model, targets=TARGETS[:4])
    with attach(model, one), attach(model, two):
        nested = logits(model, ids)
    dense = copy.deepcopy(model)
    for weights in (one[1], two):
        for target in weights.targets:
            dense.get_submodule(target).weight.data += weights.delta(target)
    close(logits(dense, ids)[1], nested[1])


def test_gradients_reach_the_factors_and_not_the_model(
    tiny_language_model: LlamaForCausalLM,
) -> None:
    model, ids = tiny_language_model.requires_grad_(False), tokens(4)
    weights = make(model, samples=2)
    leaves = [f.requires_grad_() for t in TARGETS for f in weights.factors(t)]
    with attach(model, weights):
        model(ids, use_cache=False).logits.square().mean().backward()
    grads = [leaf.grad for leaf in leaves]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert all(p.grad is None for p in model.parameters())
    # Against the directional derivative in float64.
    model.double()
    step = [torch.randn_like(leaf) for leaf in leaves]

    def loss(size: float) -> float:
        moved = [leaf.detach() + size * s for leaf, s in zip(leaves, step, strict=True)]
        factors = [dict(zip(TARGETS, moved[start::2], strict=True)) for start in (0, 1)]
        at = PerceptualWeights(A=factors[0], B=factors[1], alpha=8.0, base_model="tiny")
        with attach(model, at.to(dtype=torch.float64)):
            return logits(model, ids).square().mean().item()

    slope = (loss(1e-4) - loss(-1e-4)) / 2e-4
    along = sum((grad * s).sum().item() for grad, s in zip(grads, step, strict=True))
    assert along == pytest.approx(slope, rel=1e-3)


def test_compiled_models_see_each_update_and_its_absence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The shape checks of the test run are not traceable, and no part of what is tested here.
    for owner, name in ((attachment, "low_rank_add"), (attachment._Updated, "__call__")):
        monkeypatch.setattr(owner, name, inspect.unwrap(getattr(owner, name)))
    model = nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 8)).requires_grad_(False)
    x, graphs = torch.randn(4, 5, 8), []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(graph)
        return graph.forward

    run = torch.compile(model, backend=backend, fullgraph=True)
    updates = [make(model, samples=2, targets=["0", "2"]) for _ in range(3)]
    plain = run(x)
    close(plain, model(x))
    for weights in updates:
        B = weights.B["0"].requires_grad_()
        with attach(run, weights):
            seen = run(x)
            close(seen, model(x))
        assert not torch.allclose(seen, plain, atol=0.1)
        seen.square().mean().backward()
        assert B.grad is not None
        assert B.grad.abs().sum() > 0
    close(run(x), plain)
    assert len(graphs) == 2, "one with and one without; a further update compiles nothing"
    with attach(run, updates[0]), attach(run, updates[1]):
        close(run(x), model(x))


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_models_stay_in_bfloat16(
    tiny_language_model: LlamaForCausalLM, autocast: bool
) -> None:
    model, ids = tiny_language_model, tokens(2)
    weights = make(model, samples=2)
    with attach(model, weights):
        exact = logits(model, ids)
    if not autocast:
        model.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast), attach(model, weights):
        seen = []
        handle = model.get_submodule(TARGETS[2]).register_forward_hook(
            lambda module, args, output: seen.append(output.dtype)
        )
        rounded = logits(model, ids)
        handle.remove()
    assert seen == [torch.bfloat16]
    # bfloat16 has 8 bits: 0.4% of logits of about 10, through three layers. Largest seen: 0.2.
    assert (rounded.float() - exact).abs().max() < 0.6


def test_merging_equals_attaching_and_is_undone_bit_for_bit(
    tiny_language_model: LlamaForCausalLM,
) -> None:
    model, ids = tiny_language_model, tokens(2)
    weights, before = make(model), logits(model, ids)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    with attach(model, weights):
        attached = logits(model, ids)
    merged = weights.merge_into(model)
    close(logits(model, ids), attached)
    assert not torch.allclose(attached, before, atol=0.1)
    for _ in range(2):  # the second time does nothing
        merged.unmerge()
        assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    with PerceptualWeights.batch([weights]).merge_into(model.bfloat16()):
        assert model.lm_head.weight.dtype == torch.bfloat16
        assert not torch.equal(logits(model, ids), before)
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name].bfloat16())


def test_one_update_is_merged_at_a_time(tiny_language_model: LlamaForCausalLM) -> None:
    model, ids = tiny_language_model, tokens(2)
    before = logits(model, ids)
    with make(model).merge_into(model):
        merged = logits(model, ids)
        with pytest.raises(ModelError, match="another update is merged already"):
            make(model).merge_into(model)
        assert torch.equal(logits(model, ids), merged)
    assert torch.equal(logits(model, ids), before)
    make(model).merge_into(model).unmerge()


def test_what_cannot_be_merged_is_refused_and_nothing_changed(
    tiny_language_model: LlamaForCausalLM,
) -> None:
    model = tiny_language_model
    state = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match="batch of 2"):
        make(model, samples=2).merge_into(model)
    with pytest.raises(ModelError, match=r"lm_head: .* are one tensor"):
        make(model, targets=[*TARGETS, "lm_head"]).merge_into(model)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_updates_of_another_model_are_refused(tiny_language_model: LlamaForCausalLM) -> None:
    model = tiny_language_model
    weights = make(model)
    weights.check_fits(model)
    layers = model.model.layers
    model.model.layers = layers[:2]
    with pytest.raises(AdapterError, match=r"for tiny .* no layer model\.layers\.2\.self_attn"):
        weights.check_fits(model)
    model.model.layers = layers
    layers[1].mlp.down_proj = nn.Linear(64, 32)
    for use in (weights.check_fits, weights.merge_into, lambda m: attach(m, weights).__enter__()):
        with pytest.raises(AdapterError, match=r"layers\.1\.mlp\.down_proj maps 64 to 32 .* 48 to"):
            use(model)


def test_layers_that_are_not_linear_are_refused() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_embd=8, n_layer=1, n_head=2))
    target = "transformer.h.0.attn.c_proj"
    weights = PerceptualWeights(
        A={target: torch.zeros(2, 8)}, B={target: torch.zeros(8, 2)}, alpha=1.0, base_model="gpt2"
    )
    with pytest.raises(ModelError, match=r"c_proj is a Conv1D: only linear layers"):
        weights.check_fits(model)


def test_a_batch_that_does_not_divide_is_refused(tiny_language_model: LlamaForCausalLM) -> None:
    weights = make(tiny_language_model, samples=3)
    with (
        attach(tiny_language_model, weights),
        pytest.raises(ValueError, match=r"3 videos .* multiple of 3.* got \(4, 7, 32\)"),
    ):
        logits(tiny_language_model, tokens(4))


def test_inputs_of_any_shape_take_an_unbatched_update() -> None:
    A, B = torch.randn(2, 6), torch.randn(5, 2)
    for shape in ((), (3,), (2, 3), (2, 1, 3)):
        x, y = torch.randn(*shape, 6), torch.randn(*shape, 5)
        expected = y + x @ (0.5 * B @ A).T
        torch.testing.assert_close(low_rank_add(y, x, A, B, 0.5), expected)


def test_an_output_of_any_layout_gets_its_update() -> None:
    x, A, B = torch.randn(2, 5, 6), torch.randn(3, 6), torch.randn(4, 3)
    output = torch.randn(2, 4, 5).mT
    expected = output + x @ A.mT @ B.mT
    for y in (output, output.contiguous()):
        for read in (x, x.mT.contiguous().mT):
            torch.testing.assert_close(low_rank_add(y.clone(), read, A, B, 1.0), expected)
    assert low_rank_add(output.bfloat16(), x, A, B, 1.0).dtype == torch.bfloat16


@pytest.mark.parametrize("speaks", [False, True])
def test_rows_of_a_layer_that_say_nothing_are_left_out(
    tiny_language_model: LlamaForCausalLM, speaks: bool
) -> None:
    model, ids = tiny_language_model, tokens(1)
    weights = make(model)
    few, more = TARGETS[0], TARGETS[1]
    A, B = weights.factors(more)
    rows, columns = torch.randn(5, A.shape[1]), torch.zeros(len(B), 5)
    columns[0, -1] = float(speaks)
    wider = replace(
        weights,
        A=weights.A | {more: torch.cat([A, rows])},
        B=weights.B | {more: torch.cat([B, columns], dim=1)},
        alpha=weights.scale * (len(A) + 5),
    )
    with attach(model, wider):
        ranks = [len(model.get_submodule(name)._updates[0][0]) for name in (few, more)]
        seen = logits(model, ids)
    assert ranks == [len(A), len(A) + 5 * speaks]
    with wider.merge_into(model):
        close(seen, logits(model, ids))
    columns.requires_grad_()  # what learns is there, whatever it starts from
    with attach(model, replace(wider, B=wider.B | {more: torch.cat([B, columns], dim=1)})):
        model(ids).logits.square().mean().backward()
    assert columns.grad is not None
    assert columns.grad.abs().sum() > 0
