"""The twin: the same parts, the video as tokens before the question."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import tiny
from vipe import Decoding, ViPE
from vipe.chat import prompt_around, prompt_ids
from vipe.errors import ModelError
from vipe.frames import Frames
from vipe.merging import VisualTokens
from vipe.tokens import Reads
from vipe.twin import SoftPrompt, TokenTwin

READS: tuple[Reads, ...] = ("patches", "merged", "queries")


@pytest.fixture(params=READS)
def twin(request: pytest.FixtureRequest, tiny_vipe: ViPE) -> TokenTwin:
    torch.manual_seed(0)
    return TokenTwin.of(tiny_vipe, request.param)


def video(count: int = 6) -> Frames:
    return tiny.frames(count, size=64)


def test_as_many_tokens_as_patches_or_as_the_merge_leaves(tiny_vipe: ViPE) -> None:
    count = {reads: len(TokenTwin.of(tiny_vipe, reads).see(video())) for reads in READS}
    # 2 × 2 patches of six frames; clips of four frames keep half, within the budget of twelve.
    assert count == {"patches": 24, "merged": 12, "queries": 12}
    merged = TokenTwin.of(tiny_vipe, "merged")
    assert len(merged.see(video(4), merge_ratio=0.75)) == 4
    assert len(merged.see(video(60))) == 12


def test_patches_come_frame_by_frame(tiny_vipe: ViPE) -> None:
    twin = TokenTwin.of(tiny_vipe, "patches")
    frames = video()
    projector = twin.video_to_tokens.projector
    features = tiny_vipe.encoder.encode(frames).features
    with torch.no_grad():
        expected = projector.project(projector.norm(features.flatten(0, 1)))
    assert_close(twin.see(frames).values, expected)


def test_the_visual_tokens_are_all_that_the_prompt_has_more(twin: TokenTwin) -> None:
    seen = twin.see(video())
    prompt = twin.embed(seen, "What is it?")
    text = prompt_ids(twin.tokenizer, "What is it?")
    assert len(prompt) == len(text) + len(seen)
    before, after = prompt_around(twin.tokenizer, "What is it?")
    embeddings = twin.language_model.get_input_embeddings().weight
    end = len(before) + len(seen)
    assert_close(prompt[: len(before)], embeddings[before])
    assert_close(prompt[len(before) : end], seen.values)
    assert_close(prompt[end:], embeddings[after])


def test_videos_of_a_batch_are_answered_as_alone(twin: TokenTwin) -> None:
    seen = [twin.see(video(count)) for count in (1, 6, 3)]
    questions = ["What is it?", "Who?", "Where is the red one?"]
    decoding = Decoding(max_new_tokens=8)
    together = twin.ask_batch(seen, questions, decoding=decoding)
    alone = [
        twin.ask(one, question, decoding=decoding)
        for one, question in zip(seen, questions, strict=True)
    ]
    assert together == alone
    assert twin.ask_batch([], []) == []
    with pytest.raises(ValueError, match="zip"):
        twin.ask_batch(seen, questions[:2])


def test_an_answer_depends_on_what_was_seen(twin: TokenTwin) -> None:
    first, second = (twin.see(tiny.frames(4, size=64)) for _ in range(2))
    assert not torch.allclose(first.values, second.values)
    logits = [
        twin.language_model(inputs_embeds=twin.embed(one, "What?")[None]).logits[0, -1]
        for one in (first, second)
    ]
    assert not torch.allclose(*logits)


def test_what_was_seen_knows_its_video(twin: TokenTwin) -> None:
    seconds: dict[str, float] = {}
    seen = twin.see(video(), seconds=seconds)
    assert isinstance(seen, SoftPrompt)
    assert seen.metadata == {"frames": "6", "seconds": "3.000"}
    assert seen.nbytes == len(seen) * 32 * 4
    assert list(seconds) == ["decode", "encode", "see"]
    assert all(value > 0 for value in seconds.values())


def test_the_trained_part_learns_and_the_rest_is_frozen(twin: TokenTwin) -> None:
    module = twin.video_to_tokens
    tokens = tiny.tokens(2, channels=twin.encoder.channels)
    module(tokens).values.square().sum().backward()
    gradients = [p.grad for n, p in module.projector.named_parameters() if "gist" not in n]
    assert any(g is not None and g.abs().sum() > 0 for g in gradients)
    assert all(p.requires_grad for p in module.lora.parameters())
    assert not any(p.requires_grad for p in twin.encoder.parameters())


def test_padding_is_marked(twin: TokenTwin) -> None:
    channels = twin.encoder.channels
    batch = VisualTokens.batch([tiny.tokens(1, count, channels=channels) for count in (5, 3)])
    assert twin.video_to_tokens(batch).present.sum(1).tolist() == [5, 3]


def started(twin: TokenTwin) -> TokenTwin:
    for parameter in twin.video_to_tokens.lora.B.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return twin


def test_the_lora_changes_nothing_until_it_is_trained(twin: TokenTwin) -> None:
    lora = twin.video_to_tokens.lora.weights()
    assert lora.rank == twin.config.perception.rank
    assert all(lora.delta(target).abs().max() == 0 for target in lora.targets)
    trained = started(twin).video_to_tokens.lora.weights()
    assert all(trained.delta(target).abs().max() > 0 for target in trained.targets)


def test_a_saved_twin_answers_the_same_with_its_lora(twin: TokenTwin, tmp_path: Path) -> None:
    frames, question = video(), "What is it?"
    seen = started(twin).see(frames)
    before = twin.ask(seen, question, decoding=Decoding(max_new_tokens=8))
    for parameter in twin.video_to_tokens.parameters():  # as the file holds them
        parameter.data = parameter.data.bfloat16().float()
    twin.save_pretrained(tmp_path / "twin")
    loaded = TokenTwin.from_pretrained(tmp_path / "twin")
    assert (loaded.reads, loaded.config) == (twin.reads, twin.config)
    assert_close(loaded.see(frames).values, twin.see(frames).values)
    with twin.video_to_tokens.lora.weights().attached_to(twin.language_model):
        expected = twin.ask(twin.see(frames), question, decoding=Decoding(max_new_tokens=8))
        scores = twin.score(twin.see(frames), question, ["a dog", "a red car"])
    seen = loaded.see(frames)
    assert loaded.ask(seen, question, decoding=Decoding(max_new_tokens=8)) == expected != before
    assert loaded.score(seen, question, ["a dog", "a red car"]) == pytest.approx(scores, abs=1e-3)
    pieces = loaded.stream(seen, question, decoding=Decoding(max_new_tokens=8))
    assert "".join(pieces) == expected


def test_a_beam_search_is_not_streamed(twin: TokenTwin) -> None:
    with pytest.raises(ValueError, match="beam search"):
        twin.stream(twin.see(video()), "What?", decoding=Decoding(num_beams=2))


def test_each_kind_of_model_says_what_it_is(tiny_vipe: ViPE, tmp_path: Path) -> None:
    TokenTwin.of(tiny_vipe, "merged").save_pretrained(tmp_path / "twin")
    tiny_vipe.save_pretrained(tmp_path / "vipe")
    with pytest.raises(ModelError, match=r"twin: a model that reads tokens, not one that writes"):
        ViPE.from_pretrained(tmp_path / "twin")
    with pytest.raises(ModelError, match=r"vipe: not a model that reads tokens"):
        TokenTwin.from_pretrained(tmp_path / "vipe")
