"""Adapters and models there and back through the hub, whose server is in memory here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.utils import _http
from peft import PeftConfig, PeftModel
from transformers import LlamaForCausalLM

import tiny
from fake_hub import ENDPOINT, FakeHub
from vipe import PerceptualWeights, ViPE
from vipe.errors import AdapterError, ModelError

_library: Any = getattr(_http, "httpx2", None) or _http.httpx  # which one the client is made of


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    fake = FakeHub()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", ENDPOINT)
    template = ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    transport = _library.MockTransport(lambda request: fake.answer(request, _library.Response))
    huggingface_hub.set_client_factory(lambda: _library.Client(transport=transport))
    yield fake
    huggingface_hub.set_client_factory(_http.default_client_factory)


@pytest.fixture(scope="module")
def seen(tiny_vipe: ViPE) -> PerceptualWeights:
    weights = tiny_vipe.see(tiny.frames(4, size=64))
    return replace(weights, metadata={"video": "dog.mp4", "frames": "4"})


def test_an_adapter_there_and_back(hub: FakeHub, seen: PerceptualWeights) -> None:
    url = seen.push_to_hub("me/dog", private=True, token="hf_secret", message="The dog")
    assert url.startswith(f"{ENDPOINT}/me/dog/commit/")
    assert (hub.commits, hub.private, hub.tokens) == (["The dog"], {"me/dog"}, {"Bearer hf_secret"})
    assert set(hub.repositories["me/dog"]) == {
        "adapter_config.json", "adapter_model.safetensors", "README.md"
    }  # fmt: skip
    loaded = PerceptualWeights.load("me/dog")
    assert loaded.metadata == seen.metadata
    for target in seen.targets:
        assert torch.equal(loaded.delta(target), seen.delta(target))


def test_peft_takes_it_by_the_same_name(
    hub: FakeHub, seen: PerceptualWeights, tiny_language_model: LlamaForCausalLM
) -> None:
    ids = torch.randint(3, 200, (2, 9))
    with seen.attached_to(tiny_language_model), torch.no_grad():
        ours = tiny_language_model(input_ids=ids).logits
    replace(seen, base_model="smollm2-135m-instruct").push_to_hub("me/dog")
    config = PeftConfig.from_pretrained("me/dog")
    assert config.base_model_name_or_path == "HuggingFaceTB/SmolLM2-135M-Instruct"
    peft = PeftModel.from_pretrained(tiny_language_model, "me/dog")
    with torch.no_grad():
        torch.testing.assert_close(peft(input_ids=ids).logits, ours, rtol=1e-5, atol=5e-5)


def test_a_model_there_and_back(hub: FakeHub, tiny_vipe: ViPE) -> None:
    tiny_vipe.push_to_hub("me/model")
    assert hub.private == set()
    assert set(hub.repositories["me/model"]) == {"config.json", "model.safetensors", "README.md"}
    loaded = ViPE.from_pretrained("me/model")
    assert loaded.config == tiny_vipe.config
    rounded = tiny_vipe.video_to_weights.state_dict()
    for name, value in loaded.video_to_weights.state_dict().items():
        assert torch.equal(value, rounded[name].to(torch.bfloat16).to(value.dtype))


def test_a_card_names_the_base_model_where_the_hub_knows_it(
    hub: FakeHub, seen: PerceptualWeights
) -> None:
    seen.push_to_hub("me/local")
    assert b"base_model:" not in hub.repositories["me/local"]["README.md"]
    replace(seen, base_model="org/lm").push_to_hub("me/known")
    card = hub.repositories["me/known"]["README.md"].decode()
    assert huggingface_hub.RepoCard(card).data.to_dict() == {
        "library_name": "peft",
        "base_model": "org/lm",
        "tags": ["vipe", "lora", "video"],
    }
    assert 'load("me/known")' in card


def test_a_second_push_keeps_the_owners_card(hub: FakeHub, seen: PerceptualWeights) -> None:
    seen.push_to_hub("me/dog")
    hub.repositories["me/dog"]["README.md"] = b"my own words"
    (seen * 2).push_to_hub("me/dog")
    assert hub.repositories["me/dog"]["README.md"] == b"my own words"
    target = seen.targets[0]
    assert torch.equal(PerceptualWeights.load("me/dog").delta(target), (seen * 2).delta(target))


@pytest.mark.parametrize("name", ["dog", "a/b/c", "me/", "me/the dog"])
def test_no_id(hub: FakeHub, seen: PerceptualWeights, tiny_vipe: ViPE, name: str) -> None:
    with pytest.raises(AdapterError, match=f"{name}: not an id of the hub"):
        seen.push_to_hub(name)
    with pytest.raises(ModelError, match=f"{name}: not an id of the hub"):
        tiny_vipe.push_to_hub(name)
    assert hub.repositories == {}


def test_what_the_hub_refuses_is_one_line(
    hub: FakeHub, seen: PerceptualWeights, tiny_vipe: ViPE
) -> None:
    hub.refusal = 403
    with pytest.raises(AdapterError, match="me/dog: the hub does not take it") as caught:
        seen.push_to_hub("me/dog")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="me/model: the hub does not take it"):
        tiny_vipe.push_to_hub("me/model")
    with pytest.raises(AdapterError, match="me/dog: no such folder, and the hub does not give it"):
        PerceptualWeights.load("me/dog")
    with pytest.raises(ModelError, match="me/model: no such folder, and the hub does not give it"):
        ViPE.from_pretrained("me/model")


def test_what_is_not_there(hub: FakeHub) -> None:
    hub.repositories["me/photos"] = {"cat.jpg": b"cat"}
    with pytest.raises(
        AdapterError, match=r"^me/photos: the hub has no adapter_config\.json of it"
    ):
        PerceptualWeights.load("me/photos")
    with pytest.raises(AdapterError, match="me/gone: no such folder"):
        PerceptualWeights.load("me/gone")


def test_a_folder_comes_before_the_hub(
    hub: FakeHub, seen: PerceptualWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen.push_to_hub("me/dog")
    (seen * 3).save("me/dog")
    target = seen.targets[0]
    assert torch.equal(PerceptualWeights.load("me/dog").delta(target), (seen * 3).delta(target))


def test_transformers_takes_a_model_by_its_id(
    hub: FakeHub, tiny_vipe: ViPE, tmp_path: Path
) -> None:
    from transformers import AutoModel, AutoProcessor, pipeline

    from vipe.integrations.transformers import ViPEModel, ViPEProcessor

    url = ViPEModel.of(tiny_vipe).push_to_hub(
        "me/model", private=True, token="hf_secret", commit_message="A model"
    )
    assert url.startswith(f"{ENDPOINT}/me/model/commit/")
    assert (hub.commits, hub.private) == (["A model"], {"me/model"})
    assert set(hub.repositories["me/model"]) == {"config.json", "model.safetensors", "README.md"}
    assert b"pipeline_tag: video-text-to-text" in hub.repositories["me/model"]["README.md"]
    loaded = AutoModel.from_pretrained("me/model")
    assert type(loaded) is ViPEModel
    assert type(AutoProcessor.from_pretrained("me/model")) is ViPEProcessor
    saved = ViPE.from_pretrained("me/model")
    frames = tiny.frames(4, size=64)
    answer = pipeline("video-text-to-text", model="me/model", device="cpu")
    wanted = saved.ask(saved.see(frames), "What is it?")
    assert answer(frames, "What is it?")[0]["generated_text"] == wanted
    elsewhere = ViPEModel.from_pretrained("me/model", cache_dir=str(tmp_path / "elsewhere"))
    assert elsewhere.config.plain() == saved.config
    assert (tmp_path / "elsewhere").is_dir()
