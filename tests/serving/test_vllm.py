"""The plugin of vLLM's: names become adapters, and what cannot be served is said in one line.

vLLM is not among what the tests need, so a small stand-in has the interface that the plugin uses;
the tests at the end are of the real one, where it is installed. A whole server is compared with
`ViPE.ask` by `scripts/parity`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import media
from vipe import PerceptualWeights, ViPE
from vipe.errors import AdapterError, ModelError, StoreError, VideoError
from vipe.seer import Seer
from vipe.serving import vllm as plugin
from vipe.serving.vllm import MAX_RANKS, Catalogue, make_resolver, max_lora_rank, register
from vipe.store import Store


@dataclass
class Place:
    store: Path
    videos: Path
    model: Path

    def catalogue(self, **changes: Any) -> Catalogue:
        settings = {"videos": self.videos, "model": str(self.model)}
        return Catalogue(self.store, **settings | changes)


@pytest.fixture(scope="module")
def model_folder(tiny_vipe: ViPE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    tiny_vipe.save_pretrained(folder)
    return folder


@pytest.fixture
def place(model_folder: Path, tmp_path: Path) -> Place:
    videos = tmp_path / "videos"
    (videos / "pets").mkdir(parents=True)
    media.video(videos / "one.mp4", frames=10, rate=5)
    media.video(videos / "pets" / "two.mp4", frames=20, rate=5)
    return Place(tmp_path / "store", videos, model_folder)


# Names -------------------------------------------------------------------------------------------


def test_a_path_is_seen_once_and_found_by_its_key(place: Place) -> None:
    catalogue = place.catalogue()
    found = catalogue.find("vipe:pets/two.mp4")
    assert found is not None
    (entry,) = Store(place.store)
    assert found.folder == entry.path.resolve()
    assert found.name == f"vipe:pets/two.mp4@{entry.key}"
    by_key = catalogue.find(f"vipe:{entry.key}")
    assert by_key is not None
    assert (by_key.name, by_key.folder) == (f"vipe:{entry.key}", found.folder)
    again = place.catalogue().find("vipe:pets/two.mp4")
    assert again == found
    assert len(list(Store(place.store))) == 1


def test_what_is_seen_is_what_the_model_sees(place: Place) -> None:
    found = place.catalogue().find("vipe:one.mp4")
    assert found is not None
    seen, served = ViPE.from_pretrained(place.model).see(place.videos / "one.mp4"), found.folder
    for target, B in PerceptualWeights.load(served).B.items():
        assert torch.equal(B, seen.B[target])


def test_another_content_under_the_same_path_has_another_name(place: Place) -> None:
    catalogue = place.catalogue()
    before = catalogue.find("vipe:one.mp4")
    shutil.copy(place.videos / "pets" / "two.mp4", place.videos / "one.mp4")
    after = catalogue.find("vipe:one.mp4")
    assert before is not None
    assert after is not None
    assert before.name != after.name
    assert before.folder != after.folder
    kept = catalogue.find(before.name)  # as vLLM lists it: what it was then
    assert kept is not None
    assert kept.folder == before.folder


def test_no_two_names_that_may_be_asked_for_have_one_name_in_vllm(place: Place) -> None:
    """vLLM gives each asked name a number, and would take one name of two numbers for one."""
    catalogue = place.catalogue()
    asked = ["vipe:one.mp4", "vipe:pets/../one.mp4"]
    first = catalogue.find(asked[0])
    assert first is not None
    asked += [f"vipe:{first.folder.name}", first.name, f"{first.name}@{first.folder.name}"]
    found = [catalogue.find(name) for name in asked]
    assert {adapter.folder for adapter in found if adapter} == {first.folder}
    assert len({adapter.name for adapter in found if adapter}) == len(asked)


@pytest.mark.parametrize("name", ["gpt-4", "", "VIPE:one.mp4", "one.mp4", "org/vipe"])
def test_other_names_are_left_to_others(place: Place, name: str) -> None:
    assert place.catalogue().find(name) is None


@pytest.mark.parametrize(
    "asked",
    ["gone.mp4", "../secret.mp4", "/etc/hostname", "link.mp4", "", ".", "a\0b", "x" * 5000],
)
def test_nothing_beside_the_folder_of_videos(place: Place, asked: str) -> None:
    media.video(place.videos.parent / "secret.mp4", frames=4, rate=5)
    (place.videos / "link.mp4").symlink_to(place.videos.parent / "secret.mp4")
    with pytest.raises(VideoError, match="no such video"):
        place.catalogue().find(f"vipe:{asked}")
    assert not place.store.exists()


def test_a_video_that_cannot_be_read_is_named_as_it_was_asked_for(place: Place) -> None:
    (place.videos / "bad.mp4").write_text("no film")
    with pytest.raises(VideoError, match=r"^bad\.mp4 is not a video") as caught:
        place.catalogue().find("vipe:bad.mp4")
    assert str(place.videos) not in str(caught.value)


def test_without_a_folder_of_videos_only_what_is_in_the_store(place: Place) -> None:
    entry = Store(place.store).see(place.model, place.videos / "one.mp4")
    catalogue = place.catalogue(videos=None)
    assert catalogue.find(f"vipe:{entry.key}") is not None
    with pytest.raises(VideoError, match=r"one\.mp4: no key of the store"):
        catalogue.find("vipe:one.mp4")
    with pytest.raises(StoreError, match="no such entry"):
        catalogue.find(f"vipe:{'0' * 20}")


def test_an_adapter_of_another_language_model_is_refused(place: Place) -> None:
    class Other(Seer):
        def see(self, *args: Any, **how: Any) -> PerceptualWeights:
            return replace(super().see(*args, **how), base_model="org/other")

    entry = Store(place.store).see(Other.named(place.model), place.videos / "one.mp4")
    with pytest.raises(AdapterError, match=f"{entry.key}: made for the language model org/other"):
        place.catalogue().find(f"vipe:{entry.key}")


def test_several_threads_at_once(place: Place) -> None:
    catalogue, found = place.catalogue(), []
    names = ["vipe:one.mp4", "vipe:pets/two.mp4", "vipe:one.mp4"]
    threads = [
        threading.Thread(target=lambda name=name: found.append(catalogue.find(name)))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(adapter.name.partition("@")[0] for adapter in found) == sorted(names)
    assert len(list(Store(place.store))) == 2


# What vLLM takes ---------------------------------------------------------------------------------


def update(rank: int, *targets: str) -> PerceptualWeights:
    return PerceptualWeights(
        A={target: torch.zeros(rank, 4) for target in targets},
        B={target: torch.zeros(6, rank) for target in targets},
        alpha=1.0,
        base_model="tiny",
    )


@pytest.mark.parametrize(
    ("rank", "needed"), [(1, 1), (2, 8), (8, 8), (9, 16), (257, 320), (512, 512)]
)
def test_the_rank_that_a_server_must_allow(rank: int, needed: int) -> None:
    assert max_lora_rank(update(rank, "model.layers.0.self_attn.o_proj")) == needed
    assert needed in MAX_RANKS


def test_what_vllm_does_not_take() -> None:
    with pytest.raises(AdapterError, match="the rank is 513, vLLM takes at most 512"):
        max_lora_rank(update(513, "model.layers.0.self_attn.o_proj"))
    with pytest.raises(AdapterError, match="vLLM has no LoRA of router"):
        max_lora_rank(update(8, "model.layers.0.self_attn.o_proj", "model.layers.0.router"))


# The plugin --------------------------------------------------------------------------------------


class NotFound(Exception):
    """As vLLM's."""


@dataclass
class Request:
    lora_name: str
    lora_int_id: int
    lora_path: str


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for vLLM; what is registered with it."""
    resolvers: dict[str, Any] = {}

    class Registry:
        @staticmethod
        def register_resolver(resolver_name: str, resolver: Any) -> None:
            resolvers[resolver_name] = resolver

    parts = {
        "vllm": {},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": Request},
        "vllm.lora.resolver": {"LoRAResolver": object, "LoRAResolverRegistry": Registry},
        "vllm.exceptions": {"VLLMNotFoundError": NotFound},
    }
    for name, content in parts.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("VIPE_STORE", "VIPE_VIDEOS", "VIPE_MODEL", "VIPE_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    return resolvers


def resolve(resolver: Any, name: str) -> Any:
    return asyncio.run(resolver.resolve_lora("base", name))


def test_the_plugin_answers_by_its_settings(
    registered: dict[str, Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    assert registered == {}, "it does nothing where no store is named"
    monkeypatch.setenv("VIPE_STORE", str(place.store))
    monkeypatch.setenv("VIPE_VIDEOS", str(place.videos))
    monkeypatch.setenv("VIPE_MODEL", str(place.model))
    register()
    (resolver,) = registered.values()
    one, two = resolve(resolver, "vipe:one.mp4"), resolve(resolver, "vipe:pets/two.mp4")
    assert {Path(one.lora_path).name, Path(two.lora_path).name} == {
        entry.key for entry in Store(place.store)
    }
    assert one.lora_int_id != two.lora_int_id
    assert 0 < one.lora_int_id < 2**63
    assert resolve(resolver, "vipe:one.mp4") == one
    assert resolve(resolver, "another") is None


def test_what_cannot_be_served_is_vllms_not_found(
    registered: dict[str, Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = make_resolver(place.catalogue())
    with pytest.raises(NotFound, match=r"^gone\.mp4: no such video$"):
        resolve(resolver, "vipe:gone.mp4")
    monkeypatch.delattr(sys.modules["vllm.exceptions"], "VLLMNotFoundError")
    with pytest.raises(ValueError, match=r"^gone\.mp4: no such video$"):
        resolve(resolver, "vipe:gone.mp4")


def test_a_model_that_is_missing_is_not_the_clients_fault(
    registered: dict[str, Any], place: Place
) -> None:
    resolver = make_resolver(place.catalogue(model=str(place.model / "gone")))
    with pytest.raises(ModelError, match="gone"):
        resolve(resolver, "vipe:one.mp4")


def test_a_folder_of_videos_that_is_none_stops_the_server(place: Place) -> None:
    settings = {"VIPE_STORE": str(place.store), "VIPE_VIDEOS": str(place.videos / "gone")}
    with pytest.raises(VideoError, match="gone: no such folder of videos"):
        Catalogue.of(settings)


def test_the_plugin_is_found_by_its_entry_point() -> None:
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    entry = tomllib.loads(text)["project"]["entry-points"]["vllm.general_plugins"]
    assert entry == {"vipe": f"{plugin.__name__}:{register.__name__}"}


# The real vLLM -----------------------------------------------------------------------------------

needs_vllm = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]


class TestRealVLLM:
    pytestmark = needs_vllm

    def test_its_classes_are_those_that_the_plugin_knows(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from vllm.exceptions import VLLMNotFoundError
        from vllm.lora.request import LoRARequest
        from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

        monkeypatch.setattr(LoRAResolverRegistry, "resolvers", {})
        monkeypatch.setenv("VIPE_STORE", str(place.store))
        monkeypatch.setenv("VIPE_VIDEOS", str(place.videos))
        monkeypatch.setenv("VIPE_MODEL", str(place.model))
        register()
        resolver = LoRAResolverRegistry.get_resolver("ViPE")
        assert isinstance(resolver, LoRAResolver)
        request = resolve(resolver, "vipe:one.mp4")
        assert isinstance(request, LoRARequest)
        with pytest.raises(VLLMNotFoundError, match="no such video"):
            resolve(resolver, "vipe:gone.mp4")

    def test_its_server_loads_what_a_name_stands_for(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The part of its server that keeps the models' names, with an engine that notes."""
        from vllm.entrypoints.openai.models.protocol import BaseModelPath
        from vllm.entrypoints.openai.models.serving import OpenAIServingModels
        from vllm.exceptions import VLLMNotFoundError
        from vllm.lora.resolver import LoRAResolverRegistry

        class Engine:
            model_config = SimpleNamespace(model="lm", max_model_len=64)
            renderer = input_processor = None

            def __init__(self) -> None:
                self.loaded: list[Any] = []

            async def add_lora(self, request: Any) -> None:
                self.loaded.append(request)

        async def serve() -> None:
            engine = Engine()
            models = OpenAIServingModels(engine, [BaseModelPath("base", "lm")])
            one = await models.resolve_lora("vipe:one.mp4")
            two = await models.resolve_lora("vipe:pets/two.mp4")
            assert engine.loaded == [one, two]
            assert one.lora_int_id != two.lora_int_id
            key = Path(one.lora_path).name
            assert Path(one.lora_path) == place.store.resolve() / key
            assert await models.resolve_lora("vipe:one.mp4") is one
            listed = {card.id for card in (await models.show_available_models()).data}
            assert listed == {"base", f"vipe:one.mp4@{key}", two.lora_name}
            by_key = await models.resolve_lora(f"vipe:{key}")
            assert by_key.lora_path == one.lora_path
            assert len({r.lora_name for r in engine.loaded}) == 3
            assert len({r.lora_int_id for r in engine.loaded}) == 3
            with pytest.raises(VLLMNotFoundError, match="no such video"):
                await models.resolve_lora("vipe:gone.mp4")
            other = await models.resolve_lora("other")
            assert other.error.code == 404

        monkeypatch.setattr(LoRAResolverRegistry, "resolvers", {})
        LoRAResolverRegistry.register_resolver("ViPE", make_resolver(place.catalogue()))
        asyncio.run(serve())

    def test_its_loader_reads_the_same_update(self, tmp_path: Path) -> None:
        """With targets in some layers only, as static targets are."""
        from vllm.config.lora import LoRAConfig
        from vllm.lora.lora_model import LoRAModel
        from vllm.lora.peft_helper import PEFTHelper

        sizes = {
            f"model.layers.{layer}.{name}": (outputs, inputs)
            for layer in range(3)
            for name, outputs, inputs in (
                ("self_attn.o_proj", 6, 6), ("mlp.down_proj", 6, 9), ("self_attn.k_proj", 3, 6)
            )
            if layer == 1 or "k_proj" not in name
        }  # fmt: skip
        weights = PerceptualWeights(
            A={target: torch.randn(4, size[1]) for target, size in sizes.items()},
            B={target: torch.randn(size[0], 4) for target, size in sizes.items()},
            alpha=6.0,
            base_model="tiny",
        )
        weights.save(tmp_path / "adapter")
        helper = PEFTHelper.from_local_dir(str(tmp_path / "adapter"), None)
        helper.validate_legal(LoRAConfig(max_lora_rank=max_lora_rank(weights)))
        loaded = LoRAModel.from_local_checkpoint(
            str(tmp_path / "adapter"), set(MODULES_OF_LLAMA), helper, lora_model_id=1, device="cpu"
        )
        assert set(loaded.loras) == set(sizes)
        for target, lora in loaded.loras.items():
            scale = lora.lora_alpha / lora.rank if lora.scaling is None else lora.scaling
            delta = scale * (lora.lora_b @ lora.lora_a)
            torch.testing.assert_close(delta, weights.delta(target))


MODULES_OF_LLAMA = (
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
)  # fmt: skip
