"""Recollection: what was recognised in frames becomes weights, and starts as nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import tiny
import tiny_backbones
from vipe import PerceptualWeights, ViPE, ViPEConfig
from vipe.binding import Binding
from vipe.errors import AdapterError
from vipe.evaluation.operations import Counter
from vipe.frames import Frames
from vipe.model_files import load_weights
from vipe.recognition import Recognised
from vipe.recollection import Recollection

SLOTS, RANK, OUT, CONCEPTS = 4, 8, 12, 8
LENGTH = torch.tensor([10.0])


def modules() -> tuple[Binding, Recollection]:
    kinds = ("o_proj", "down_proj") * 2
    binding = Binding([OUT, OUT + 2] * 2, kinds, width=16, rank=RANK, gists=3, concepts=CONCEPTS)
    return binding, Recollection(binding)


def learned() -> tuple[Binding, Recollection]:
    binding, module = modules()
    for parameter in (module.asks, module.key):
        torch.nn.init.normal_(parameter)
    return binding, module


def seen(**shares: float) -> Recognised:
    """Concepts by number ("c2"), each seen at the second of its number."""
    share = torch.zeros(1, CONCEPTS)
    for name, value in shares.items():
        share[0, int(name[1:])] = value
    at = torch.arange(CONCEPTS).float()[None]
    return Recognised(
        share=share, first=at, last=at, times=torch.ones_like(at), every=torch.tensor([0.5])
    )


def test_nothing_is_written_at_the_start() -> None:
    binding, module = modules()
    found = module(seen(c1=0.9, c2=0.8), LENGTH, binding)
    assert sorted(found) == list(range(SLOTS))
    for slot, part in found.items():
        assert part.shape == (1, OUT + 2 * (slot % 2), RANK)
        assert not part.any()


def test_zero_is_no_saddle() -> None:
    binding, module = modules()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        found = module(seen(c1=0.9, c2=0.6), LENGTH, binding)
        sum((part - 1).square().sum() for part in found.values()).backward()
        optimizer.step()
    used = [parameter for name, parameter in module.named_parameters() if name != "quieter"]
    assert all(parameter.grad.any() for parameter in used)


def test_what_is_unsure_and_nothing_do_not_count() -> None:
    binding, module = learned()
    alone = module(seen(c1=0.9), LENGTH, binding)
    noisy = module(seen(c1=0.9, c3=0.04, c7=0.9), LENGTH, binding)  # the last is that of nothing
    for slot, part in alone.items():
        assert_close(noisy[slot], part)


def asking(module: Recollection, binding: Binding, *concepts: int, **weighs: float) -> None:
    """Let the first kind ask for some concepts, and say so at the first slot's first code."""
    own = binding.said[module.named].detach()
    own = own - own.mean(dim=0)
    with torch.no_grad():
        wanted = torch.zeros(CONCEPTS)
        wanted[list(concepts)] = 30.0
        module.asks[0] = torch.linalg.lstsq(own, wanted - wanted.mean()).solution
        module.none[0] = 5.0 - wanted.mean()
        module.weighs[0] = torch.tensor([0.0, 0.0, weighs.get("last", 0.0), 0.0])
        module.key[0, 0, 0] = 1.0


def test_a_kind_finds_what_it_asks_for_among_all_else() -> None:
    binding, module = modules()
    asking(module, binding, 2, 5)
    target = next(kind for kind, places in binding.places.items() if 0 in places)
    others = {f"c{number}": 0.95 for number in (0, 1, 3, 4)}
    for number in (2, 5):
        found = module(seen(**others, **{f"c{number}": 0.9}), LENGTH, binding)[0]
        assert_close(found[0, :, 0], binding.said[target][number], rtol=1e-2, atol=1e-2)
        assert not found[0, :, 1:].any()
    nothing = module(seen(**others), LENGTH, binding)[0]
    assert nothing.norm() < 0.05 * found.norm()


def test_a_kind_may_ask_for_what_came_last() -> None:
    binding, module = modules()
    asking(module, binding, 2, 5, last=80.0)
    target = next(kind for kind, places in binding.places.items() if 0 in places)
    found = module(seen(c2=0.9, c5=0.9), LENGTH, binding)[0]  # seen at their numbers' seconds
    assert_close(found[0, :, 0], binding.said[target][5], rtol=1e-2, atol=1e-2)


def test_the_more_was_seen_the_less_the_rest_counts() -> None:
    binding = Binding([OUT] * 2, ["o_proj"] * 2, width=16, rank=RANK, gists=3, concepts=100)
    module = Recollection(binding)

    def trust(count: int) -> torch.Tensor:
        share = torch.zeros(1, 100)
        share[:, :count] = 0.95
        at = torch.zeros_like(share)
        seen = Recognised(share=share, first=at, last=at, times=at + 1, every=torch.ones(1))
        return module.trust(seen)

    assert [trust(count).item() for count in (0, 1, 8)] == [1, 1, 1], "a clip is as it was"
    assert 0.5 < trust(16).item() < 1
    assert 0.2 < trust(90).item() < trust(16).item()
    trust(0).sum().backward()
    assert module.quieter.grad is not None
    assert module.quieter.grad.isfinite().all()


def test_videos_of_a_batch_do_not_mix() -> None:
    binding, module = learned()
    one, two = seen(c1=0.9), seen(c2=0.8, c3=0.9, c4=0.9)
    together = module(Recognised.batch([one, two]), LENGTH.expand(2), binding)
    for row, alone in enumerate((one, two)):
        for slot, part in module(alone, LENGTH, binding).items():
            assert_close(together[slot][row], part[0], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def recollecting(tiny_config: ViPEConfig) -> ViPE:
    perception = replace(tiny_config.perception, recollection=True)
    model = tiny_backbones.model(replace(tiny_config, perception=perception))
    torch.manual_seed(0)
    recollection = model.video_to_weights.perception.recollection
    assert recollection is not None
    torch.nn.init.normal_(recollection.key, std=0.1)
    # Sure of what it sees, as after training, so that something counts.
    recognise = model.video_to_weights.perception.binding.recognise  # type: ignore[union-attr]
    recognise[-1].weight.data *= 8
    return model


def video(frames: int = 20) -> Frames:
    torch.manual_seed(3)
    return tiny.frames(frames)


def recognised(weights: PerceptualWeights) -> Recognised:
    found = weights.tokens[0].recognised
    assert found is not None
    return found


def test_a_model_of_before_loads_and_gives_what_it_gave(
    tiny_config: ViPEConfig, saved_vipe: ViPE, model_folder: Path
) -> None:
    perception = replace(tiny_config.perception, recollection=True)
    config = replace(tiny_config, perception=perception)
    model = tiny_backbones.model(config)
    load_weights(model_folder, config, model.video_to_weights)
    found, expected = (m.see(video()) for m in (model, saved_vipe))
    assert recognised(found).share.any()
    assert expected.tokens[0].recognised is None
    for target in expected.targets:
        assert_close(found.B[target], expected.B[target])


def test_what_frames_hold_is_written(recollecting: ViPE) -> None:
    weights = recollecting.see(video())
    tokens = replace(weights.tokens[0], recognised=None)
    without = recollecting.video_to_weights.write(tokens)
    target = weights.targets[0]
    assert not torch.allclose(weights.B[target], without.B[target], atol=1e-4)


def test_a_stream_and_segments_recognise_what_the_whole_does(recollecting: ViPE) -> None:
    frames = video(16)
    whole = recollecting.see(frames)
    *_, last = recollecting.see_stream(frames, every=2)
    for target in whole.targets:
        assert torch.equal(last.B[target], whole.B[target])
    parts = [
        recollecting.see(
            Frames(
                pixels=frames.pixels[at : at + 8],
                seconds=frames.seconds[at : at + 8] - 0.5 * at,
                duration=4.0,
            )
        )
        for at in (0, 8)
    ]
    both = recollecting.compose(parts, at=[0, 4])
    assert_close(recognised(both).share, recognised(whole).share)
    surest = recognised(whole).share.argmax()
    assert_close(recognised(both).first[0, surest], recognised(whole).first[0, surest])


def test_what_was_recognised_can_be_looked_through(
    recollecting: ViPE, saved_vipe: ViPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = replace(recollecting.config.perception, things=("a dog", "a cat"))
    monkeypatch.setattr(recollecting, "config", replace(recollecting.config, perception=named))
    weights = recollecting.see(video())
    found = recollecting.recognised(weights, at_least=0.0)
    assert {sight.thing for sight in found} == {"a dog", "a cat"}
    assert found[0].first <= found[1].first
    with pytest.raises(AdapterError, match="nothing was recognised"):
        saved_vipe.recognised(saved_vipe.see(video()))
    looked = saved_vipe.see(video(), recognise=True)
    assert recognised(looked).share.any()
    for target, B in saved_vipe.see(video()).B.items():
        assert torch.equal(B, looked.B[target]), "what it answers is as it was"
    with pytest.raises(ValueError, match="2 videos"):
        recollecting.recognised(PerceptualWeights.batch([weights, weights]))


def test_it_is_saved_beside_the_adapter(recollecting: ViPE, tmp_path: Path) -> None:
    weights = recollecting.see(video())
    weights.save(tmp_path / "adapter")
    loaded = PerceptualWeights.load(tmp_path / "adapter")
    assert_close(recognised(loaded).first, recognised(weights).first)
    assert recollecting.compose([loaded], at=[3]).tokens[0].recognised is not None


def test_it_needs_concepts(tiny_config: ViPEConfig) -> None:
    with pytest.raises(ValueError, match="needs concepts"):
        replace(tiny_config.perception, recollection=True, concepts=0)
    with pytest.raises(ValueError, match="3 things but 2 concepts"):
        replace(tiny_config.perception, concepts=2, things=("a", "b", "c"))


def test_operations_are_counted_as_if_all_had_been_seen(recollecting: ViPE) -> None:
    plain = replace(recollecting.config.perception, recollection=False)
    counts = [
        Counter(replace(recollecting.config, perception=perception)).count("vipe", 8)
        for perception in (plain, recollecting.config.perception)
    ]
    assert counts[1].see > counts[0].see
    assert counts[1].prompt == counts[0].prompt
