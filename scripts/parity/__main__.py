"""Do all engines say the same? Greedy answers of ours, of PEFT and of vLLM to the same questions.

    python scripts/parity --engines merged peft     # where vLLM is not installed

    scripts/vllm_environment.sh /tmp/vllm           # or: … /tmp/vllm gpu
    /tmp/vllm/bin/python scripts/parity

Four questions about each of five generated clips (or of `--rows`), of as many kinds as there are,
and the first clip's four once more of an adapter that is made up: it has other static targets (q, k
and v of two layers) beside the usual ones. What `ViPE.ask` says with the weights attached is
compared, in each of `--dtypes`, with

    merged  ours, the update written into the language model's weights
    peft    PeftModel.from_pretrained(language model, the adapter's folder): nothing of ViPE's runs
    vllm    `vllm serve FOLDER --enable-lora …`; adapters come by `/v1/load_lora_adapter`
    plugin  the same with ViPE's plugin, which looks at the videos itself, into an empty store

and with the bare language model, which has seen nothing. Of all but the servers also the logits at
every token of the prompt and of our answer. Servers are asked one question after the other, and
then all at once, so that several videos are in one batch; the prompts' tokens are compared too.
They are started one after another by `vllm` beside this Python, on this machine's loopback, on the
CPU with one gigabyte for the cache (`VLLM_CPU_KVCACHE_SPACE`, which a GPU's vLLM does not read).

Where an answer differs, `behind` says by how much our logits prefer our token to theirs where the
two part. `rounding` is how far our logits in bfloat16 are from ours in float32.

stderr has the figures as a table of Markdown, the last line of stdout is one JSON object. The exit
status is 1 if an answer in float32, or a prompt, differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from comparison import Comparison
from in_process import ask_in_process
from questions import TOKENS, Adapters, Asked, clips_and_questions, see, with_static_targets
from vllm_server import Command, Server, note

from vipe import ViPE
from vipe.chat import prompt_ids
from vipe.serving.language_model import export_language_model
from vipe.serving.vllm import max_lora_rank

HERE, SERVERS = ("merged", "peft"), ("vllm", "plugin")


def main() -> int:
    """Compare, print, and return the exit status."""
    options = _options()
    servers = [name for name in SERVERS if name in options.engines]
    if servers and find_spec("vllm") is None:
        note("parity: error: vLLM is not installed: give --engines merged peft")
        return 2
    if options.model and Path(options.model).exists():  # servers run in another folder
        options.model = str(Path(options.model).resolve())
    with tempfile.TemporaryDirectory() as place:
        work = Path(options.work or place).resolve()
        work.mkdir(parents=True, exist_ok=True)
        folder, asked = clips_and_questions(options.rows, work)
        note(f"{len(asked)} questions about {len({clip for clip, _ in asked})} clips of {folder}")
        packages = ("torch", "transformers", "peft", *(["vllm"] if servers else []))
        result: dict[str, Any] = {
            "date": date.today().isoformat(),
            "command": shlex.join(["scripts/parity", *sys.argv[1:]]),
            **{name: metadata.version(name) for name in packages},
        }
        exact: dict[Asked, torch.Tensor] = {}
        for dtype in sorted(options.dtypes, reverse=True):  # float32 first
            comparison, result[dtype] = compare(options, dtype, servers, folder, asked, work, exact)
            if dtype == "float32":
                exact = comparison.scores
    note(table(result, options.dtypes))
    print(json.dumps(result))
    parted = any(result[dtype]["prompts_differing"] for dtype in options.dtypes)
    return int(parted or bool(result.get("float32", {}).get("differing")))


def compare(
    options: argparse.Namespace,
    dtype: str,
    servers: Sequence[str],
    folder: Path,
    asked: list[Asked],
    work: Path,
    exact: Mapping[Asked, torch.Tensor],
) -> tuple[Comparison, dict[str, Any]]:
    """Compare all engines in one dtype; return the figures too."""
    model = ViPE.from_pretrained(options.model, dtype=getattr(torch, dtype))
    adapters = see(model, options.model, sorted({clip for clip, _ in asked}), folder, work)
    first = asked[0][0]
    adapters["static"] = with_static_targets(model, adapters[first][0], work / "static")
    asked = [*asked, *(("static", question) for clip, question in asked if clip == first)]
    export = work / "language-model"
    if not export.exists():
        export_language_model(model.config.language_model, export)
    comparison, figures = ask_in_process(model, export, adapters, asked, options.engines, exact)
    prompts = {question: prompt_ids(model.tokenizer, question) for _, question in asked}
    del model  # servers need the memory

    command = Command(
        program=options.vllm,
        folder=export,
        rank=max(max_lora_rank(weights) for weights, _ in adapters.values()),
        dtype=dtype,
        port=options.port,
        patience=options.patience,
        more=options.more,
    )
    figures |= {"prompts": len(prompts), "prompts_differing": []}
    for engine in servers:
        names = {clip: f"{engine}-{clip}" for clip in adapters}
        environment = {}
        if engine == "plugin":
            names |= {clip: f"vipe:{clip}" for clip in adapters if clip != "static"}
            environment = {
                "VIPE_STORE": str(work / f"store-{dtype}-{os.getpid()}"),
                "VIPE_VIDEOS": str(folder),
            }
            if options.model:
                environment["VIPE_MODEL"] = options.model
        with command.running(environment, work / f"{engine}-{dtype}.log") as server:
            ask_server(server, engine, names, adapters, asked, comparison)
            differing = [q for q, ids in prompts.items() if server.prompt(q) != ids]
            figures["prompts_differing"] += [[engine, question] for question in differing]
            if engine == "plugin":
                figures["unknown_video"] = server.refusal("vipe:gone.mp4")
    return comparison, figures | {
        "engines": comparison.engines,
        "differing": comparison.differing,
    }


def ask_server(
    server: Server,
    engine: str,
    names: Mapping[str, str],
    adapters: Adapters,
    asked: Sequence[Asked],
    comparison: Comparison,
) -> None:
    """Load the adapters that the server does not find by itself, and ask it in both ways."""
    for clip, (_, path) in adapters.items():
        if not names[clip].startswith("vipe:"):
            server.load(names[clip], path)
    for how, ask in (("one by one", server.one_by_one), ("at once", server.at_once)):
        theirs, most = ask(names, asked, TOKENS)
        comparison.add(f"{engine}, {how}", theirs, most_videos_in_a_batch=most)


def table(result: Mapping[str, Any], dtypes: Sequence[str]) -> str:
    """Return the figures as a table of Markdown."""
    head = ["", *(f"answers, {dtype}" for dtype in dtypes)]
    head += [f"logits apart, {dtype}: largest, mean; at the answer" for dtype in dtypes]
    rows = [head, ["---"] * len(head)]
    for name in result[dtypes[0]]["engines"]:
        found = [result[dtype]["engines"][name] for dtype in dtypes]
        counts = [
            f"{figures['equal']} of {result[dtype]['questions']}"
            for figures, dtype in zip(found, dtypes, strict=True)
        ]
        rows.append([name, *counts, *(_apart(figures.get("logits_apart")) for figures in found)])
    if "rounding" in result.get("bfloat16", {}):
        figures = result["bfloat16"]["rounding"]
        last = f"at the answer {figures['largest']:.2g}, {figures['mean']:.2g}"
        rows.append(["ours, float32", *([""] * (2 * len(dtypes) - 1)), last])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _apart(figures: Mapping[str, float] | None) -> str:
    if figures is None:
        return ""
    names = ("largest", "mean", "largest_at_answer", "mean_at_answer")
    largest, mean, largest_at, mean_at = (f"{figures[name]:.2g}" for name in names)
    return f"{largest}, {mean}; {largest_at}, {mean_at}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a model folder or a hub id (default: the default model)")
    parser.add_argument(
        "--rows", type=Path, help="rows as for vipe eval (default: of scenes that are drawn)"
    )
    both, all_engines = ["float32", "bfloat16"], [*HERE, *SERVERS]
    parser.add_argument("--engines", nargs="+", choices=all_engines, default=all_engines)
    parser.add_argument("--dtypes", nargs="+", choices=both, default=both)
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
