"""Recollection: what was recognised in frames becomes weights, and starts as nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import tiny
import tiny_backbones
from vipe import PerceptualWeights, ViPE, ViPEConfig
from vipe import seen as seen_module
from vipe.binding import Binding
from vipe.data.long_questions import ask_long
from vipe.data.long_scenes import frames_of, sample_long
from vipe.data.long_structure import RATE
from vipe.errors import AdapterError
from vipe.evaluation.metrics import is_right
from vipe.evaluation.operations import Counter
from vipe.evaluation.when import is_near
from vipe.frames import Frames
from vipe.model_files import load_weights
from vipe.recognition import Recognised
from vipe.recollection import Recollection, late
from vipe.seen import Seen

TARGETS = {f"model.layers.{n}.mlp.down_proj": (8, 12) for n in range(30)}
CONCEPTS = 100


def modules() -> tuple[Binding, Recollection]:
    torch.manual_seed(0)
    outputs, kinds = [12] * len(TARGETS), ["down_proj"] * len(TARGETS)
    binding = Binding(outputs, kinds, width=16, rank=4, gists=3, concepts=CONCEPTS)
    return binding, Recollection(binding, TARGETS)


def recognises(*shares: float) -> Recognised:
    """The first concepts, each seen at the second of its number."""
    share = torch.zeros(1, CONCEPTS)
    share[0, : len(shares)] = torch.tensor(shares)
    at = torch.arange(CONCEPTS).float()[None]
    return Recognised(share=share, first=at, last=at, times=at + 1, every=torch.ones(1))


def test_late_layers_have_rows_and_the_last_module_of_each() -> None:
    names = [
        f"model.layers.{n}.{m}" for n in range(30) for m in ("self_attn.o_proj", "mlp.down_proj")
    ]
    assert late(names) == [f"model.layers.{n}.mlp.down_proj" for n in range(16, 29, 2)]
    assert late(names[:6]) == ["model.layers.2.mlp.down_proj"]
    assert late(["h.0.attn", "h.9.attn"]) == ["h.9.attn"]


def test_columns_and_rows_fit() -> None:
    binding, module = modules()
    found = module(Seen.of(recognises(0.9, 0.8), torch.tensor([10.0])), binding)
    rows = module.keys()
    assert list(found) == list(rows) == module.late
    B = {target: torch.randn(1, 12, 4) for target in TARGETS}
    for target, wide in module.beside(B, found).items():
        assert rows[target].shape == (module.rank, 8)
        assert torch.equal(wide[..., :4], B[target])
        assert wide.shape == (1, 12, 4 + module.rank)
        assert not wide[..., 4:].any(), "at the start"
    assert module.beside(B, {}).keys() == found.keys()


def test_the_more_was_seen_the_less_the_rest_counts() -> None:
    _, module = modules()

    def trust(count: int) -> torch.Tensor:
        return module.trust(Seen.of(recognises(*[0.95] * count), torch.ones(1)))

    assert [trust(count).item() for count in (0, 1, 4)] == [1, 1, 1], "a clip is as it was"
    assert 0.5 < trust(8).item() < 1
    assert 0.2 < trust(90).item() < trust(8).item()
    trust(0).sum().backward()
    assert module.quieter.grad is not None
    assert module.quieter.grad.isfinite().all()


def test_videos_of_a_batch_do_not_mix() -> None:
    binding, module = modules()
    for parameter in (module.kinds.size, module.seconds.size):
        torch.nn.init.normal_(parameter)
    one, two = recognises(*[0.9] * 9), recognises(0.0, 0.8, *[0.9] * 20)
    length = torch.tensor([50.0])
    together = module(Seen.of(Recognised.batch([one, two]), length.expand(2)), binding)
    for row, alone in enumerate((one, two)):
        for target, part in module(Seen.of(alone, length), binding).items():
            assert part.any()
            assert_close(together[target][row], part[0], rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def recollecting(tiny_config: ViPEConfig) -> ViPE:
    perception = replace(tiny_config.perception, recollection=True)
    model = tiny_backbones.model(replace(tiny_config, perception=perception))
    torch.manual_seed(0)
    recollection = model.video_to_weights.perception.recollection
    assert recollection is not None
    for size in (recollection.kinds.size, recollection.seconds.size):
        torch.nn.init.normal_(size, std=0.1)
    # Sure of what it sees, as after training, so that something counts.
    sight: Any = recollection.sight
    sight[-1].weight.data *= 8
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
    looked = saved_vipe.see(video(), recognise=True)
    assert_close(recognised(found).share, recognised(looked).share)
    assert expected.tokens[0].recognised is None
    for target in expected.targets:
        assert_close(found.delta(target), expected.delta(target))


def test_kinds_of_a_model_of_before_say_what_the_binding_says(
    recollecting: ViPE, tiny_config: ViPEConfig
) -> None:
    whole = recollecting.video_to_weights.state_dict()
    before = {name: value for name, value in whole.items() if ".kinds.said." not in name}
    assert len(before) < len(whole)
    perception = replace(tiny_config.perception, recollection=True)
    module = tiny_backbones.model(replace(tiny_config, perception=perception)).video_to_weights
    module.load_state_dict(before)
    binding, recollection = module.perception.binding, module.perception.recollection
    assert binding is not None
    assert recollection is not None
    for target, said in recollection.kinds.said.items():
        assert torch.equal(said, whole[f"perception.binding.said.{target.split('-')[-1]}"])
    whole |= {name: torch.ones_like(whole[name]) for name in whole.keys() - before.keys()}
    module.load_state_dict(whole)
    assert all(said.eq(1).all() for said in recollection.kinds.said.values())


def test_what_frames_hold_is_written(recollecting: ViPE, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_module, "FEW", 0.01)  # tiny models see few things
    monkeypatch.setattr(seen_module, "MANY", 0.02)
    weights = recollecting.see(video())
    tokens = replace(weights.tokens[0], recognised=None)
    without = recollecting.video_to_weights.write(tokens)
    assert any(
        not torch.allclose(weights.B[target], without.B[target], atol=1e-4)
        for target in weights.targets
    )
    ranks = {weights.A[target].shape[0] for target in weights.targets}
    assert len(ranks) == 2, "a late layer's is larger"


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
    assert counts[1].prompt > counts[0].prompt, "the rank of late layers is larger"


def test_the_default_model_tells_what_is_seen_once(default_model: ViPE) -> None:
    """A short event among the scenes of two minutes: what it is, and when."""
    video = sample_long(1_000_036, 256)
    pixels = torch.from_numpy(np.stack(list(frames_of(video)))).permute(0, 3, 1, 2)
    seconds = torch.arange(256) / RATE
    weights = default_model.see(Frames(pixels=pixels, seconds=seconds, duration=256 / RATE))
    rows = ask_long(video)
    needle = next(row for row in rows if row["kind"] == "needle")
    answer = default_model.ask(weights, needle["question"])
    assert is_right(answer, needle["accept"])
    when = next(row for row in rows if row["kind"] == "when")
    assert is_near(default_model.ask(weights, when["question"]), (when["seconds"],) * 2, 256 / RATE)
