"""What holds of whatever answers with a video's adapter, docs/extending.md's example too.

An engine is given the language model's folder; `load` gives it adapters by name, `answer` asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import pages
import tiny
from vipe import Decoding, PerceptualWeights, ViPE
from vipe.chat import prompt_ids
from vipe.generation import generate
from vipe.serving.language_model import export_language_model
from vipe.serving.server.engine import Done, Engine, Event, Question

PAGE = "docs/extending.md"
QUESTIONS = ("What is it?", "Who is there, and why?", "Describe the video.")
TOKENS = 9


class Answers(Protocol):
    """An engine."""

    def load(self, name: str, adapter: Path) -> None: ...
    def answer(self, name: str, question: str, tokens: int) -> str: ...


@dataclass
class Videos:
    """Two videos, as a model of ours saw them.

    Attributes:
        model: Saw them; its answers are the right ones.
        language_model: The folder that engines get.
        adapters: A folder for each video.
    """

    model: ViPE
    language_model: Path
    adapters: dict[str, Path]

    def right(self, name: str, question: str, tokens: int) -> str:
        """What `ViPE.ask` says."""
        weights = PerceptualWeights.load(self.adapters[name])
        return self.model.ask(weights, question, decoding=Decoding(max_new_tokens=tokens))


@pytest.fixture(scope="module")
def videos(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Videos:
    folder = tmp_path_factory.mktemp("engines")
    model = ViPE.from_pretrained(model_folder)
    export_language_model(model.config.language_model, folder / "language-model")
    adapters = {name: folder / name for name in ("dog", "car")}
    for adapter in adapters.values():
        model.see(tiny.frames(6, size=64)).save(adapter)
    return Videos(model, folder / "language-model", adapters)


class _Ours:
    """`PerceptualWeights`, attached or merged."""

    def __init__(self, folder: Path, *, merged: bool) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.merged, self.weights = merged, dict[str, PerceptualWeights]()

    def load(self, name: str, adapter: Path) -> None:
        self.weights[name] = PerceptualWeights.load(adapter)

    def answer(self, name: str, question: str, tokens: int) -> str:
        weights, prompt = self.weights[name], prompt_ids(self.tokenizer, question)
        hold: Any = weights.merge_into if self.merged else weights.attached_to
        with hold(self.model):
            decoding = Decoding(max_new_tokens=tokens)
            return generate(self.model, self.tokenizer, [prompt], decoding)[0]


class _Peft:
    """PEFT's own class, given to the example of the page."""

    def __init__(self, folder: Path) -> None:
        self.page = pages.run(PAGE, only="class TransformersEngine")["TransformersEngine"](folder)

    def load(self, name: str, adapter: Path) -> None:
        if isinstance(self.page.model, PeftModel):
            self.page.model.load_adapter(str(adapter), name)
        else:
            self.page.model = PeftModel.from_pretrained(self.page.model, str(adapter), name).eval()

    def answer(self, name: str, question: str, tokens: int) -> str:
        return str(self.page.answer(name, question, tokens))


class _Served:
    """The thread that answers in `vipe serve`."""

    def __init__(self, folder: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.weights: dict[str, PerceptualWeights] = {}
        self.engine = Engine(model, self.tokenizer, batch=2, waiting=8)

    def load(self, name: str, adapter: Path) -> None:
        self.weights[name] = PerceptualWeights.load(adapter)

    def answer(self, name: str, question: str, tokens: int) -> str:
        events: SimpleQueue[Event] = SimpleQueue()
        prompt = prompt_ids(self.tokenizer, question)
        self.engine.submit(
            Question(prompt=prompt, weights=self.weights[name], most=tokens, tell=events.put)
        )
        text = ""
        while not isinstance(event := events.get(timeout=120), Done):
            assert isinstance(event, str), event
            text += event
        return text


ENGINES: dict[str, Callable[[Path], Answers]] = {
    "attached": lambda folder: _Ours(folder, merged=False),
    "merged": lambda folder: _Ours(folder, merged=True),
    "served": _Served,
    "PEFT": _Peft,
    PAGE: lambda folder: pages.run(PAGE, only="class TransformersEngine")["TransformersEngine"](
        folder
    ),
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, videos: Videos) -> Iterator[Answers]:
    made = ENGINES[request.param](videos.language_model)
    yield made
    if isinstance(made, _Served):
        made.engine.close()


def test_it_says_what_we_say_whichever_video_was_asked_before(
    engine: Answers, videos: Videos
) -> None:
    for name, adapter in videos.adapters.items():
        engine.load(name, adapter)
    asked = [(name, question) for question in QUESTIONS for name in ("dog", "car", "dog")]
    right = [videos.right(name, question, TOKENS) for name, question in asked]
    assert [engine.answer(name, question, TOKENS) for name, question in asked] == right
    assert len(set(right)) > len(QUESTIONS), "the videos differ"


def test_an_answer_is_as_long_as_it_may_be(engine: Answers, videos: Videos) -> None:
    engine.load("dog", videos.adapters["dog"])
    for tokens in (1, 3):
        said = engine.answer("dog", QUESTIONS[0], tokens)
        assert said == videos.right("dog", QUESTIONS[0], tokens)
