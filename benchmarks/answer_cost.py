"""What an answer costs after `see`: the bare language model, the update attached, and merged.

    python benchmarks/answer_cost.py VIDEO ["QUESTION"] [--repeats 15] [--long LONGER_VIDEO]

The three are timed in turns, on the same prompt and for the same number of new tokens; medians of
the seconds and of the ratios of neighbouring runs are printed as one JSON object. With `--long`
another video is seen too, at `--rate` frames a second (2, which is every frame of `vipe scenes
--long`), and answering of it, attached, is timed in the same turns: `long_ratio` is that against
VIDEO. `adapter_bytes` are those of the tensors in each video's adapter_model.safetensors.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from vipe import PerceptualWeights, ViPE
from vipe.chat import prompt_ids
from vipe.frames import Rate


def adapter_bytes(seen: PerceptualWeights) -> int:
    with tempfile.TemporaryDirectory() as folder:
        seen.save(folder)
        tensors = load_file(Path(folder) / "adapter_model.safetensors")
    return sum(tensor.nbytes for tensor in tensors.values())


def ratio(of: list[float], to: list[float]) -> float:
    """The median of neighbouring runs' ratios."""
    return statistics.median(a / b for a, b in zip(of, to, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video")
    parser.add_argument("question", nargs="?", default="What animal is in the video?")
    parser.add_argument("--model", default=None)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--new-tokens", type=int, default=12)
    parser.add_argument("--long", metavar="VIDEO", default=None)
    parser.add_argument("--rate", type=float, default=2.0)
    options = parser.parse_args()

    model = ViPE.from_pretrained(options.model)
    seen = model.see(options.video)
    long = None if options.long is None else model.see(options.long, frames=Rate(options.rate))
    language_model = model.language_model
    ids = torch.tensor([prompt_ids(model.tokenizer, options.question)])

    def answer(tokens: int) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            language_model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=model.tokenizer.eos_token_id,
            )
        return time.perf_counter() - start

    def attached(weights: PerceptualWeights, tokens: int) -> float:
        start = time.perf_counter()
        with weights.attached_to(language_model):
            answer(tokens)
        return time.perf_counter() - start

    def merged(tokens: int) -> float:
        with seen.merge_into(language_model):
            return answer(tokens)

    ways: dict[str, Callable[[int], float]] = {
        "bare": answer, "attached": lambda tokens: attached(seen, tokens), "merged": merged,
    }  # fmt: skip
    if long is not None:
        ways["long"] = lambda tokens: attached(long, tokens)
    results: dict[str, dict[str, float]] = {}
    for name, tokens in (("first_token", 1), ("answer", options.new_tokens)):
        for way in ways.values():
            way(tokens)  # warm
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.repeats):
            for way, take in ways.items():
                seconds[way].append(take(tokens))
        results[name] = {
            "bare_seconds": statistics.median(seconds["bare"]),
            "attached_ratio": ratio(seconds["attached"], seconds["bare"]),
            "merged_ratio": ratio(seconds["merged"], seconds["bare"]),
        }
        if long is not None:
            results[name]["long_ratio"] = ratio(seconds["long"], seconds["attached"])
    sizes = [adapter_bytes(one) for one in (seen, long) if one is not None]
    print(
        json.dumps(
            {
                "prompt_tokens": ids.shape[1],
                "visual_tokens": 0,
                "adapter_bytes": sizes,
                **results,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
