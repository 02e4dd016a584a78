"""lmms-eval: its arguments and media become ours, rows become tasks, and answers are `vipe eval`'s.

What runs lmms-eval itself skips where it is not installed.
"""

from __future__ import annotations

import importlib
import json
import math
import tomllib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

import media as videos
from vipe import Decoding, PerceptualWeights, ViPE
from vipe.errors import DataError, VideoError
from vipe.evaluation import runner
from vipe.evaluation.metrics import summarise
from vipe.evaluation.rows import Row, read_rows
from vipe.integrations.lmms_eval import media, scoring
from vipe.integrations.lmms_eval.arguments import batch_size_of, decoding_of, dtype_of, until
from vipe.integrations.lmms_eval.tasks import write_tasks

PLUGIN = "vipe.integrations.lmms_eval"


# arguments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "decoding"),
    [
        ({}, Decoding()),
        ({"max_new_tokens": 9, "do_sample": False, "top_p": 0, "num_beams": None},
         Decoding(max_new_tokens=9)),
        ({"temperature": 0, "top_p": 0.5, "image_aspect_ratio": "pad"}, Decoding()),
        ({"temperature": 1, "top_p": 0.5, "do_sample": False, "seed": 3},
         Decoding(temperature=1.0, top_p=0.5, seed=3)),
        ({"num_beams": 2, "temperature": None, "until": ["\n"]}, Decoding(num_beams=2)),
    ],
)  # fmt: skip
def test_generation_settings_become_a_decoding(
    settings: dict[str, Any], decoding: Decoding
) -> None:
    assert decoding_of(settings) == decoding


@pytest.mark.parametrize(
    ("stops", "left"),
    [
        (None, "One. Two\n\nThree"),
        ([], "One. Two\n\nThree"),
        ("\n", "One. Two"),
        (["Three", "\n\n", ". "], "One"),
        (["", "Four"], "One. Two\n\nThree"),
        (["One"], ""),
    ],
)
def test_an_answer_ends_before_its_first_stop(stops: str | list[str] | None, left: str) -> None:
    assert until("One. Two\n\nThree", stops) == left


def test_model_arguments() -> None:
    assert [batch_size_of(size) for size in (1, "8", "auto", "auto:2")] == [1, 8, 24, 24]
    assert dtype_of("bfloat16") is torch.bfloat16
    assert dtype_of("auto") is None
    for size in (0, "many", "-1"):
        with pytest.raises(ValueError, match="batch_size must be"):
            batch_size_of(size)
    for name in ("float33", "int8", "nn"):
        with pytest.raises(ValueError, match="dtype must be"):
            dtype_of(name)


# media -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "visuals", ["a.mp4", ["a.mp4"], [{"type": "video", "url": "a.mp4"}], ({"path": "a.mp4"},)]
)
def test_a_path_is_found_in_every_form(visuals: Any) -> None:
    assert media.shown(visuals) == Path("a.mp4")


def test_pictures_and_nothing() -> None:
    picture = Image.new("RGB", (8, 8))
    assert media.shown(picture) == [picture]
    assert media.shown([picture, picture]) == [picture, picture]
    assert media.shown([]) is None
    assert media.shown(None) is None


@pytest.mark.parametrize(
    ("visuals", "said"),
    [
        (["a.mp4", "b.mp4"], "shows 2 videos or files"),
        ([{"path": "a.mp4", "video_start": 1.0}], "a part of a video"),
        ([{"array": [0.0], "sampling_rate": 16000}], "shows a dict"),
        ([3], "shows a int"),
    ],
)
def test_what_cannot_be_seen_is_said(visuals: Any, said: str) -> None:
    with pytest.raises(VideoError, match=said):
        media.shown(visuals)


def test_pictures_are_seen_as_the_files_of_them(tiny_vipe: ViPE, tmp_path: Path) -> None:
    images = [Image.fromarray(videos.picture(number)) for number in range(9)]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    for shown, same in ((images, tmp_path), (images[3:4], tmp_path / "3.png")):
        frames = media.pictures(shown, frames=4, size=tiny_vipe.encoder.image_size)
        one, other = tiny_vipe.see(frames), tiny_vipe.see(same, frames=4)
        assert len(frames) == min(4, len(shown))
        assert all(torch.equal(one.B[target], other.B[target]) for target in one.targets)


def test_a_damaged_picture_is_said(tmp_path: Path) -> None:
    Image.fromarray(videos.picture(1)).save(tmp_path / "1.png")
    image = Image.open(videos.cut(tmp_path / "1.png", 0.6))
    with pytest.raises(VideoError, match="a picture that cannot be read"):
        media.pictures([image], frames=1, size=8)


# tasks -------------------------------------------------------------------------------------------


QUESTIONS: list[dict[str, Any]] = [
    {"question": "What is it?", "kind": "object", "accept": ["a", "e"]},
    {"question": "Is it, at all?", "kind": "yes, or no", "accept": ["yes"], "id": 3},
    {"question": "Which is it?", "kind": "choice", "accept": ["dog"],
     "options": ["a dog", "two men", "no"]},
    {"question": "Describe it.", "kind": "caption", "references": ["a dog runs", "one dog"]},
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four questions about each of three clips, the clips taking turns; do not write to it."""
    folder = tmp_path_factory.mktemp("clips")
    clips = [videos.video(folder / f"{n}.mp4", frames=n, key_every=4) for n in (5, 12, 30)]
    lines = [json.dumps({"video": c.name, **asked}) + "\n" for asked in QUESTIONS for c in clips]
    (folder / "my rows.jsonl").write_text("".join(lines))
    return folder / "my rows.jsonl"


def settings_of(file: Path) -> dict[str, Any]:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    return yaml.load(file.read_text(), Loader)


def documents(settings: dict[str, Any]) -> list[dict[str, Any]]:
    file = Path(settings["dataset_kwargs"]["data_files"]["test"])
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_rows_become_a_task_and_those_with_options_another(data: Path, tmp_path: Path) -> None:
    assert write_tasks(data, tmp_path / "new") == ["vipe_my_rows", "vipe_my_rows_options"]
    free = settings_of(tmp_path / "new/vipe_my_rows.yaml")
    choice = settings_of(tmp_path / "new/vipe_my_rows_options.yaml")

    assert free["output_type"] == "generate_until"
    assert free["generation_kwargs"] == {"max_new_tokens": 40, "temperature": 0.0, "until": []}
    assert [metric["metric"] for metric in free["metric_list"]] == [
        "accuracy", "accuracy_object", "accuracy_yes__or_no", "bleu1", "bleu4", "rouge_l",
        "cider",
    ]  # fmt: skip
    assert choice["output_type"] == "multiple_choice"
    assert [metric["metric"] for metric in choice["metric_list"]] == ["accuracy", "accuracy_choice"]

    keys = {"video", "question", "kind", "accept", "references", "options"}
    rows = documents(free) + documents(choice)
    assert all(row.keys() == keys for row in rows)
    assert {row["video"] for row in rows} == {str(data.parent / f"{n}.mp4") for n in (5, 12, 30)}
    assert [len(documents(free)), len(documents(choice))] == [9, 3]


def test_captions_are_searched_for_as_in_eval(data: Path, tmp_path: Path) -> None:
    captions = [line for line in data.read_text().splitlines() if '"references"' in line]
    (data.parent / "captions.jsonl").write_text("\n".join(captions))
    write_tasks(data.parent / "captions.jsonl", tmp_path, name="captions")
    generation = settings_of(tmp_path / "captions.yaml")["generation_kwargs"]
    assert (generation["num_beams"], generation["length_penalty"]) == (3, 0.0)


def test_a_task_names_functions_that_there_are(data: Path, tmp_path: Path) -> None:
    write_tasks(data, tmp_path, name="mine")
    settings = settings_of(tmp_path / "mine.yaml")
    named = [settings["doc_to_visual"], settings["doc_to_target"], settings["process_results"]]
    named += [m["aggregation"] for m in settings["metric_list"] if "." in m["aggregation"]]
    assert len(named) == 7
    for name in named:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), function))
    features = settings["dataset_kwargs"]["features"].rpartition(".")
    assert importlib.util.find_spec(features[0])


@pytest.mark.parametrize("name", ["a-b", "a/b", "../a"])
def test_a_name_that_is_none_is_refused(data: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="a task's name is"):
        write_tasks(data, tmp_path / "new", name=name)
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_written_is_said(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot be written"):
        write_tasks(data, tmp_path / "file")


# scoring -----------------------------------------------------------------------------------------


def test_answers_count_as_in_an_evaluation(data: Path, tmp_path: Path) -> None:
    answers = ["a cat", "Yes.", "no", "a dog runs away", "two dogs"]
    write_tasks(data, tmp_path, name="mine")
    asked = documents(settings_of(tmp_path / "mine.yaml"))[2:7]
    rows = [row for row in read_rows(data) if not row.options][2:7]
    figures: dict[str, list[Any]] = {}
    for document, answer in zip(asked, answers, strict=True):
        for figure, value in scoring.scores(document, [answer]).items():
            figures.setdefault(figure, []).append(value)

    expected = summarise(rows, answers)
    assert math.fsum(figures["accuracy"]) / 4 == expected["accuracy"]
    by_kind = {kind: figures[scoring.accuracy_of(kind)] for kind in ("object", "yes, or no")}
    assert by_kind == {"object": [1.0], "yes, or no": [1.0, 0.0, 0.0]}
    for figure in ("bleu1", "bleu4", "rouge_l", "cider"):
        assert getattr(scoring, figure)(figures[figure]) == expected[figure]


@pytest.mark.parametrize(("losses", "right"), [((3.0, 1.0, 2.0), 0.0), ((0.5, 1.0, 2.0), 1.0)])
def test_of_options_that_of_the_smallest_loss_is_the_answer(
    losses: tuple[float, ...], right: float
) -> None:
    document = QUESTIONS[2] | {"references": []}
    found = scoring.scores(document, [(loss, False) for loss in losses])
    assert found == {"accuracy": right, "accuracy_choice": right}


# in lmms-eval ------------------------------------------------------------------------------------


@pytest.fixture
def lmms_eval() -> Any:
    return pytest.importorskip("lmms_eval", reason="lmms-eval is not installed")


Maker = Callable[..., Any]


@pytest.fixture
def make(lmms_eval: Any, tiny_vipe: ViPE, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """Make lmms-eval's model `vipe`, of the tiny one, on the CPU."""
    from vipe.integrations.lmms_eval.model import LmmsViPE

    monkeypatch.setattr(ViPE, "from_pretrained", lambda *_, **__: tiny_vipe)
    return lambda **arguments: LmmsViPE(device="cpu", **arguments)


@pytest.fixture
def seen(tiny_vipe: ViPE, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what the tiny model sees, by the file's name."""
    counts: Counter[str] = Counter()
    see = tiny_vipe.see

    def counted(video: Any, **settings: Any) -> PerceptualWeights:
        counts[video.name if isinstance(video, Path) else type(video).__name__] += 1
        return see(video, **settings)

    monkeypatch.setattr(tiny_vipe, "see", counted)
    return counts


def requests(model: Any, kind: str, asked: list[tuple[Any, ...]]) -> list[Any]:
    """A document for each (visuals, question, what is wanted …), and a request about each."""
    from lmms_eval.api.instance import Instance

    model.task_dict["task"] = {"test": [visuals for visuals, *_ in asked]}
    return [
        Instance(
            request_type=kind,
            arguments=(question, wanted, lambda visuals: visuals, *more, number, "task", "test"),
            idx=0,
            metadata={"task": "task", "doc_id": number, "repeats": 1},
        )
        for number, (_, question, wanted, *more) in enumerate(asked)
    ]


def test_the_entry_point_leads_to_the_model(lmms_eval: Any) -> None:
    from lmms_eval.models.registry_v2 import ModelRegistryV2

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    (point,) = project["project"]["entry-points"]["lmms_eval.models"].items()
    module, _, name = point[1].partition(":")
    assert point[0] == "vipe"
    registry = ModelRegistryV2()
    registry.register_manifest(getattr(importlib.import_module(module), name)())
    assert registry.get_model_class("vipe").__module__ == f"{PLUGIN}.model"


@pytest.mark.parametrize("batch", [1, 4, "auto"])
def test_answers_are_those_given_alone(
    make: Maker, tiny_vipe: ViPE, data: Path, seen: Counter[str], batch: int | str
) -> None:
    rows = read_rows(data)
    short, long = {"max_new_tokens": 3, "until": None}, {"max_new_tokens": 8, "until": ["e"]}
    model = make(batch_size=batch, frames=2, merge_ratio=0)
    asked = [
        ([str(row.video)], row.question, short if row.kind == "object" else long) for row in rows
    ]
    answers = model.generate_until(requests(model, "generate_until", asked))

    assert seen == {"5.mp4": 1, "12.mp4": 1, "30.mp4": 1}
    for row, answer in zip(rows, answers, strict=True):
        weights = tiny_vipe.see(row.video, frames=2, merge_ratio=0.0)
        tokens = 3 if row.kind == "object" else 8
        alone = tiny_vipe.ask(weights, row.question, decoding=Decoding(max_new_tokens=tokens))
        assert answer == (alone if tokens == 3 else until(alone, "e"))


def test_pictures_videos_and_text_together(
    make: Maker, tiny_vipe: ViPE, data: Path, seen: Counter[str]
) -> None:
    model, few = make(batch_size=4), {"max_new_tokens": 6}
    picture = Image.fromarray(videos.picture(5))
    clip = data.parent / "5.mp4"
    shown = [[picture], None, [{"type": "video", "path": str(clip)}], [picture, picture], []]
    asked = [(visuals, "What is it?", few) for visuals in shown]
    answers = model.generate_until(requests(model, "generate_until", asked))

    frames = media.pictures([picture], frames=6, size=tiny_vipe.encoder.image_size)
    decoding = Decoding(max_new_tokens=6)
    assert answers[0] == tiny_vipe.ask(tiny_vipe.see(frames), "What is it?", decoding=decoding)
    assert answers[2] == tiny_vipe.ask(tiny_vipe.see(clip), "What is it?", decoding=decoding)
    bare = bare_answer(tiny_vipe, "What is it?", decoding)
    assert answers[1] == answers[4] == bare
    assert answers[0] != bare


def bare_answer(model: ViPE, question: str, decoding: Decoding) -> str:
    from vipe.chat import prompt_ids
    from vipe.generation import generate

    prompt = prompt_ids(model.tokenizer, question)
    return generate(model.language_model, model.tokenizer, [prompt], decoding)[0]


def test_losses_and_what_is_decoded_greedily(
    make: Maker, tiny_vipe: ViPE, data: Path, seen: Counter[str]
) -> None:
    model, clip = make(), data.parent / "12.mp4"
    weights = tiny_vipe.see(clip)
    said = tiny_vipe.ask(weights, "What is it?", decoding=Decoding(max_new_tokens=4))
    seen.clear()
    asked = [([str(clip)], "What is it?", wanted) for wanted in (" a dog", lambda _: "no")]
    asked.append(([str(clip)], "Why?", " a dog"))
    pairs = [r.text for r in model.loglikelihood(requests(model, "loglikelihood", asked))]

    assert seen == {"12.mp4": 1}
    expected = tiny_vipe.score(weights, "What is it?", ["a dog", "no"])
    expected += tiny_vipe.score(weights, "Why?", ["a dog"])
    assert [-loss for loss, _ in pairs] == pytest.approx(expected, rel=1e-5)
    assert [greedy for _, greedy in pairs] == [False] * 3
    assert said != "a dog"


def test_an_answer_that_is_decoded_greedily_is_known(
    make: Maker, data: Path, tiny_vipe: ViPE, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []

    def ask(weights: PerceptualWeights, question: str, *, decoding: Decoding) -> str:
        lengths.append(decoding.max_new_tokens)
        return "a dog"

    model = make()
    monkeypatch.setattr(tiny_vipe, "ask", ask)
    asked = [([str(data.parent / "5.mp4")], "What?", wanted) for wanted in (" a dog", "two men")]
    pairs = [r.text for r in model.loglikelihood(requests(model, "loglikelihood", asked))]
    assert [greedy for _, greedy in pairs] == [True, False]
    assert lengths == [len("two men") + 1]  # a token a letter, and the end


def test_questions_that_follow_from_answers(
    make: Maker, tiny_vipe: ViPE, data: Path, seen: Counter[str]
) -> None:
    model, few = make(), {"max_new_tokens": 4}
    clips = [[str(data.parent / name)] for name in ("5.mp4", "12.mp4")]

    def next_question(
        document: Any, *, previous_output: list[str], round_idx: int, previous_round_info: Any
    ) -> tuple[Any, ...]:
        assert previous_round_info == (None if round_idx == 1 else round_idx - 1)
        last = round_idx == 2
        question = None if last else f"{previous_output[-1]}?"
        return None if last else clips[1], question, last, previous_output, round_idx

    asked = [(clips[0], "What is it?", few, next_question)]
    found = model.generate_until_multi_round(requests(model, "generate_until_multi_round", asked))

    decoding = Decoding(max_new_tokens=4)
    one = tiny_vipe.ask(tiny_vipe.see(Path(clips[0][0])), "What is it?", decoding=decoding)
    two = tiny_vipe.ask(tiny_vipe.see(Path(clips[1][0])), f"{one}?", decoding=decoding)
    assert found == [[one, two]]


def test_a_missing_video_is_found_before_any_is_seen(
    make: Maker, data: Path, seen: Counter[str]
) -> None:
    model = make()
    asked = [([str(data.parent / name)], "What?", {}) for name in ("5.mp4", "gone.mp4")]
    with pytest.raises(VideoError, match=r"task, document 1: shows .*gone\.mp4: no such file"):
        model.generate_until(requests(model, "generate_until", asked))
    assert not seen


def test_a_damaged_video_is_named(make: Maker, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    model = make()
    asked = [([str(tmp_path / "bad.mp4")], "What?", {})]
    with pytest.raises(VideoError, match=r"task, document 0: .*bad\.mp4"):
        model.generate_until(requests(model, "generate_until", asked))


def test_lmms_eval_s_figures_are_those_of_an_evaluation(
    make: Maker, tiny_vipe: ViPE, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    # A file of captions and other rows is one task, and decoded greedily.
    answers = runner.evaluate(tiny_vipe, read_rows(data), beams=1).answers
    # Words that some answers have and some have not, so that a mistake would show.
    letter = next(c for c in "etaoinshrdlu" if 0 < sum(c in a.lower() for a in answers[:3]) < 3)
    lines = data.read_text().replace('["a", "e"]', json.dumps([letter]))
    rows = data.with_name("lettered.jsonl")
    rows.write_text(lines)
    names = write_tasks(rows, tmp_path / "tasks")
    results = simple_evaluate(
        make(batch_size=5),
        tasks=names,
        task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )

    asked: list[Row] = read_rows(rows)
    for name in names:
        chosen = name.endswith("_options")
        part = [(r, a) for r, a in zip(asked, answers, strict=True) if bool(r.options) == chosen]
        expected = summarise([row for row, _ in part], [answer for _, answer in part])
        figures = results["results"][name]
        assert figures["accuracy,none"] == expected["accuracy"]
        if not chosen:
            said = [sample["filtered_resps"][0] for sample in results["samples"][name]]
            assert said == [answer for _, answer in part]
            assert 0 < figures["accuracy_object,none"] < 1
            assert figures["cider,none"] == pytest.approx(expected["cider"])
            assert figures["rouge_l,none"] == pytest.approx(expected["rouge_l"])


def test_lmms_eval_s_own_counting_takes_the_likeliest_option(
    make: Maker, tiny_vipe: ViPE, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lmms_eval.evaluator import simple_evaluate
    from lmms_eval.tasks import TaskManager

    monkeypatch.setenv("LMMS_EVAL_DATASETS_CACHE", str(tmp_path / "cache"))
    row = next(row for row in read_rows(data) if row.options)
    likely = runner.evaluate(tiny_vipe, [row]).answers[0]
    write_tasks(data, tmp_path / "tasks", name="mine")
    file = tmp_path / "tasks/mine_options.yaml"
    lines = [line for line in file.read_text().splitlines() if "process_results" not in line]
    kept = "\n".join(lines).partition("metric_list:")[0].replace("doc_to_target", "was")
    for number, option in enumerate(row.options):
        own = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
        more = {"output_type": "multiple_choice", "doc_to_choice": "options"}
        more |= {"metric_list": [own], "doc_to_target": number}
        text = "\n".join(line for line in kept.splitlines() if not line.startswith("was:"))
        file.write_text(text + "\n" + yaml.dump(more))
        results = simple_evaluate(
            make(),
            tasks=["mine_options"],
            task_manager=TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False),
            limit=1,
            bootstrap_iters=0,
        )
        assert results["results"]["mine_options"]["acc,none"] == float(option == likely)
