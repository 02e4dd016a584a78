"""What each command prints and writes when all is well."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import media
from vipe import Decoding, PerceptualWeights, ViPE, __version__
from vipe.chat import prompt_ids
from vipe.cli.ask import _prompt_positions
from vipe.cli.see import folder_names
from vipe.evaluation.rows import CAPTION_BEAMS, CAPTION_LENGTH_PENALTY
from vipe.progress import TrainingProgress
from vipe.training import loop
from vipe.training.recipe import Recipe
from vipe.twin import TokenTwin

QUESTION = "What is in the video?"
Command = Callable[..., Any]


def decoding(tokens: int = 64) -> Decoding:
    return Decoding(max_new_tokens=tokens)


# ask ------------------------------------------------------------------------------------------


def test_the_answer_alone_is_on_stdout(
    command: Command, model_folder: Path, saved_vipe: ViPE, clip: Path
) -> None:
    done = command("ask", clip, QUESTION, "--model", model_folder, "--max-new-tokens", 12)
    expected = saved_vipe.ask(saved_vipe.see(clip), QUESTION, decoding=decoding(12))
    assert (done.status, done.err) == (0, "")
    assert done.out == expected + "\n"


def test_json_says_what_it_took(
    command: Command, model_folder: Path, saved_vipe: ViPE, clip: Path
) -> None:
    options = ("--model", model_folder, "--max-new-tokens", 12, "--json")
    done = command("ask", clip, QUESTION, *options)
    result = json.loads(done.out)
    assert done.out.count("\n") == 1
    assert list(result) == [
        "answer", "visual_tokens_in_prompt", "prompt_tokens", "frames", "seconds",
    ]  # fmt: skip
    seconds = result["seconds"]
    assert list(seconds) == ["load", "decode", "encode", "see", "first_token", "answer"]
    assert all(value > 0 for value in seconds.values())
    assert seconds["first_token"] <= seconds["answer"]
    assert result["visual_tokens_in_prompt"] == 0
    assert result["prompt_tokens"] == len(prompt_ids(saved_vipe.tokenizer, QUESTION))
    assert result["frames"] == 6
    expected = saved_vipe.ask(saved_vipe.see(clip), QUESTION, decoding=decoding(12))
    assert result["answer"] == expected


def test_frames_and_merging_are_as_asked_for(
    command: Command, model_folder: Path, saved_vipe: ViPE, clip: Path
) -> None:
    options = ("--model", model_folder, "--json", "--frames", 3, "--merge-ratio", 0.75)
    result = json.loads(command("ask", clip, QUESTION, *options).out)
    seen = saved_vipe.see(clip, frames=3, merge_ratio=0.75)
    assert result["frames"] == 3
    assert result["answer"] == saved_vipe.ask(seen, QUESTION, decoding=decoding())


def test_what_enters_the_model_is_counted_not_supposed(saved_vipe: ViPE) -> None:
    model = saved_vipe.language_model
    with torch.no_grad(), _prompt_positions(model) as positions:
        model(inputs_embeds=torch.zeros(1, 7, 32))
        model(torch.zeros(1, 3, dtype=torch.long))
        model(input_ids=torch.zeros(1, 1, dtype=torch.long))
    assert positions == [7, 3, 1]


def test_a_terminal_gets_the_answer_as_it_comes(
    command: Command,
    model_folder: Path,
    saved_vipe: ViPE,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writes: list[str] = []
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    write = sys.stdout.write
    monkeypatch.setattr(sys.stdout, "write", lambda text: writes.append(text) or write(text))
    done = command("ask", clip, QUESTION, "--model", model_folder, "--max-new-tokens", 12)
    expected = saved_vipe.ask(saved_vipe.see(clip), QUESTION, decoding=decoding(12))
    assert done.out.strip() == expected
    assert sum(bool(text.strip()) for text in writes) > 1  # half a character waits for the rest


def test_a_folder_of_pictures_is_a_video_and_a_picture_one_too(
    command: Command, model_folder: Path, tmp_path: Path
) -> None:
    for number in range(3):
        Image.fromarray(media.picture(number)).save(tmp_path / f"{number}.png")
    for path, frames in ((tmp_path, 3), (tmp_path / "1.png", 1)):
        done = command(
            "ask", path, QUESTION, "--model", model_folder, "--json", "--max-new-tokens", 1
        )
        assert json.loads(done.out)["frames"] == frames


# see, and adapters ----------------------------------------------------------------------------


def test_an_adapter_answers_as_its_video_does(
    command: Command, model_folder: Path, saved_vipe: ViPE, clip: Path, tmp_path: Path
) -> None:
    done = command("see", clip, "-o", tmp_path / "out", "--model", model_folder)
    adapter = tmp_path / "out" / "clip"
    assert (done.status, done.out, done.err) == (0, f"{adapter}\n", "")
    assert {file.name for file in adapter.iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "vipe_state.safetensors",
    }  # fmt: skip

    done = command("ask", adapter, QUESTION, "--model", model_folder, "--json")
    result = json.loads(done.out)
    expected = saved_vipe.ask(saved_vipe.see(clip), QUESTION, decoding=decoding())
    assert result["answer"] == expected
    assert result["frames"] == 6
    assert [result["seconds"][stage] for stage in ("decode", "encode", "see")] == [0, 0, 0]


def test_videos_of_one_name_get_folders_of_their_own(
    command: Command, model_folder: Path, saved_vipe: ViPE, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    other = media.video(tmp_path / "sub" / "clip.mkv", frames=5)
    out = tmp_path / "out"
    options = ("-o", out, "--model", model_folder, "--frames", 2)
    done = command("see", clip, other, *options)
    assert done.out.splitlines() == [str(out / "clip"), str(out / "clip-2")]
    for video, name in ((clip, "clip"), (other, "clip-2")):
        seen, loaded = saved_vipe.see(video, frames=2), PerceptualWeights.load(out / name)
        assert loaded.metadata["video"] == video.name
        for target in seen.targets:
            assert torch.equal(seen.delta(target), loaded.delta(target))
    assert command("see", clip, *options).status == 0  # an adapter that is there is replaced


def test_names_never_collide(tmp_path: Path) -> None:
    (tmp_path / "pictures.d").mkdir()
    videos = ["a/dog.mp4", "b/DOG.mp4", "dog-2.mp4", "dog.mkv", "c/x.y.mp4"]
    names = folder_names([*videos, str(tmp_path / "pictures.d")])
    assert names == ["dog", "DOG-2", "dog-2-2", "dog-3", "x.y", "pictures.d"]
    live = ["-", "http://me@host/a/stdin.mkv?k=v", "rtsp://camera:554", "rtsp://camera:554/"]
    assert folder_names(live) == ["stdin", "stdin-2", "camera", "camera-2"]


# chat -----------------------------------------------------------------------------------------


def test_a_twin_answers_as_a_model_does_and_says_what_it_reads(
    command: Command, tiny_vipe: ViPE, clip: Path, rows: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "twin"
    TokenTwin.of(tiny_vipe, "merged").save_pretrained(folder)
    done = command("ask", clip, "What is it?", "--model", folder, "--json", "--max-new-tokens", 4)
    assert done.status == 0, done.err
    twin = TokenTwin.from_pretrained(folder)
    seen = twin.see(clip)
    found = json.loads(done.out)
    assert found["answer"] == twin.ask(seen, "What is it?", decoding=Decoding(max_new_tokens=4))
    assert found["visual_tokens_in_prompt"] == len(seen) > 0
    assert found["frames"] == int(seen.metadata["frames"])
    done = command("eval", rows, "--model", folder)
    assert done.status == 0, done.err
    assert json.loads(done.out.splitlines()[-1])["n"] == len(rows.read_text().splitlines())


def test_a_twin_writes_no_weights_and_reads_none(
    command: Command, tiny_vipe: ViPE, model_folder: Path, clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "twin"
    TokenTwin.of(tiny_vipe, "merged").save_pretrained(folder)
    said = f"{folder}: a model that reads tokens, not one that writes weights"
    done = command("see", clip, "-o", tmp_path / "seen", "--model", folder)
    assert (done.status, done.error) == (2, said)
    assert not (tmp_path / "seen").exists()
    command("see", clip, "-o", tmp_path / "seen", "--model", model_folder)
    (adapter,) = (tmp_path / "seen").iterdir()
    done = command("ask", adapter, "What is it?", "--model", folder)
    assert (done.status, done.error) == (2, said)


def test_a_chat_remembers(
    command: Command,
    model_folder: Path,
    saved_vipe: ViPE,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Who runs?\n\n  And then? \n"))
    done = command("chat", clip, "--model", model_folder, "--max-new-tokens", 12)
    seen = saved_vipe.see(clip)
    first = saved_vipe.ask(seen, "Who runs?", decoding=decoding(12))
    turns = [
        {"role": "user", "content": "Who runs?"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "And then?"},
    ]
    second = saved_vipe.ask(seen, turns, decoding=decoding(12))
    assert first != second
    assert (done.status, done.out, done.err) == (0, f"{first}\n{second}\n", "")


# eval -----------------------------------------------------------------------------------------


@pytest.fixture
def rows(clip: Path, tmp_path: Path) -> Path:
    shutil.copy(clip, tmp_path / "clip.mp4")
    records = [
        {"video": "clip.mp4", "question": "Is it?", "accept": ["yes"], "kind": "existence"},
        {"video": "clip.mp4", "question": "What?", "accept": ["e", "a", "o"], "kind": "object"},
        {"video": "clip.mp4", "question": "Describe.", "references": ["a dog"], "kind": "caption"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    ("chosen", "search"),
    [
        ((), {"num_beams": CAPTION_BEAMS, "length_penalty": CAPTION_LENGTH_PENALTY}),
        (("--beams", 1), {"num_beams": 1}),
        (("--beams", 2, "--length-penalty", 1.5), {"num_beams": 2, "length_penalty": 1.5}),
    ],
)
def test_eval_ends_with_one_object_and_keeps_the_answers(
    command: Command,
    model_folder: Path,
    saved_vipe: ViPE,
    rows: Path,
    tmp_path: Path,
    chosen: tuple[str | int, ...],
    search: dict[str, Any],
) -> None:
    answers = tmp_path / "answers.jsonl"
    options = ("--model", model_folder, "--frames", 2, "--merge-ratio", 0.5)
    done = command("eval", rows, *options, *chosen, "--answers", answers)
    assert (done.status, done.err) == (0, "")
    summary = json.loads(done.out.splitlines()[-1])
    assert list(summary) == ["n", "accuracy", "by_kind", "bleu1", "bleu4", "rouge_l", "cider"]
    assert summary["n"] == 3
    assert list(summary["by_kind"]) == ["existence", "object", "caption"]

    kept = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    seen = saved_vipe.see(tmp_path / "clip.mp4", frames=2, merge_ratio=0.5)
    for record in kept:
        searched = Decoding(max_new_tokens=40, **(search if "references" in record else {}))
        expected = saved_vipe.ask(seen, record["question"], decoding=searched)
        assert record["answer"] == expected
    verdicts = [record["right"] for record in kept]
    assert verdicts[2] is None
    assert summary["accuracy"] == sum(verdicts[:2]) / 2


def test_eval_by_length_sees_as_many_frames_a_second(
    command: Command, model_folder: Path, saved_vipe: ViPE, clip: Path, tmp_path: Path
) -> None:
    shutil.copy(clip, tmp_path / "clip.mp4")
    record = {"video": "clip.mp4", "question": "What?", "accept": ["e"], "kind": "needle"}
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps(record | {"frames": 20}) + "\n")
    answers = tmp_path / "answers.jsonl"
    words = ("eval", rows, "--model", model_folder)
    done = command(*words, "--rate", 10, "--answers", answers)
    summary = json.loads(done.out.splitlines()[-1])
    assert list(summary["by_length"]) == ["20"]
    seen = saved_vipe.see(clip, frames=20)
    expected = saved_vipe.ask(seen, "What?", decoding=decoding(40))
    assert json.loads(answers.read_text())["answer"] == expected
    done = command(*words, "--rate", 10, "--frames", 20)
    assert (done.status, "either --frames or --rate" in done.error) == (2, True)


def test_eval_of_a_part(command: Command, model_folder: Path, rows: Path) -> None:
    done = command("eval", rows, "--model", model_folder, "--limit", 1)
    assert json.loads(done.out)["n"] == 1


def test_compare_ends_with_one_object(command: Command, tmp_path: Path) -> None:
    files = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    for file, answers in zip(files, (["no", "a cat"], ["yes", "a cat"]), strict=True):
        records = [
            {"video": f"{i}.mp4", "question": "?", "kind": "k", "accept": ["yes"], "answer": answer}
            for i, answer in enumerate(answers)
        ]
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    done = command("compare", *files)
    assert (done.status, done.err) == (0, "")
    found = json.loads(done.out.splitlines()[-1])
    assert found["accuracy"]["difference"] == 0.5
    assert found["by_kind"]["k"] == found["accuracy"]
    assert found["cider"] is None


# train, scenes, photographs --------------------------------------------------------------------


def test_train_runs_the_recipe_and_prints_the_folder(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\nsources: [{clips: 1, source: {kind: scenes}}]\noptimizer: {steps: 9}\n"
    )

    def train(recipe: Recipe, observer: TrainingProgress) -> Path:
        assert (recipe.optimizer.steps, recipe.runs) == (3, tmp_path)
        observer.step(3, 3, {"loss": 1.0})
        observer.evaluated(3, {"scenes/loss": 1.5})
        return recipe.folder / "model"

    monkeypatch.setattr(loop, "train", train)
    done = command("train", path, "optimizer.steps=3", f"runs={tmp_path}")
    assert (done.status, done.out) == (0, f"{tmp_path}/tiny/model\n")
    assert done.err == "vipe: step 3: scenes/loss 1.500\n"


def test_scenes_of_these_seeds_are_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vipe.data import scene_files

    given: dict[str, Any] = {}

    def write_scenes(folder: Path, **settings: Any) -> Path:
        settings.pop("progress")(1, 2)
        given.update(settings)
        return folder / "scenes.jsonl"

    monkeypatch.setattr(scene_files, "write_scenes", write_scenes)
    done = command("scenes", "-o", tmp_path, "--count", 2, "--seed", 7)
    assert (done.status, done.out, done.err) == (0, f"{tmp_path}/scenes.jsonl\n", "")
    assert given == {"count": 2, "seed": 7, "photographs": None}


def test_long_scenes_are_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vipe.data import long_files

    given: dict[str, Any] = {}

    def write_long(folder: Path, **settings: Any) -> Path:
        settings.pop("progress")(1, 2)
        given.update(settings)
        return folder / "long.jsonl"

    monkeypatch.setattr(long_files, "write_long", write_long)
    done = command("scenes", "--long", "-o", tmp_path, "--count", 2, "--lengths", "8,64")
    assert (done.status, done.out, done.err) == (0, f"{tmp_path}/long.jsonl\n", "")
    kinds = ["needle", "order", "repeats", "chapters"]
    assert given == {"count": 2, "seed": 1_000_000, "lengths": [8, 64], "kinds": kinds}
    command("scenes", "--long", "-o", tmp_path, "--count", 2, "--kinds", "needle,order")
    assert given["kinds"] == ["needle", "order"]
    done = command("scenes", "--long", "-o", tmp_path, "--count", 2, "--lengths", "8,long")
    assert (done.status, "whole numbers" in done.error) == (2, True)


def test_timed_scenes_are_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vipe.data import time_files

    given: dict[str, Any] = {}

    def write_times(folder: Path, **settings: Any) -> Path:
        settings.pop("progress")(1, 2)
        given.update(settings)
        return folder / "times.jsonl"

    monkeypatch.setattr(time_files, "write_times", write_times)
    done = command("scenes", "--times", "-o", tmp_path, "--count", 2)
    assert (done.status, done.out, done.err) == (0, f"{tmp_path}/times.jsonl\n", "")
    assert given == {"count": 2, "seed": 1_000_000}
    done = command("scenes", "--times", "--long", "-o", tmp_path, "--count", 2)
    assert (done.status, "--long and --times" in done.error) == (2, True)


@pytest.mark.parametrize(
    ("said", "span"), [("from 3 to 7 seconds", [3, 7]), ("at 2:05", [125, 125]), ("a dog", None)]
)
def test_a_time_that_an_answer_states_is_a_span(
    command: Command,
    model_folder: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    span: list[float] | None,
) -> None:
    from vipe.cli import ask

    def answer(*_: Any, **__: Any) -> ask.Answer:
        return ask.Answer(text=said, text_tokens=9, positions=9, first_token=0.1, seconds=0.2)

    monkeypatch.setattr(sys.modules["vipe.cli.ask"], "answer_to", answer)
    done = command("ask", clip, "When?", "--model", model_folder, "--json")
    result = json.loads(done.out)
    assert (result["answer"], result.get("span")) == (said, span)


def test_photographs_become_files_and_rows(command: Command, tmp_path: Path) -> None:
    media.photographs(tmp_path / "few.tar", ["one", "two"])
    out = tmp_path / "out"
    done = command("photographs", tmp_path / "few.tar", "-o", out, "--limit", 1, "--questions")
    assert done.status == 0
    assert done.out.splitlines() == [str(out / "photographs.jsonl"), str(out / "questions.jsonl")]
    assert {file.name for file in out.iterdir()} == {
        "one.jpg", "photographs.jsonl", "questions.jsonl",
    }  # fmt: skip


def test_rows_become_tasks_of_lmms_eval(command: Command, tmp_path: Path) -> None:
    row = {"video": "a.mp4", "question": "What is it?", "kind": "object", "accept": ["a dog"]}
    rows = [row, row | {"options": ["a dog", "two men"]}]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command("lmms-tasks", tmp_path / "few.jsonl", "-o", tmp_path / "tasks")
    assert (done.status, done.out, done.err) == (0, "vipe_few,vipe_few_options\n", "")
    assert len(list((tmp_path / "tasks").glob("*.yaml"))) == 2
    done = command("lmms-tasks", tmp_path / "few.jsonl", "-o", tmp_path, "--name", "a-b")
    assert "a task's name" in done.error


# vipe itself ------------------------------------------------------------------------------------


def test_version_and_help(command: Command) -> None:
    assert command("--version").out == f"vipe {__version__}\n"
    for arguments in ((), ("--help",)):
        done = command(*arguments)
        assert done.status == 0
        for name in (
            "ask", "see", "chat", "train", "eval", "compare", "report", "bench", "scenes",
            "photographs", "lmms-tasks",
        ):  # fmt: skip
            assert f" {name} " in done.out


def test_the_shell_completes(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_VIPE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "vipe se")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        command()


# bench ----------------------------------------------------------------------------------------


def test_bench_counts_and_times_every_method(
    command: Command, model_folder: Path, saved_vipe: ViPE, tmp_path: Path
) -> None:
    picture = tmp_path / "cost.png"
    options = ("--model", model_folder, "--frames", "1,4", "--repeats", 1, "--question", QUESTION)
    done = command("bench", *options, "--json", "--plot", picture)
    assert (done.status, done.err) == (0, "")
    result = json.loads(done.out)
    assert [(c["frames"], c["method"]) for c in result["costs"]] == [
        (frames, method)
        for frames in (1, 4)
        for method in ("text", "vipe", "patches", "merged", "queries")
    ]
    assert all(cost["first_token_seconds"] > 0 for cost in result["costs"])
    assert all(cost["end_to_end_seconds"] > cost["see_seconds"] for cost in result["costs"])
    assert (result["device"], result["answer_tokens"]) == ("cpu", 12)
    assert {path.name for path in tmp_path.iterdir()} == {"cost.png"}
    table = command("bench", *options, "--no-times").out
    assert table.count("vipe") == 2
    assert "first token" not in table


@pytest.mark.usefixtures("tiny_shapes")
@pytest.mark.parametrize("gpu", [True, False])
def test_bench_times_random_weights_where_there_is_a_gpu(
    command: Command, monkeypatch: pytest.MonkeyPatch, gpu: bool
) -> None:
    monkeypatch.setattr("vipe.cli.bench._timed_on", lambda _: "cpu" if gpu else None)
    options = ("--shapes", "vicuna-7b", "--frames", "1,2", "--repeats", 1, "--json")
    done = command("bench", *options)
    assert done.status == 0
    costs = json.loads(done.out)["costs"]
    assert len(costs) == 10
    assert all((cost["token_seconds"] is not None) == gpu for cost in costs)
    lines = [line.removeprefix("vipe: ") for line in done.err.splitlines()]
    if gpu:
        assert [cost for line in lines if line[0] == "[" for cost in json.loads(line)] == costs
    else:
        assert lines[0] == "there is no GPU to time vicuna-7b on: operations alone"
        assert "GPU" not in command("bench", *options, "--no-times").err


def test_bench_names_what_is_wrong(command: Command, tmp_path: Path) -> None:
    assert "numbers of frames" in command("bench", "--frames", "1,x").err
    wrong = command("bench", "--plot", tmp_path / "cost.txt")
    assert wrong.status == 2
    assert wrong.error == f"{tmp_path / 'cost.txt'}: a picture ends in .png, .svg or .pdf"
    nowhere = command("bench", "--plot", tmp_path / "no" / "cost.png")
    assert nowhere.error == f"{tmp_path / 'no' / 'cost.png'}: there is no folder {tmp_path / 'no'}"
    both = command("bench", "--shapes", "vicuna-7b", "--model", tmp_path)
    assert "leave --model out" in both.error
