"""A vLLM server on this machine's loopback, and questions to it: an engine of the comparison."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from questions import Asked

BASE = "base"  # what the bare language model is called


@dataclass(frozen=True, kw_only=True)
class Command:
    """How a server is started.

    Attributes:
        program: `vllm`, with what comes before its own arguments.
        folder: The language model's.
        rank: `--max-lora-rank`.
        dtype: Of the language model.
        port: On loopback.
        patience: Seconds that a start may take.
        more: Further arguments of `vllm serve`.
    """

    program: Sequence[str]
    folder: Path
    rank: int
    dtype: str
    port: int
    patience: float
    more: Sequence[str] = ()

    def arguments(self) -> list[str]:
        """Return the command's words."""
        return [
            *self.program, "serve", str(self.folder), "--served-model-name", BASE,
            "--host", "127.0.0.1", "--port", str(self.port),
            "--dtype", self.dtype, "--max-model-len", "1024", "--generation-config", "vllm",
            "--enable-lora", "--max-lora-rank", str(self.rank), "--max-loras", "4",
            "--max-cpu-loras", "16", *self.more,
        ]  # fmt: skip

    @contextmanager
    def running(self, environment: Mapping[str, str], log: Path) -> Iterator[Server]:
        """Start a server, wait until it answers, and end it."""
        always = {
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
        }
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("VIPE_")
        }
        note(" ".join([*(f"{k}={v}" for k, v in {**always, **environment}.items()),
                       *self.arguments()]))  # fmt: skip
        server = Server(self.port)
        start = time.monotonic()
        with log.open("w") as out:
            process = subprocess.Popen(
                self.arguments(), stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                env={**inherited, **always, **environment}, cwd=self.folder.parent,
            )  # fmt: skip
        try:
            while not server.healthy():
                if process.poll() is not None or time.monotonic() - start > self.patience:
                    raise SystemExit(f"vLLM did not start:\n{log.read_text()[-3000:]}")
                time.sleep(1)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    port: int

    def load(self, name: str, adapter: Path) -> None:
        """Load an adapter folder under a name."""
        self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(adapter)})

    def answer(self, model: str, question: str, tokens: int) -> str:
        """Ask over the chat endpoint, greedily."""
        got = self._post("/v1/chat/completions", {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_completion_tokens": tokens,
        })  # fmt: skip
        return str(got["choices"][0]["message"]["content"] or "").strip()

    def one_by_one(
        self, names: Mapping[str, str], asked: Sequence[Asked], tokens: int
    ) -> tuple[dict[Asked, str], int]:
        """Ask a question when the one before is answered; one video is in a batch."""
        return {a: self.answer(names[a[0]], a[1], tokens) for a in asked}, 1

    def at_once(
        self, names: Mapping[str, str], asked: Sequence[Asked], tokens: int
    ) -> tuple[dict[Asked, str], int]:
        """Ask all questions at once; return how many videos the server says were in a batch."""
        most = 0
        with ThreadPoolExecutor(len(asked)) as pool:
            given = {a: pool.submit(self.answer, names[a[0]], a[1], tokens) for a in asked}
            while not all(future.done() for future in given.values()):
                most = max(most, self._videos_running())
                time.sleep(0.1)
        return {a: future.result() for a, future in given.items()}, most

    def prompt(self, question: str) -> list[int]:
        """Return the prompt that the server makes of a question."""
        messages = [{"role": "user", "content": question}]
        return list(self._post("/tokenize", {"model": BASE, "messages": messages})["tokens"])

    def refusal(self, model: str) -> str:
        """Return the status and text of the error that asking a model brings."""
        try:
            self.answer(model, "Who?", 1)
        except urllib.error.HTTPError as error:
            return f"{error.code} {json.load(error)['error']['message']}"
        return "none"

    def healthy(self) -> bool:
        """Tell whether the server answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except OSError:
            return False

    def _videos_running(self) -> int:
        """Return how many adapters the server computes with now, by its own metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as got:
            text = got.read().decode()
        running = re.findall(r'running_lora_adapters="([^"]*)"[^}]*} (\S+)', text)
        latest, _ = max(running, key=lambda found: float(found[1]), default=("", ""))
        return len(set(filter(None, latest.split(","))))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=3600) as response:
            text = response.read().decode()
        return json.loads(text) if text.startswith("{") else text


def note(text: str) -> None:
    """Say what goes on, on stderr."""
    print(text, file=sys.stderr, flush=True)
