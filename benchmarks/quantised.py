"""What int8 weights of the language model change: memory, time, logits, answers.

    python benchmarks/quantised.py clips.jsonl [--model M] [--json RESULT.json]

needs the extra `quantised`. Rows are as of `vipe eval`. Every video is seen once, and each of its
questions is answered by the language model in float32 and in int8 (torchao, weights only), in
turns; the first question of all is asked once before, to warm up.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import torchao
import transformers
from torchao.quantization import Int8WeightOnlyConfig

from vipe import ViPE
from vipe.backbones import load_language_model
from vipe.chat import prompt_ids
from vipe.evaluation.metrics import is_right
from vipe.evaluation.rows import read_rows
from vipe.model_files import resolve_folder
from vipe.weights import PerceptualWeights


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("rows", type=Path)
    arguments.add_argument("--model")
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    folder = resolve_folder(given.model)
    plain = ViPE.from_pretrained(folder)
    settings = transformers.TorchAoConfig(Int8WeightOnlyConfig())
    small, _ = load_language_model(plain.config.language_model, quantization_config=settings)
    models = {
        "float32": plain,
        "int8": ViPE.from_pretrained(folder, language_model=small),
    }
    rows = [row for row in read_rows(given.rows) if row.accept]
    seen: dict[str, PerceptualWeights] = {}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    logits: dict[str, list[torch.Tensor]] = {name: [] for name in models}
    for i, row in enumerate(rows):
        video = str(row.video)
        seen[video] = seen.get(video) or plain.see(video)
        if i == 0:
            for model in models.values():
                model.ask(seen[video], row.question)
        for name, model in models.items():
            logits[name].append(first_logits(model, seen[video], row.question))
            start = perf_counter()
            answer = model.ask(seen[video], row.question)
            seconds = perf_counter() - start
            tokens = len(model.tokenizer(answer).input_ids) + 1
            right = is_right(answer, row.accept)
            found[name].append({"answer": answer, "right": right, "token": seconds / tokens})
    exact, rough = torch.stack(logits["float32"]), torch.stack(logits["int8"])
    pairs = list(zip(found["float32"], found["int8"], strict=True))
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "versions": {m.__name__: m.__version__ for m in (torch, torchao, transformers)},
        "rows": str(given.rows.name),
        "questions": len(rows),
        "megabytes": {n: round(size(m.language_model) / 1e6, 1) for n, m in models.items()},
        "right": {name: sum(one["right"] for one in each) for name, each in found.items()},
        "same_answer": sum(one["answer"] == two["answer"] for one, two in pairs),
        "logits_deviation": round(exact.std().item(), 3),
        "logits_difference": round((exact - rough).square().mean().sqrt().item(), 3),
        "same_first_token": int((exact.argmax(-1) == rough.argmax(-1)).sum()),
        "milliseconds_a_token": {
            name: round(1000 * statistics.median(one["token"] for one in each), 1)
            for name, each in found.items()
        },
        "changed": [
            {"question": row.question, "float32": one["answer"], "int8": two["answer"]}
            for row, (one, two) in zip(rows, pairs, strict=True)
            if one["answer"] != two["answer"]
        ],
    }
    text = json.dumps(result, indent=2)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


@torch.no_grad()
def first_logits(model: ViPE, seen: PerceptualWeights, question: str) -> torch.Tensor:
    """Logits of an answer's first token, `(vocabulary,)`."""
    ids = torch.tensor([prompt_ids(model.tokenizer, question)])
    with seen.attached_to(model.language_model):
        return model.language_model(input_ids=ids).logits[0, -1].float()


def size(model: torch.nn.Module) -> int:
    """Bytes of a model's parameters, each counted once."""
    total = 0
    for parameter in model.parameters():
        parts = getattr(parameter, "__tensor_flatten__", None)
        inner = [getattr(parameter, name) for name in parts()[0]] if parts else [parameter]
        total += sum(part.nbytes for part in inner)
    return total


if __name__ == "__main__":
    main()
