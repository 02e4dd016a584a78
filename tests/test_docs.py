"""Every page of the documentation: its Python runs, its commands exist, its links lead somewhere.

The default model is stood in for by a tiny one. Two pages have tests of what their code says:
`test_readme.py`, and `integrations/test_transformers_page.py`.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from fastapi.testclient import TestClient
from transformers import PreTrainedTokenizerFast

import media
import pages
from vipe import PerceptualWeights, ViPE, backbones
from vipe.data.scene_files import write_scenes
from vipe.encoders.configs import KINDS
from vipe.seer import Seer
from vipe.serving.language_model import export_language_model
from vipe.serving.server.app import Service, create_app
from vipe.store import Store
from vipe.training.recipe_files import load_recipe

ELSEWHERE = ("README.md", "docs/huggingface.md")
WITH_PYTHON = [page for page in pages.PAGES if pages.blocks(page) and page not in ELSEWHERE]


@pytest.fixture
def reader(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model_folder: Path,
    saved_vipe: ViPE,
    tiny_tokenizer: PreTrainedTokenizerFast,
) -> Path:
    """A folder with all that pages take for granted, and a tiny model in the default one's place.

    Repositories of the hub are folders of their names.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("dog", "car", "morning", "noon"):
        media.video(tmp_path / f"{name}.mp4", frames=20)
    (tmp_path / "media").symlink_to(pages.ROOT / "media")
    (tmp_path / "runs" / "tags").mkdir(parents=True)
    (tmp_path / "runs" / "tags" / "model").symlink_to(model_folder)
    for split, seed in (("train", 1), ("held-out", 2)):
        write_scenes(tmp_path / split, count=3, seed=seed)
    export_language_model(saved_vipe.config.language_model, tmp_path / "language-model")

    load = ViPE.from_pretrained
    monkeypatch.setattr(
        ViPE, "from_pretrained", lambda name=None, **more: load(name or model_folder, **more)
    )
    monkeypatch.setattr(backbones, "load_tokenizer", lambda: tiny_tokenizer)
    for kind, save in ((ViPE, ViPE.save_pretrained), (PerceptualWeights, PerceptualWeights.save)):
        monkeypatch.setattr(kind, "push_to_hub", _pushed(kind.push_to_hub, save))
    return tmp_path


def _pushed(push: Callable[..., str], save: Callable[[Any, str], None]) -> Callable[..., None]:
    """Save where somebody pushes, with arguments that pushing takes."""

    def pushed(self: Any, name: str, **more: Any) -> None:
        inspect.signature(push).bind(self, name, **more)
        save(self, name)

    return pushed


@pytest.fixture
def served(reader: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A server of the tiny model behind every client of OpenAI's, which may read files here."""
    service = Service(Seer.named(model_folder), Store(reader / "store"), allowed_folder=reader)
    client = partial(openai.OpenAI, http_client=TestClient(create_app(service)))
    monkeypatch.setattr(openai, "OpenAI", client)
    yield
    service.close()


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_the_code_runs(
    page: str,
    reader: Path,
    unchecked: None,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "import OpenAI" in pages.text_of(page):
        request.getfixturevalue("served")
    monkeypatch.setattr("vipe.encoders.configs.KINDS", dict(KINDS))
    pages.run(page, replacing={"https://example.com": reader.as_uri(), "…": "key"})


@pytest.mark.parametrize("page", pages.PAGES)
def test_what_is_linked_to_is_there(page: str) -> None:
    folder = (pages.ROOT / page).parent
    for link, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", pages.text_of(page)):
        target = folder / link if link else pages.ROOT / page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{link}#{anchor}"


def anchors(text: str) -> set[str]:
    """What a page's headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def reference() -> dict[str, str]:
    """The help of every command."""
    parts = re.split(r"^## `vipe (\S+)`$", pages.text_of("docs/cli.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(page: str) -> list[list[str]]:
    """The words of each command of ours in a page's blocks, from `vipe` on."""
    found: list[list[str]] = []
    for language in ("sh", "console", ""):
        for code, _ in pages.blocks(page, language):
            for line in code.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\||;", line):
                    words = _words(part)
                    before, _, after = f" {shlex.join(words)}".partition(" vipe ")
                    if after and not before.endswith("--model"):
                        found.append(["vipe", *shlex.split(after)])
    return found


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line.removeprefix("$ "), comments=True)
    except ValueError:  # half of a quoted text, which another line ends
        return []


@pytest.mark.parametrize("page", [page for page in pages.PAGES if page != "docs/cli.md"])
def test_commands_and_recipes_are_there(page: str) -> None:
    known = reference()
    for words in commands(page):
        name = words[1]
        assert name in known, " ".join(words)
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert f"`{option}" in known[name] or f", {option}" in known[name], " ".join(words)
    for recipe in re.findall(r"vipe train (recipes/\S+\.yaml)", pages.text_of(page)):
        if (pages.ROOT / recipe).name.islower():  # capitals stand for a name of one's own
            load_recipe(pages.ROOT / recipe)


def test_the_pages_have_commands() -> None:
    """Else the test before shows nothing."""
    assert sum(len(commands(page)) for page in pages.PAGES) > 20
