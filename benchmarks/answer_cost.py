"""What an answer costs after `see`: the bare language model, the update attached, and merged.

    python benchmarks/answer_cost.py VIDEO ["QUESTION"] [--repeats 15]

The three are timed in turns, on the same prompt and for the same number of new tokens; medians of
the seconds and of the ratios of neighbouring runs are printed as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from vipe import ViPE
from vipe.chat import prompt_ids


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("question", nargs="?", default="What animal is in the video?")
    parser.add_argument("--model", default=None)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--new-tokens", type=int, default=12)
    options = parser.parse_args()

    model = ViPE.from_pretrained(options.model)
    seen = model.see(options.video)
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

    def attached(tokens: int) -> float:
        start = time.perf_counter()
        with seen.attached_to(language_model):
            answer(tokens)
        return time.perf_counter() - start

    results: dict[str, dict[str, float]] = {}
    for name, tokens in (("first_token", 1), ("answer", options.new_tokens)):
        answer(tokens), attached(tokens)  # warm
        bare, with_update, with_merge = [], [], []
        for _ in range(options.repeats):
            bare.append(answer(tokens))
            with_update.append(attached(tokens))
            with seen.merge_into(language_model):
                with_merge.append(answer(tokens))
        results[name] = {
            "bare_seconds": statistics.median(bare),
            "attached_ratio": statistics.median(
                a / b for a, b in zip(with_update, bare, strict=True)
            ),
            "merged_ratio": statistics.median(a / b for a, b in zip(with_merge, bare, strict=True)),
        }
    print(json.dumps({"prompt_tokens": ids.shape[1], "visual_tokens": 0, **results}, indent=2))


if __name__ == "__main__":
    main()
