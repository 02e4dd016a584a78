"""Evaluation, cost: seconds and peak memory of ViPE and its twins, side by side on this machine.

The methods take turns, so that what slows the machine for a while slows them all; medians are
reported. The twins' projectors are fresh: what is read is not understood, but costs the same.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, get_args

import torch

from vipe.chat import prompt_ids
from vipe.evaluation.operations import Method
from vipe.frames import Frames
from vipe.model import ViPE
from vipe.tokens import Reads
from vipe.twin import SoftPrompt, TokenTwin
from vipe.weights import PerceptualWeights

Seen = PerceptualWeights | SoftPrompt | None


@dataclass(frozen=True, kw_only=True)
class Times:
    """What a method takes for one video and one question, in seconds and bytes.

    Attributes:
        see: From decoded frames to what is kept of the video; of one run.
        first_token: From the question to the first token, the video being seen; a median.
        token: For each token after it; a median.
        peak_bytes: The process's (on a GPU: PyTorch's) highest memory while it saw and answered;
            None where the system does not tell.
    """

    see: float
    first_token: float
    token: float
    peak_bytes: int | None


class Stopwatch:
    """Times a model and its twins.

    Args:
        model: ViPE.
        question: What is asked.
        new_tokens: Tokens of an answer, at least 2.
        repeats: Answers of each method that the medians are of.
    """

    def __init__(
        self, model: ViPE, *, question: str, new_tokens: int = 12, repeats: int = 5
    ) -> None:
        if new_tokens < 2 or repeats < 1:
            raise ValueError("new_tokens must be at least 2, repeats at least 1")
        self.model, self.question = model, question
        self.new_tokens, self.repeats = new_tokens, repeats
        self._twins: dict[Reads, TokenTwin] = {
            reads: TokenTwin.of(model, reads) for reads in get_args(Reads)
        }

    def time(self, methods: Sequence[Method], frames: int) -> dict[Method, Times]:
        """Time some methods on a video of so many random frames."""
        video = _video(frames, self.model.encoder.image_size)
        seen: dict[Method, Seen] = {}
        seconds: dict[Method, float] = {}
        peaks: dict[Method, int | None] = {}
        for method in methods:
            with _peak_memory(self.model.language_model.device) as peak:
                start = perf_counter()
                seen[method] = self._see(method, video)
                self._synchronise()
                seconds[method] = perf_counter() - start
                self._answer(seen[method], 2)  # warms up, too
            peaks[method] = peak[0]
        first: dict[Method, list[float]] = {method: [] for method in methods}
        whole: dict[Method, list[float]] = {method: [] for method in methods}
        for _ in range(self.repeats):
            for times, tokens in ((first, 1), (whole, self.new_tokens)):
                for method in methods:
                    times[method].append(self._answer(seen[method], tokens))
        result: dict[Method, Times] = {}
        for method in methods:
            first_token = statistics.median(first[method])
            rest = statistics.median(whole[method]) - first_token
            result[method] = Times(
                see=seconds[method],
                first_token=first_token,
                token=max(0.0, rest) / (self.new_tokens - 1),
                peak_bytes=peaks[method],
            )
        return result

    def _see(self, method: Method, video: Frames) -> Seen:
        if method == "text":
            return None
        if method == "vipe":
            return self.model.see(video)
        return self._twins[method].see(video)

    def _answer(self, seen: Seen, tokens: int) -> float:
        """Seconds of an answer of just so many tokens."""
        model: Any = self.model.language_model
        start = perf_counter()
        if isinstance(seen, SoftPrompt):
            twin = self._twins["merged"]  # any twin reads what another one saw
            given = {"inputs_embeds": twin.embed(seen, self.question)[None]}
        else:
            ids = prompt_ids(self.model.tokenizer, self.question)
            given = {"input_ids": torch.tensor([ids], device=model.device)}
        mask = torch.ones(next(iter(given.values())).shape[:2], dtype=torch.long)
        attached = seen.attached_to(model) if isinstance(seen, PerceptualWeights) else nullcontext()
        with attached, torch.inference_mode():
            model.generate(
                **given,
                attention_mask=mask.to(model.device),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=self.model.tokenizer.eos_token_id,
            )
        self._synchronise()
        return perf_counter() - start

    def _synchronise(self) -> None:
        if self.model.language_model.device.type == "cuda":
            torch.cuda.synchronize()


def _video(frames: int, size: int) -> Frames:
    """Noise, the same every time: two frames a second."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    shifts = range(frames)
    return Frames(
        pixels=torch.cat([pixels.roll(3 * shift, dims=-1) for shift in shifts]),
        seconds=(torch.arange(frames) + 0.5) / 2,
        duration=frames / 2,
    )


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[list[int | None]]:
    """Yield a list whose one entry becomes the highest memory of the block, in bytes."""
    peak: list[int | None] = [None]
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield peak
        peak[0] = torch.cuda.max_memory_allocated(device)
        return
    told = sys.platform.startswith("linux") and _forget_peak()
    yield peak
    if told:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        peak[0] = int(line.split()[1]) * 1024


def _forget_peak() -> bool:
    """Give freed memory back and let the kernel count the peak anew; whether it does."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return False
    return True
