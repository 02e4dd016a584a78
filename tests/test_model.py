"""What is seen, however frames come, and the model folder."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import media
import tiny
from vipe import Decoding, Frames, PerceptualWeights, ViPE
from vipe.chat import prompt_ids
from vipe.errors import ModelError, VideoError
from vipe.frames import EveryFrame, Uniform, read_frames
from vipe.merging import VisualTokens

SHORT = Decoding(max_new_tokens=12)
QUESTIONS = ["Why?", "What is in the video?", "Is there a dog in it, or a cat?"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=20, rate=10)


@pytest.fixture
def seen(tiny_vipe: ViPE) -> PerceptualWeights:
    return tiny_vipe.see(tiny.frames(3))


def assert_same(one: PerceptualWeights, other: PerceptualWeights) -> None:
    assert one.targets == other.targets
    for target in one.targets:
        assert torch.equal(one.A[target], other.A[target])
        assert torch.equal(one.B[target], other.B[target])


def pieces(frames: Frames, lengths: list[int]) -> Iterator[Frames]:
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        yield Frames(
            pixels=frames.pixels[part], seconds=frames.seconds[part], duration=frames.duration
        )
        start += length


# See -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", [None, 0.0])
def test_frames_in_pieces_are_the_same_video(tiny_vipe: ViPE, duration: float | None) -> None:
    frames = tiny.frames(11, duration=duration)
    whole = tiny_vipe.see(frames)
    assert not whole.is_batched
    for lengths in ([11], [4, 4, 3], [1] * 11, [2, 0, 7, 2]):
        assert_same(tiny_vipe.see(pieces(frames, lengths)), whole)
    assert whole.metadata["frames"] == "11"
    assert float(whole.metadata["seconds"]) == pytest.approx(5.5 if duration is None else 5.25)


def test_what_is_seen_depends_on_what_is_shown_and_in_which_order(tiny_vipe: ViPE) -> None:
    frames = tiny.frames(4)
    backwards = Frames(
        pixels=frames.pixels.flip(0), seconds=frames.seconds, duration=frames.duration
    )
    target = "model.layers.0.mlp.down_proj"
    one, other, third = (
        tiny_vipe.see(video).delta(target) for video in (frames, backwards, tiny.frames(4))
    )
    assert not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one, third, atol=1e-3)


def test_a_file_is_seen_as_its_frames(tiny_vipe: ViPE, clip: Path) -> None:
    seconds: dict[str, float] = {}
    seen = tiny_vipe.see(clip, seconds=seconds)
    assert seen.metadata == {"video": "clip.mp4", "frames": "6", "seconds": "2.000"}
    assert sorted(seconds) == ["decode", "encode", "see"]
    assert all(value > 0 for value in seconds.values())
    assert_same(tiny_vipe.see(str(clip)), seen)
    assert_same(tiny_vipe.see(io.BytesIO(clip.read_bytes())), seen)
    assert_same(tiny_vipe.see(read_frames(clip, Uniform(6), size=64)), seen)
    assert_same(tiny_vipe.see(clip, frames=6), seen)
    assert tiny_vipe.see(clip, frames=3).metadata["frames"] == "3"
    assert tiny_vipe.see(clip, frames=EveryFrame()).metadata["frames"] == "20"


def test_a_witness_is_told_how_it_goes_on(tiny_vipe: ViPE) -> None:
    frames, encoded, merged = tiny.frames(6), list[int](), list[VisualTokens]()

    class Witness:
        def encoded(self, frames: int) -> None:
            assert not merged
            encoded.append(frames)

        def merged(self, tokens: VisualTokens) -> None:
            merged.append(tokens)

    assert_same(tiny_vipe.see(frames, witness=Witness()), tiny_vipe.see(frames))
    assert encoded == [4, 6], "clip by clip"
    (tokens,) = merged
    assert tokens.assignment is not None
    assert tokens.assignment.shape == (1, 6 * tiny_vipe.encoder.patches)
    assert torch.equal(torch.bincount(tokens.assignment[0]), tokens.size[0].long())


def test_the_merge_ratio_of_one_video(tiny_vipe: ViPE) -> None:
    frames = tiny.frames(4)
    assert_same(tiny_vipe.see(frames, merge_ratio=0.5), tiny_vipe.see(frames))
    target = "model.layers.0.mlp.down_proj"
    other = tiny_vipe.see(frames, merge_ratio=0.0)
    assert not torch.equal(other.B[target], tiny_vipe.see(frames).B[target])
    with pytest.raises(ValueError, match="merge_ratio"):
        tiny_vipe.see(frames, merge_ratio=1.0)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.6, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("count", [1, 6])
def test_every_merge_ratio_gives_weights(tiny_vipe: ViPE, ratio: float, count: int) -> None:
    seen = tiny_vipe.see(tiny.frames(count), merge_ratio=ratio)
    seen.check_fits(tiny_vipe.language_model)
    assert all(B.isfinite().all() and B.any() for B in seen.B.values())


def test_a_picture_is_a_video_of_one_frame(tiny_vipe: ViPE) -> None:
    seen = tiny_vipe.see(tiny.frames(1, duration=0.0))
    assert all(torch.isfinite(B).all() for B in seen.B.values())


def test_videos_seen_together_are_those_seen_alone(tiny_vipe: ViPE, clip: Path) -> None:
    videos = [tiny.frames(3), clip, tiny.frames(9)]
    batch = tiny_vipe.see_batch(videos)
    assert len(batch) == 3
    for one, video in zip(batch, videos, strict=True):
        assert_same(one, tiny_vipe.see(video))


def test_no_frames_are_an_error(tiny_vipe: ViPE, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no frames"):
        tiny_vipe.see([])
    with pytest.raises(ValueError, match="at least one frame"):
        tiny_vipe.see(clip, frames=0)
    with pytest.raises(VideoError, match="no such file"):
        tiny_vipe.see(tmp_path / "absent.mp4")


# The model folder ------------------------------------------------------------------------------


def test_a_saved_model_sees_and_answers_the_same(
    tiny_vipe: ViPE, seen: PerceptualWeights, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    tiny_vipe.save_pretrained(folder)
    model = ViPE.from_pretrained(folder)
    assert model.config == tiny_vipe.config
    for name, value in model.video_to_weights.state_dict().items():
        saved = tiny_vipe.video_to_weights.state_dict()[name]
        assert torch.equal(value, saved.bfloat16().float()), "nothing but the rounding to bfloat16"
    assert not model.video_to_weights.training
    assert not any(p.requires_grad for p in model.language_model.parameters())
    torch.manual_seed(1)
    frames = tiny.frames(3)
    one, other = model.see(frames), tiny_vipe.see(frames)
    for target in one.targets:
        # bfloat16 has 8 bits, so weights are off by 0.4% at most; updates of this size: by 2%.
        error = (one.delta(target) - other.delta(target)).norm() / other.delta(target).norm()
        assert error < 0.05
    model.save_pretrained(folder)  # a second time, over the first; nothing more is lost
    again = ViPE.from_pretrained(str(folder))
    assert_same(again.see(frames), one)
    assert again.ask(one, "Why?", decoding=SHORT) == model.ask(one, "Why?", decoding=SHORT)


def test_a_model_that_only_sees_has_no_language_model_in_memory(
    tiny_vipe: ViPE, tmp_path: Path
) -> None:
    tiny_vipe.save_pretrained(tmp_path / "model")
    eyes = ViPE.from_pretrained(tmp_path / "model", device="cpu", only_see=True)
    assert all(parameter.is_meta for parameter in eyes.language_model.parameters())
    frames = tiny.frames(5)
    assert_same(eyes.see(frames), ViPE.from_pretrained(tmp_path / "model").see(frames))


def test_a_saved_adapter_answers_the_same(
    tiny_vipe: ViPE, seen: PerceptualWeights, tmp_path: Path
) -> None:
    seen.save(tmp_path / "adapter")
    loaded = PerceptualWeights.load(tmp_path / "adapter")
    for question in QUESTIONS:
        answer = tiny_vipe.ask(seen, question, decoding=SHORT)
        assert tiny_vipe.ask(loaded, question, decoding=SHORT) == answer


def test_bfloat16_keeps_positions_exact(tiny_vipe: ViPE, tmp_path: Path) -> None:
    tiny_vipe.save_pretrained(tmp_path / "model")
    model = ViPE.from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    assert {p.dtype for p in model.language_model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in model.video_to_weights.parameters()} == {torch.float32}
    for (name, one), (_, other) in zip(
        model.language_model.named_buffers(), tiny_vipe.language_model.named_buffers(), strict=True
    ):
        assert torch.equal(one, other), name
    frames = tiny.frames(3)
    ids = torch.tensor([prompt_ids(model.tokenizer, "Why? " * 60)])
    seen = tiny_vipe.see(frames)  # for both: saved weights are rounded too
    with torch.no_grad(), seen.attached_to(model.language_model):
        rounded = model.language_model(ids).logits.float()
    with torch.no_grad(), seen.attached_to(tiny_vipe.language_model):
        exact = tiny_vipe.language_model(ids).logits
    assert (rounded - exact).std() < 0.1 * exact.std()  # seen: 0.055
    assert isinstance(model.ask(model.see(frames), "Why?", decoding=SHORT), str)


def test_a_model_of_other_backbones_is_named(tiny_vipe: ViPE, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny_vipe.save_pretrained(folder)
    config = folder / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"rank": 2', '"rank": 3'))
    with pytest.raises(ModelError, match=r"model\.safetensors: does not fit"):
        ViPE.from_pretrained(folder)
    config.write_text(text.replace("down_proj", "fc_out"))
    with pytest.raises(ModelError, match="no linear module fc_out"):
        ViPE.from_pretrained(folder)


# The default model -------------------------------------------------------------------------------
