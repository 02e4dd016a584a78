"""A server under load, and what a batch of questions costs.

    python benchmarks/serve.py load [--clients 32] [--seconds 600] [--videos 16] [--model FOLDER]
    python benchmarks/serve.py batch [--videos 16] [--new-tokens 24] [--repeats 7] [--model FOLDER]

`load` starts `vipe serve` on loopback, uploads videos that it draws, and lets clients ask one
question after another (half of them streamed), each about a video picked at random; every few
seconds one more video is uploaded, so that seeing goes on beside the answers. It prints one JSON
object: requests, errors, refusals (429), seconds (50th, 95th and 99th percentile), answers and
tokens a second, and the server's memory after the first minute and at the end.

`batch` asks as many videos as one batch, and compares with the bare language model on the same
prompts in the same loop, and with asking one by one: medians of the ratios of neighbouring runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

QUESTIONS = (
    "What is in the video?",
    "Which colour is the square?",
    "Where does it move?",
    "Describe the video.",
    "Is there a dog in the video?",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["load", "batch"])
    parser.add_argument("--model", default=None)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--videos", type=int, default=16)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--upload-every", type=float, default=10, help="seconds")
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = load if options.what == "load" else batch
        print(json.dumps(run(options, Path(folder)), indent=1))


def draw(path: Path, seed: int) -> Path:
    """Render a video of 4 s: a square of one colour that crosses a field of another."""
    import av
    import numpy as np

    drawn = random.Random(seed)
    field, square = (tuple(drawn.randrange(256) for _ in range(3)) for _ in range(2))
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for i in range(40):
            pixels = np.full((240, 320, 3), field, np.uint8)
            x = round(i / 39 * 260) if seed % 2 else 260 - round(i / 39 * 260)
            pixels[90:150, x : x + 60] = square
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        out.mux(stream.encode())
    return path


# Load -------------------------------------------------------------------------------------------


def load(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    given = [] if options.model is None else ["--model", options.model]
    command = [sys.executable, "-m", "vipe", "serve", "--port", "0", "--dtype", options.dtype]
    server = subprocess.Popen(
        [*command, "--store", str(folder / "store"), *given],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"VIPE_API_KEY": "load"},
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        return asyncio.run(clients(options, folder, url)) | {"alive": server.poll() is None}
    finally:
        server.terminate()
        server.wait()


async def clients(options: argparse.Namespace, folder: Path, url: str) -> dict[str, Any]:
    import openai
    from httpx2 import Limits  # the client's own library

    client = openai.AsyncOpenAI(
        base_url=url,
        api_key="load",
        max_retries=0,
        timeout=300,
        http_client=openai.DefaultAsyncHttpxClient(limits=Limits(max_connections=None)),
    )
    model = (await client.models.list()).data[0].id
    post: Callable[..., Any] = client.post

    async def upload(seed: int) -> str:
        path = await asyncio.to_thread(draw, folder / f"{seed}.mp4", seed)
        answer = await post(
            "/videos",
            cast_to=object,
            files={"file": (path.name, path.read_bytes())},
            options={"headers": {"Content-Type": "multipart/form-data"}},
        )
        path.unlink()
        return str(answer["id"])

    keys = [await upload(seed) for seed in range(options.videos)]
    seconds: list[float] = []
    uploads: list[float] = []
    counts: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    start = time.perf_counter()
    end = start + options.seconds

    async def ask(number: int) -> None:
        drawn = random.Random(number)
        while (begun := time.perf_counter()) < end:
            asked: Any = {
                "model": model,
                "messages": [{"role": "user", "content": drawn.choice(QUESTIONS)}],
                "max_tokens": options.max_tokens,
                "extra_body": {"video": drawn.choice(keys)},
            }
            counts["requests"] += 1
            try:
                if number % 2:
                    stream = await client.chat.completions.create(
                        stream=True, stream_options={"include_usage": True}, **asked
                    )
                    async for chunk in stream:
                        usage = chunk.usage
                else:
                    usage = (await client.chat.completions.create(**asked)).usage
            except openai.RateLimitError as error:
                counts["refused"] += 1
                await asyncio.sleep(float(error.response.headers["retry-after"]))
            except Exception as error:
                errors[f"{type(error).__name__}: {error}"[:200]] += 1
                await asyncio.sleep(1)
            else:
                seconds.append(time.perf_counter() - begun)
                counts["answers"] += 1
                counts["tokens"] += usage.completion_tokens

    async def see() -> None:
        seed = 10_000
        while time.perf_counter() + options.upload_every < end:
            await asyncio.sleep(options.upload_every)
            begun = time.perf_counter()
            try:
                await upload(seed := seed + 1)
            except Exception as error:
                errors[f"upload: {type(error).__name__}: {error}"[:200]] += 1
            else:
                uploads.append(time.perf_counter() - begun)

    async def memory() -> float:
        await asyncio.sleep(min(60.0, options.seconds / 2))
        return await asyncio.to_thread(resident, url)

    early = asyncio.create_task(memory())
    await asyncio.gather(see(), *(ask(number) for number in range(options.clients)))
    took = time.perf_counter() - start
    late = await asyncio.to_thread(resident, url)
    return {
        "clients": options.clients,
        "videos": options.videos,
        "seconds": round(took, 1),
        "requests": counts["requests"],
        "answers": counts["answers"],
        "refused_429": counts["refused"],
        "errors": sum(errors.values()),
        "errors_by_text": dict(errors.most_common(5)),
        "answer_seconds": percentiles(seconds),
        "answers_per_second": round(counts["answers"] / took, 2),
        "tokens_per_second": round(counts["tokens"] / took, 1),
        "uploads": len(uploads),
        "upload_seconds": percentiles(uploads),
        "server_mb_after_first_minute": await early,
        "server_mb_at_end": late,
    }


def resident(url: str) -> float:
    """Return the server's resident memory in MB, as it says itself."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("process_resident_memory_bytes "):
                return round(float(line.split()[1]) / 2**20, 1)
    raise RuntimeError("the server does not say how much memory it has")


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    if len(values) < 2:
        return None
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"p{n}": round(cuts[n - 1], 3) for n in (50, 95, 99)}


# Batch ------------------------------------------------------------------------------------------


def batch(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    import torch

    from vipe import ViPE
    from vipe.chat import prompt_ids
    from vipe.serving.server.batch import Batch, Row

    class Bare(Batch):
        """The same loop without any weights."""

        def weights_of(self, rows: Sequence[Row]) -> AbstractContextManager[None]:
            return nullcontext()

    dtype = None if options.dtype == "float32" else getattr(torch, options.dtype)
    model = ViPE.from_pretrained(options.model, dtype=dtype)
    rows = [
        Row(
            prompt=prompt_ids(model.tokenizer, QUESTIONS[seed % len(QUESTIONS)]),
            weights=model.see(draw(folder / f"{seed}.mp4", seed)),
        )
        for seed in range(options.videos)
    ]

    def answer(loop: type[Batch], some: Sequence[Row]) -> float:
        """Let rows be answered together, all to the same length."""
        start = time.perf_counter()
        running = loop(model.language_model, 0)
        running.join(some)
        for _ in range(options.new_tokens - 1):
            running.step()
        running.keep([])
        return time.perf_counter() - start

    def one_by_one() -> float:
        return sum(answer(Batch, [row]) for row in rows)

    answer(Batch, rows), answer(Bare, rows)  # warm
    together, bare, alone = [], [], []
    for _ in range(options.repeats):
        bare.append(answer(Bare, rows))
        together.append(answer(Batch, rows))
        alone.append(one_by_one())
    return {
        "videos": len(rows),
        "new_tokens": options.new_tokens,
        "threads": torch.get_num_threads(),
        "dtype": options.dtype,
        "batch_seconds": round(statistics.median(together), 3),
        "bare_seconds": round(statistics.median(bare), 3),
        "one_by_one_seconds": round(statistics.median(alone), 3),
        "batch_to_bare": ratio(together, bare),
        "one_by_one_to_batch": ratio(alone, together),
    }


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)


if __name__ == "__main__":
    main()
