"""The task "video-text-to-text" and transformers' own: they say what `ViPE.ask` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import pipeline
from transformers.pipelines import PIPELINE_REGISTRY

import media
from vipe import Decoding, ViPE
from vipe.integrations.transformers import VideoTextToTextPipeline, ViPEModel
from vipe.model_files import default_folder

QUESTIONS = ["What is it?", "Who goes there?"]


@pytest.fixture(scope="module")
def answer(model_folder: Path) -> VideoTextToTextPipeline:
    made = pipeline("video-text-to-text", model=str(model_folder), device="cpu")
    assert type(made) is VideoTextToTextPipeline
    assert type(made.model) is ViPEModel
    return made


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [media.video(folder / f"{n}.mp4", frames=n, rate=10) for n in (30, 4)]


@pytest.fixture(scope="module")
def wanted(saved_vipe: ViPE, clips: list[Path]) -> list[list[str]]:
    """What is said of each clip to each question."""
    said = [[saved_vipe.ask(saved_vipe.see(clip), q) for q in QUESTIONS] for clip in clips]
    assert len({answer for answers in said for answer in answers}) == 4
    return said


def chat(clip: Any, question: str) -> list[dict[str, Any]]:
    shown = {"type": "video", "path": str(clip)}
    return [{"role": "user", "content": [shown, {"type": "text", "text": question}]}]


def said(results: list[Any]) -> list[str]:
    return [(one[0] if isinstance(one, list) else one)["generated_text"] for one in results]


def test_a_video_and_a_question(
    answer: VideoTextToTextPipeline, clips: list[Path], wanted: list[list[str]]
) -> None:
    clip, question = str(clips[0]), QUESTIONS[0]
    for call in (
        lambda: answer(clip, question),
        lambda: answer(clips[0], question),
        lambda: answer(videos=clip, text=question),
        lambda: answer({"video": clip, "text": question}),
        lambda: answer(chat(clip, question)),
        lambda: answer(text=chat(clip, question)),
    ):
        assert said(call()) == [wanted[0][0]]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_several_videos_of_unequal_length(
    answer: VideoTextToTextPipeline, clips: list[Path], wanted: list[list[str]], batch_size: int
) -> None:
    each = [wanted[0][0], wanted[1][1]]
    chats = [chat(clip, question) for clip, question in zip(clips, QUESTIONS, strict=True)]
    pairs = [{"video": c, "text": q} for c, q in zip(clips, QUESTIONS, strict=True)]
    assert said(answer(clips, QUESTIONS, batch_size=batch_size)) == each
    assert said(answer(chats, batch_size=batch_size)) == each
    assert said(answer((pair for pair in pairs), batch_size=batch_size)) == each


@pytest.mark.parametrize("batch_size", [1, 2])
def test_what_was_seen_once_is_asked_often(
    answer: VideoTextToTextPipeline,
    clips: list[Path],
    wanted: list[list[str]],
    batch_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = answer.model.vipe.see(clips[0])
    monkeypatch.setattr(ViPEModel, "see", lambda *_, **__: pytest.fail("looked again"))
    assert said(answer(seen, QUESTIONS, batch_size=batch_size)) == wanted[0]


def test_settings_of_sampling_and_decoding(
    answer: VideoTextToTextPipeline, clips: list[Path], saved_vipe: ViPE
) -> None:
    seen = saved_vipe.see(clips[0], frames=2)
    short = saved_vipe.ask(seen, QUESTIONS[0], decoding=Decoding(max_new_tokens=5))
    assert said(answer(clips[0], QUESTIONS[0], num_frames=2, max_new_tokens=5)) == [short]
    beams = Decoding(max_new_tokens=5, num_beams=3)
    found = saved_vipe.ask(seen, QUESTIONS[0], decoding=beams)
    several = answer(seen, QUESTIONS[0], max_new_tokens=5,
                     generate_kwargs={"num_beams": 3, "num_return_sequences": 2})  # fmt: skip
    assert len(several) == 2
    assert several[0]["generated_text"] == found


def test_the_whole_chat_or_tensors(
    answer: VideoTextToTextPipeline, clips: list[Path], wanted: list[list[str]]
) -> None:
    (whole,) = answer(clips[0], QUESTIONS[0], return_full_text=True)
    asked, replied = whole["generated_text"]
    assert asked == whole["input_text"][0]
    assert (replied["role"], replied["content"].strip()) == ("assistant", wanted[0][0])
    (tokens,) = answer(clips[0], QUESTIONS[0], return_tensors=True)
    assert isinstance(tokens["generated_token_ids"], torch.Tensor)


@pytest.mark.parametrize("task", ["any-to-any", "image-text-to-text"])
def test_transformers_own_tasks_say_the_same(
    answer: VideoTextToTextPipeline, clips: list[Path], wanted: list[list[str]], task: str,
    model_folder: Path,
) -> None:  # fmt: skip
    own = pipeline(task, model=str(model_folder), device="cpu")
    results = own(text=chat(clips[0], QUESTIONS[0]), return_full_text=False)
    assert said(results)[0].strip() == wanted[0][0]


def test_a_picture_and_no_picture(
    answer: VideoTextToTextPipeline, saved_vipe: ViPE, tmp_path: Path
) -> None:
    picture = Image.fromarray(media.picture(77))
    picture.save(tmp_path / "picture.png")
    seen = saved_vipe.see(tmp_path / "picture.png")
    assert said(answer(picture, QUESTIONS[0])) == [saved_vipe.ask(seen, QUESTIONS[0])]
    bare = said(answer(text=QUESTIONS[0]))
    assert bare != said(answer(picture, QUESTIONS[0])), "the language model as it is"


def test_saved_as_a_model_folder(
    answer: VideoTextToTextPipeline, clips: list[Path], wanted: list[list[str]], tmp_path: Path
) -> None:
    answer.save_pretrained(tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "config.json", "model.safetensors"
    ]  # fmt: skip
    again = pipeline("video-text-to-text", model=str(tmp_path / "model"), device="cpu")
    assert said(again(clips[1], QUESTIONS[1])) == [wanted[1][1]]


def test_the_default_model_is_the_tasks() -> None:
    _, task, _ = PIPELINE_REGISTRY.check_task("video-text-to-text")
    assert task["default"]["model"][0] == str(default_folder())


def test_the_default_model_says_the_same_of_a_real_clip(
    default_model: ViPE, shared_data: Path
) -> None:
    clip, question = shared_data / "clips" / "dog.mp4", "What animal is in the video?"
    wanted = default_model.ask(default_model.see(clip), question)
    assert said(pipeline("video-text-to-text", device="cpu")(clip, question)) == [wanted]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "said_of_it"),
    [
        (("clip.mp4",), "nothing is asked"),
        (("clip.mp4", ""), "nothing is asked"),
        ((["a.mp4", "b.mp4"], ["What?"]), "2 videos but 1 questions"),
        (("clip.mp4", [{"role": "user", "content": "What?"}]), "holds its video itself"),
    ],
    ids=str,
)
def test_what_is_no_question(
    answer: VideoTextToTextPipeline, given: tuple[Any, ...], said_of_it: str
) -> None:
    with pytest.raises(ValueError, match=said_of_it):
        answer(*given)
