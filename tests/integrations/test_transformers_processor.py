"""Videos, pictures and chats as tensors: what `ViPE.see` and `ViPE.ask` make of them themselves."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor

import media
import tiny
from vipe import Frames, PerceptualWeights, ViPE, ViPEConfig
from vipe.chat import prompt_ids
from vipe.encoders import HuggingFaceEncoderConfig
from vipe.errors import ModelError, VideoError
from vipe.frames import Rate
from vipe.integrations.transformers import ViPEModel, ViPEProcessor
from vipe.integrations.transformers.conversation import look, read
from vipe.integrations.transformers.tensors import VIDEO_INPUTS, as_frames, as_tensors


@pytest.fixture(scope="module")
def processor(model_folder: Path) -> ViPEProcessor:
    made = AutoProcessor.from_pretrained(model_folder)
    assert type(made) is ViPEProcessor
    return made


@pytest.fixture(scope="module")
def model(saved_vipe: ViPE) -> ViPEModel:
    return ViPEModel.of(saved_vipe)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.video(tmp_path_factory.mktemp("clips") / "clip.mp4", frames=30)


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "picture.png"
    Image.fromarray(media.picture(77)).save(path)
    return path


def chat(*parts: dict[str, Any], question: str = "What is it?") -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]


def alike(one: PerceptualWeights, other: PerceptualWeights) -> bool:
    return one.targets == other.targets and all(
        torch.equal(one.delta(target), other.delta(target)) for target in one.targets
    )


def seen_by(model: ViPEModel, inputs: Any) -> PerceptualWeights:
    return model.see(**{name: inputs[name] for name in VIDEO_INPUTS})


def test_the_prompt_is_that_of_ask(processor: ViPEProcessor, clip: Path) -> None:
    turns = [
        {"role": "system", "content": "Be exact."},
        *chat({"type": "video", "path": str(clip)}),
        {"role": "assistant", "content": "A film."},
        {"role": "user", "content": [{"type": "text", "text": "And"},
                                     {"type": "text", "text": "then?"}]},
    ]  # fmt: skip
    wanted = prompt_ids(
        processor.tokenizer,
        [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": "What is it?"},
            {"role": "assistant", "content": "A film."},
            {"role": "user", "content": "And\nthen?"},
        ],
    )
    inputs = processor.apply_chat_template(
        turns, add_generation_prompt=True, tokenize=True, return_dict=True
    )
    assert inputs["input_ids"].tolist() == [wanted], "no token is visual"
    text = processor.apply_chat_template(turns, add_generation_prompt=True)
    assert processor(text=text)["input_ids"].tolist() == [wanted]
    going_on = processor.apply_chat_template(turns[:3], continue_final_message=True)
    assert going_on.endswith("A film.")


def test_several_prompts_are_padded_on_the_left(processor: ViPEProcessor) -> None:
    inputs = processor.apply_chat_template(
        [chat(question="Who?"), chat(question="What is it?")],
        add_generation_prompt=True, tokenize=True, return_dict=True,
    )  # fmt: skip
    assert inputs["attention_mask"][:, 0].tolist() == [0, 1]
    assert inputs["attention_mask"][:, -1].tolist() == [1, 1]
    assert inputs["input_ids"][0, 7:].tolist() == prompt_ids(processor.tokenizer, "Who?")


@pytest.mark.parametrize("settings", [{}, {"num_frames": 3}, {"fps": 5}], ids=str)
def test_a_file_is_seen_as_vipe_sees_it(
    processor: ViPEProcessor, model: ViPEModel, clip: Path, settings: dict[str, int]
) -> None:
    inputs = processor(videos=clip, **settings)
    sampling = Rate(settings["fps"]) if "fps" in settings else settings.get("num_frames")
    wanted = model.vipe.see(clip, frames=sampling)
    assert inputs["video_frames"].tolist() == [int(wanted.metadata["frames"])]
    assert inputs["pixel_values_videos"].shape[2:] == (3, 64, 64)
    assert alike(seen_by(model, inputs)[0], wanted)


def test_a_picture_is_a_video_of_one_frame(
    processor: ViPEProcessor, model: ViPEModel, picture: Path
) -> None:
    wanted = model.vipe.see(picture)
    opened = Image.open(picture)
    encoded = base64.b64encode(picture.read_bytes()).decode()
    for part in (
        {"type": "image", "path": str(picture)},
        {"type": "image", "image": opened},
        {"type": "image", "image": opened.convert("RGBA")},
        {"type": "image", "base64": encoded},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}},
    ):
        inputs = processor.apply_chat_template(chat(part), tokenize=True, return_dict=True)
        assert inputs["video_frames"].tolist() == [1]
        assert alike(seen_by(model, inputs)[0], wanted), part["type"]


def test_a_picture_of_pillows_is_turned_upright(processor: ViPEProcessor, picture: Path) -> None:
    turned = Image.open(picture).transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    upright = processor(images=Image.open(file))["pixel_values_videos"]
    assert torch.equal(upright, processor(images=picture)["pixel_values_videos"])


def test_videos_of_unequal_length_in_one_batch(
    processor: ViPEProcessor, model: ViPEModel, clip: Path, picture: Path
) -> None:
    inputs = processor(videos=[clip, picture, tiny.frames(9, size=64)])
    assert inputs["video_frames"].tolist() == [6, 1, 9]
    assert inputs["pixel_values_videos"].shape[:2] == (3, 9)
    together = seen_by(model, inputs)
    assert alike(together[0], model.vipe.see(clip))
    assert alike(together[1], model.vipe.see(picture))


def test_there_and_back() -> None:
    videos = [tiny.frames(count, size=16, duration=7.25) for count in (3, 1, 5)]
    for one, other in zip(as_frames(**_renamed(as_tensors(videos))), videos, strict=True):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.seconds, other.seconds)
        assert one.duration == other.duration


def _renamed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(zip(("pixels", "seconds", "frames", "duration"), tensors.values(), strict=True))


def test_decoded_frames_are_resized_as_the_encoder_does(
    processor: ViPEProcessor, model: ViPEModel
) -> None:
    frames = tiny.frames(4, size=80)
    assert alike(seen_by(model, processor(videos=frames))[0], model.vipe.see(frames))


def test_an_address_is_fetched(processor: ViPEProcessor, clip: Path) -> None:
    with media.served(clip.read_bytes()) as host:
        part = {"type": "video", "url": f"http://{host}/clip.mp4"}
        inputs = processor.apply_chat_template(chat(part), tokenize=True, return_dict=True)
    wanted = processor(videos=clip)["pixel_values_videos"]
    assert torch.equal(inputs["pixel_values_videos"], wanted)
    with pytest.raises(VideoError, match=f"{host}/clip.mp4: cannot be fetched") as error:
        processor(videos=f"http://me:secret@{host}/clip.mp4")
    assert "secret" not in str(error.value)


def test_what_was_seen_already(processor: ViPEProcessor, model: ViPEModel, clip: Path) -> None:
    seen = model.vipe.see(clip)
    inputs = processor(text=["a", "b"], videos=[seen, seen])
    assert len(inputs["seen"]) == 2
    assert alike(inputs["seen"][1], seen)
    with pytest.raises(ValueError, match="some were not"):
        processor(text=["a", "b"], videos=[seen, clip])


def test_alone_in_a_folder(processor: ViPEProcessor, tmp_path: Path) -> None:
    assert processor.save_pretrained(tmp_path) == [str(tmp_path / "processor_config.json")]
    assert [path.name for path in tmp_path.iterdir()] == ["processor_config.json"]
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert type(loaded) is ViPEProcessor
    assert loaded.to_dict() == processor.to_dict()
    (tmp_path / "processor_config.json").write_text('{"processor_class": "ViPEProcessor"}')
    with pytest.raises(ModelError, match=r"processor_config\.json: not a processor's config"):
        ViPEProcessor.from_pretrained(tmp_path)


def test_the_size_of_pictures_is_found_without_weights(tiny_encoder_folder: Path) -> None:
    from vipe.encoders import TimmEncoderConfig

    config = TimmEncoderConfig(name=str(tiny_encoder_folder), pretrained=False)
    assert config.find_image_size() == config.build().image_size
    assert ViPEConfig().encoder.find_image_size() == 224
    assert HuggingFaceEncoderConfig(name="nowhere", image_size=98).find_image_size() == 98


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"videos": 7}, "a video is a path"),
        ({"videos": torch.zeros(3, 3, 8, 8)}, "a video is a path"),
        ({"videos": "no/such/file.mp4"}, "no/such/file.mp4"),
        ({"videos": [["a", "b"]]}, "one video"),
        ({"text": "a", "audio": 1}, "hears nothing"),
        ({"text": "a", "videos": "v", "num_frames": 3, "fps": 2}, "not both"),
    ],
    ids=str,
)
def test_what_cannot_be_prepared(
    processor: ViPEProcessor, given: dict[str, Any], said: str
) -> None:
    with pytest.raises((ValueError, VideoError), match=said) as error:
        processor(**given)
    assert "\n" not in str(error.value)


def test_a_chat_is_about_one_video(processor: ViPEProcessor, clip: Path) -> None:
    part = {"type": "video", "path": str(clip)}
    for chats, said in (
        (chat(part, part), "not 2"),
        ([chat(part), chat()], "some about none"),
        (chat({"type": "input_audio"}), "'input_audio'"),
    ):
        with pytest.raises(ValueError, match=said):
            processor.apply_chat_template(chats, tokenize=True, return_dict=True)
    with pytest.raises(VideoError, match="base64"):
        read(chat({"type": "image", "base64": "not base64"}))


def test_live_frames_come_by_rate(clip: Path) -> None:
    with media.served(clip.read_bytes()) as host:
        live = look(f"http://{host}/clip.mp4", Rate(5), 64)
    assert isinstance(live, Frames)
    assert len(live) == 5
