"""The two verbs: what is seen however frames come, what is answered however it is asked."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import media
import tiny
from vipe import Decoding, Frames, PerceptualWeights, ViPE, ViPEConfig
from vipe.chat import Message, prompt_ids
from vipe.errors import AdapterError, ModelError, VideoError
from vipe.frames import EveryFrame, Uniform, read_frames
from vipe.generation import generate
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


# Ask -----------------------------------------------------------------------------------------


def prompt_lengths(model: ViPE, seen: PerceptualWeights, question: str) -> list[int]:
    """Lengths of what the language model is given, up to the first token of the answer."""
    lengths: list[int] = []
    handle = model.language_model.get_input_embeddings().register_forward_pre_hook(
        lambda _, args: lengths.append(args[0].shape[1])
    )
    model.ask(seen, question, decoding=Decoding(max_new_tokens=1))
    handle.remove()
    return lengths


def test_no_visual_token_is_in_the_prompt(tiny_vipe: ViPE) -> None:
    for count in (1, 30):
        seen = tiny_vipe.see(tiny.frames(count))
        assert prompt_lengths(tiny_vipe, seen, "Why?") == [len(_prompt(tiny_vipe, "Why?"))]


def test_several_questions_at_once_get_the_answers_they_get_alone(
    tiny_vipe: ViPE, seen: PerceptualWeights
) -> None:
    answers = [tiny_vipe.ask(seen, question, decoding=SHORT) for question in QUESTIONS]
    assert tiny_vipe.ask_batch(seen, QUESTIONS, decoding=SHORT) == answers
    assert len(set(answers)) == 3
    assert tiny_vipe.ask_batch(seen, []) == []


def test_several_videos_at_once_get_the_answers_they_get_alone(tiny_vipe: ViPE) -> None:
    batch = tiny_vipe.see_batch([tiny.frames(3), tiny.frames(5), tiny.frames(1)])
    answers = [
        tiny_vipe.ask(one, question, decoding=SHORT)
        for one, question in zip(batch, QUESTIONS, strict=True)
    ]
    assert tiny_vipe.ask_batch(batch, QUESTIONS, decoding=SHORT) == answers
    with pytest.raises(ValueError, match="3 videos but 2 questions"):
        tiny_vipe.ask_batch(batch, QUESTIONS[:2])


def test_the_answer_comes_from_the_weights(tiny_vipe: ViPE, seen: PerceptualWeights) -> None:
    plain = generate(
        tiny_vipe.language_model, tiny_vipe.tokenizer, [_prompt(tiny_vipe, "Why?")], SHORT
    )[0]
    assert tiny_vipe.ask(seen, "Why?", decoding=SHORT) != plain
    nothing = replace(seen, static=None) * 0.0  # nor what is alike for all videos
    assert tiny_vipe.ask(nothing, "Why?", decoding=SHORT) == plain
    other = tiny_vipe.see(tiny.frames(3))
    assert tiny_vipe.ask(other, "Why?", decoding=SHORT) != tiny_vipe.ask(
        seen, "Why?", decoding=SHORT
    )


def _prompt(model: ViPE, question: str) -> list[int]:
    return prompt_ids(model.tokenizer, question)


def test_an_untrained_model_answers_as_the_language_model_does(tiny_config: ViPEConfig) -> None:
    model = ViPE.from_config(tiny_config)
    plain = generate(model.language_model, model.tokenizer, [_prompt(model, "Why?")], SHORT)
    assert [model.ask(model.see(tiny.frames(3)), "Why?", decoding=SHORT)] == plain


@pytest.mark.parametrize(
    "decoding", [SHORT, Decoding(max_new_tokens=12, temperature=1.5, top_p=0.9, seed=4)]
)
def test_pieces_join_to_the_answer(
    tiny_vipe: ViPE, seen: PerceptualWeights, decoding: Decoding
) -> None:
    for question in QUESTIONS:
        answer = tiny_vipe.ask(seen, question, decoding=decoding)
        assert "".join(tiny_vipe.stream(seen, question, decoding=decoding)) == answer
        assert tiny_vipe.ask(seen, question, decoding=decoding) == answer


def test_several_turns_are_one_prompt(tiny_vipe: ViPE, seen: PerceptualWeights) -> None:
    turns = [
        Message(role="user", content="Why?"),
        Message(role="assistant", content="So."),
        Message(role="user", content="What is in the video?"),
    ]
    answer = tiny_vipe.ask(seen, turns, decoding=SHORT)
    assert answer != tiny_vipe.ask(seen, "What is in the video?", decoding=SHORT)
    assert "".join(tiny_vipe.stream(seen, turns, decoding=SHORT)) == answer
    assert tiny_vipe.ask_batch(seen, [turns, "Why?"], decoding=SHORT)[0] == answer


def test_the_language_model_is_as_it_was_afterwards(
    tiny_vipe: ViPE, seen: PerceptualWeights
) -> None:
    model = tiny_vipe.language_model
    state = {name: value.clone() for name, value in model.state_dict().items()}
    kinds = [type(module) for module in model.modules()]
    ids = torch.tensor([_prompt(tiny_vipe, "Why?")])
    with torch.no_grad():
        before = model(ids).logits
    tiny_vipe.ask(seen, "Why?", decoding=SHORT)
    stopped = tiny_vipe.stream(seen, "Why?", decoding=Decoding(max_new_tokens=200))
    next(stopped)
    stopped.close()  # type: ignore[attr-defined]
    list(tiny_vipe.stream(seen, "Why?", decoding=SHORT))
    assert [type(module) for module in model.modules()] == kinds
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with torch.no_grad():
        assert torch.equal(model(ids).logits, before)


def test_what_cannot_be_streamed(tiny_vipe: ViPE, seen: PerceptualWeights) -> None:
    with pytest.raises(ValueError, match="beam search"):
        tiny_vipe.stream(seen, "Why?", decoding=Decoding(num_beams=2))
    batch = PerceptualWeights.batch([seen, seen])
    with pytest.raises(ValueError, match="2 videos but 1 question"):
        tiny_vipe.stream(batch, "Why?")


def test_weights_of_another_model_are_refused(tiny_vipe: ViPE) -> None:
    other = PerceptualWeights(
        A={"model.layers.9.mlp.down_proj": torch.zeros(2, 48)},
        B={"model.layers.9.mlp.down_proj": torch.zeros(32, 2)},
        alpha=1.0,
        base_model="another",
    )
    for ask in (tiny_vipe.ask, tiny_vipe.stream):
        with pytest.raises(AdapterError, match="another does not fit"):
            ask(other, "Why?")


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
    ids = torch.tensor([_prompt(model, "Why? " * 60)])
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


def test_the_default_model_names_the_animal(default_model: ViPE, shared_data: Path) -> None:
    seen = default_model.see(shared_data / "clips" / "dog.mp4")
    question = "What animal is in the video?"
    assert "dog" in default_model.ask(seen, question).casefold()
    assert prompt_lengths(default_model, seen, question) == [len(_prompt(default_model, question))]
