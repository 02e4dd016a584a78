"""Does vLLM say what ViPE says? Greedy answers to 20 questions about five clips, and one made up.

    scripts/vllm_environment.sh /tmp/vllm          # or: … /tmp/vllm gpu
    /tmp/vllm/bin/python scripts/vllm_parity.py

Two servers are started, one after the other, each on this machine's loopback:

1. vLLM as it is: `vllm serve FOLDER --enable-lora …` with `VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`; the
   adapters come by `/v1/load_lora_adapter`.
2. vLLM with ViPE's plugin: the same with `VIPE_STORE` and `VIPE_VIDEOS`; the model's name is
   `vipe:PATH`, and the server looks at the videos, into a store that is empty.

Each is asked one question after the other, and then all at once, so that several videos are in one
batch. The made-up adapter has static targets (q, k and v of two layers) beside the usual ones. The
prompts' tokens are compared too. The last line of stdout is one JSON object; the exit status is 1
if any answer or prompt differs.

Servers are started by `vllm` beside this Python, on the CPU with one gigabyte for the cache
(`VLLM_CPU_KVCACHE_SPACE`, which a GPU's vLLM does not read), in float32 unless `--dtype` says.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from vipe import Decoding, PerceptualWeights, ViPE
from vipe.chat import prompt_ids
from vipe.evaluation.rows import read_rows
from vipe.seer import Seer
from vipe.serving.language_model import export_language_model
from vipe.serving.vllm import max_lora_rank
from vipe.store import Store

BASE = "base"
CLIPS, QUESTIONS, TOKENS = 5, 4, 40

Asked = tuple[str, str]
"""A clip's name and a question."""


def main() -> int:
    """Compare, print, and return the exit status."""
    options = _options()
    if options.model and Path(options.model).exists():  # the server runs in another folder
        options.model = str(Path(options.model).resolve())
    with tempfile.TemporaryDirectory() as place:
        work = Path(options.work or place).resolve()
        work.mkdir(parents=True, exist_ok=True)
        result = compare(options, work)
    print(json.dumps(result))
    return 0 if result["equal"] else 1


def compare(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return how many answers and prompts of each server are equal to ours."""
    folder, asked = clips_and_questions(options.rows, work)
    note(f"{len(asked)} questions about {len({clip for clip, _ in asked})} clips of {folder}")
    model = ViPE.from_pretrained(options.model, dtype=getattr(torch, options.dtype))
    adapters = see(model, options.model, sorted({clip for clip, _ in asked}), folder, work)
    first = asked[0][0]
    adapters["static"] = with_static_targets(model, adapters[first][0], work / "static")
    asked += [("static", question) for clip, question in asked if clip == first]
    prompts = {question: prompt_ids(model.tokenizer, question) for _, question in asked}
    decoding = Decoding(max_new_tokens=TOKENS)
    ours = {(c, q): model.ask(adapters[c][0], q, decoding=decoding) for c, q in asked}
    rank = max(max_lora_rank(weights) for weights, _ in adapters.values())
    export = work / "language-model"
    if not export.exists():
        export_language_model(model.config.language_model, export)
    del model

    result: dict[str, Any] = {
        "vllm": metadata.version("vllm"),
        "torch": torch.__version__,
        "dtype": options.dtype,
        "clips": len(adapters),
        "questions": len(asked),
        "distinct_answers": len(set(ours.values())),
    }
    differing: list[dict[str, str]] = []
    for kind in ("stock", "plugin"):
        environment = {}
        if kind == "plugin":
            environment = {
                "VIPE_STORE": str(work / f"store-{os.getpid()}"),
                "VIPE_VIDEOS": str(folder),
            }
            if options.model:
                environment["VIPE_MODEL"] = options.model
        with server(export, rank, options, environment, work / f"{kind}.log") as seconds:
            result[f"{kind}_start_seconds"] = round(seconds, 1)
            names = {clip: f"vipe:{clip}" for clip in adapters}
            for clip, (_, path) in adapters.items():
                if kind == "stock" or clip == "static":
                    names[clip] = f"{kind}-{clip}"
                    load = {"lora_name": names[clip], "lora_path": str(path)}
                    post(options.port, "/v1/load_lora_adapter", load)
            if kind == "stock":
                result["prompts_equal"] = sum(
                    tokens(options.port, question) == ids for question, ids in prompts.items()
                )
                result["prompts"] = len(prompts)
            for how, ask_all in (("one_by_one", one_by_one), ("at_once", at_once)):
                theirs, most = ask_all(options.port, names, asked)
                wrong = [a for a in asked if theirs[a] != ours[a]]
                result[f"{kind}_{how}_equal"] = len(asked) - len(wrong)
                result[f"{kind}_{how}_most_videos_in_a_batch"] = most
                note(f"{kind}, {how}: {len(asked) - len(wrong)} of {len(asked)} answers equal")
                differing += [
                    {"server": kind, "how": how, "clip": a[0], "question": a[1],
                     "ours": ours[a], "theirs": theirs[a]}
                    for a in wrong
                ]  # fmt: skip
            if kind == "plugin":
                result["unknown_video"] = refusal(options.port, "vipe:gone.mp4")
    result["differing"] = differing
    result["equal"] = not differing and result["prompts_equal"] == result["prompts"]
    return result


def one_by_one(
    port: int, names: Mapping[str, str], asked: Sequence[Asked]
) -> tuple[dict[Asked, str], int]:
    """Ask a question when the one before is answered; how many videos were in a batch is 1."""
    return {a: answer(port, names[a[0]], a[1]) for a in asked}, 1


def at_once(
    port: int, names: Mapping[str, str], asked: Sequence[Asked]
) -> tuple[dict[Asked, str], int]:
    """Ask all questions at once; return how many videos the server says were in a batch."""
    most = 0
    with ThreadPoolExecutor(len(asked)) as pool:
        given = [pool.submit(answer, port, names[clip], question) for clip, question in asked]
        while not all(future.done() for future in given):
            most = max(most, videos_running(port))
            time.sleep(0.1)
    return {a: future.result() for a, future in zip(asked, given, strict=True)}, most


def clips_and_questions(rows: Path | None, work: Path) -> tuple[Path, list[Asked]]:
    """Return a folder, and questions about the clips in it."""
    if rows is None:
        from vipe.data.scene_files import write_scenes

        rows = write_scenes(work / "scenes", count=CLIPS, seed=3_000_000)
    by_clip: dict[Path, list[str]] = {}
    for row in read_rows(rows):
        known = by_clip.setdefault(Path(row.video).resolve(), [])
        if row.question not in known:
            known.append(row.question)
    chosen = [path for path, questions in by_clip.items() if len(questions) >= QUESTIONS][:CLIPS]
    folder = Path(os.path.commonpath([path.parent for path in chosen]))
    asked = [
        (str(path.relative_to(folder)), question)
        for path in chosen
        for question in by_clip[path][:QUESTIONS]
    ]
    return folder, asked


def see(
    model: ViPE, name: str | None, clips: Sequence[str], folder: Path, work: Path
) -> dict[str, tuple[PerceptualWeights, Path]]:
    """Return what each clip became, and where that lies."""
    known = Seer.named(name)
    seer = Seer(known.name, known.config, known.digest, lambda: model)
    store, seen = Store(work / "store"), {}
    for clip in clips:
        entry = store.see(seer, folder / clip)
        seen[clip] = (entry.load(), entry.path.resolve())
    return seen


def with_static_targets(
    model: ViPE, weights: PerceptualWeights, folder: Path
) -> tuple[PerceptualWeights, Path]:
    """Return an adapter that also updates q, k and v of two layers, by a little and at random."""
    generator = torch.Generator().manual_seed(0)
    A, B = dict(weights.A), dict(weights.B)
    for layer in (0, 7):
        for kind in "qkv":
            target = f"model.layers.{layer}.self_attn.{kind}_proj"
            linear: Any = model.language_model.get_submodule(target)
            A[target] = torch.randn(weights.rank, linear.in_features, generator=generator) * 0.02
            B[target] = torch.randn(linear.out_features, weights.rank, generator=generator) * 0.02
    changed = replace(weights, A=A, B=B)
    changed.save(folder)
    return changed, folder.resolve()


@contextmanager
def server(
    folder: Path, rank: int, options: argparse.Namespace, environment: dict[str, str], log: Path
) -> Iterator[float]:
    """Start vLLM, wait until it answers, and end it; yields how many seconds that took."""
    command = [
        *options.vllm, "serve", str(folder), "--served-model-name", BASE,
        "--host", "127.0.0.1", "--port", str(options.port),
        "--dtype", options.dtype, "--max-model-len", "1024", "--generation-config", "vllm",
        "--enable-lora", "--max-lora-rank", str(rank), "--max-loras", "4",
        "--max-cpu-loras", "16", *options.more,
    ]  # fmt: skip
    always = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("VIPE_")}
    note(" ".join([*(f"{k}={v}" for k, v in {**always, **environment}.items()), *command]))
    start = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            env={**inherited, **always, **environment}, cwd=folder.parent,
        )  # fmt: skip
    try:
        while not healthy(options.port):
            if process.poll() is not None or time.monotonic() - start > options.patience:
                raise SystemExit(f"vLLM did not start:\n{log.read_text()[-3000:]}")
            time.sleep(1)
        yield time.monotonic() - start
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answer(port: int, model: str, question: str) -> str:
    """Ask over the chat endpoint, greedily."""
    got = post(port, "/v1/chat/completions", {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_completion_tokens": TOKENS,
    })  # fmt: skip
    return str(got["choices"][0]["message"]["content"] or "").strip()


def tokens(port: int, question: str) -> list[int]:
    """Return the prompt that the server makes of a question."""
    messages = [{"role": "user", "content": question}]
    return list(post(port, "/tokenize", {"model": BASE, "messages": messages})["tokens"])


def refusal(port: int, model: str) -> str:
    """Return the status and text of an error."""
    try:
        answer(port, model, "Who?")
    except urllib.error.HTTPError as error:
        return f"{error.code} {json.load(error)['error']['message']}"
    return "none"


def post(port: int, path: str, body: dict[str, Any]) -> Any:
    """Send JSON and return what comes back."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=3600) as response:
        text = response.read().decode()
    return json.loads(text) if text.startswith("{") else text


def videos_running(port: int) -> int:
    """Return how many adapters the server computes with now, by its own metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
        text = response.read().decode()
    running = re.findall(r'running_lora_adapters="([^"]*)"[^}]*} (\S+)', text)
    latest, _ = max(running, key=lambda found: float(found[1]), default=("", ""))
    return len(set(filter(None, latest.split(","))))


def healthy(port: int) -> bool:
    """Tell whether the server answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def note(text: str) -> None:
    """Say what goes on, on stderr."""
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model folder or a hub id (default: the default model)")
    parser.add_argument(
        "--rows", type=Path, help="rows as for vipe eval (default: of scenes that are drawn)"
    )
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--work", help="a folder for clips, adapters and logs, which stays")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument(
        "--patience", type=float, default=1800, help="seconds that a start may take"
    )
    beside = Path(sys.executable).with_name("vllm")
    parser.add_argument("--vllm", nargs="+", default=[str(beside)], help="the command")
    parser.add_argument("more", nargs="*", help="further arguments of vllm serve, behind --")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
