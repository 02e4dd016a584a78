"""What a matrix product costs in each precision on this machine (decision 0002).

    OMP_NUM_THREADS=2 python benchmarks/matrix_products.py

Prints the best of twenty runs, in TFLOP/s (int8: TOP/s), for the shapes of SmolLM2-135M's layers.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.nn import functional as F

SHAPES = ((4096, 576, 1536), (4096, 1536, 576), (4096, 576, 576))


def best(run: Callable[[], object], repeats: int = 20) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    for tokens, inputs, outputs in SHAPES:
        x, weight = torch.randn(tokens, inputs), torch.randn(outputs, inputs)
        runs: dict[str, Callable[[], object]] = {}
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            a, b = x.to(dtype), weight.to(dtype)
            runs[str(dtype).removeprefix("torch.")] = lambda a=a, b=b: F.linear(a, b)
        a8, b8 = x.mul(40).clamp(-127, 127).char(), weight.mul(40).clamp(-127, 127).char()
        runs["int8"] = lambda a=a8, b=b8: torch._int_mm(a, b.t())
        operations = 2 * tokens * inputs * outputs
        figures = {name: f"{operations / best(run) / 1e12:.2f}" for name, run in runs.items()}
        print(f"{tokens} × {inputs} × {outputs}:", figures)


if __name__ == "__main__":
    main()
