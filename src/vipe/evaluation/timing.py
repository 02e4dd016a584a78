"""Evaluation, cost: seconds and peak memory of ViPE and its twins, side by side on this machine.

The methods take turns, so that what slows the machine for a while slows them all; medians are
reported. The twins' projectors are fresh: what is read is not understood, but costs the same.
"""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from vipe.evaluation.operations import Method
from vipe.evaluation.peak_memory import free_memory, peak_memory
from vipe.evaluation.prompt import Prompt
from vipe.frames import Frames
from vipe.model import ViPE
from vipe.tokens import Reads
from vipe.twin import SoftPrompt, TokenTwin
from vipe.weights import PerceptualWeights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)

Seen = PerceptualWeights | SoftPrompt | None

_WARM = 16
"""Frames that a method sees before its first time is taken: a GPU loads its programs then."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """What a method takes for one video and one question, in seconds and bytes.

    Attributes:
        see: From decoded frames to what is kept of the video; of one run.
        first_token: From the prompt to the first token, the video being seen; a median.
        token: For each token after it; a median.
        end_to_end: From decoded frames to an answer's last token, `new_tokens` of them: `see`, and
            the median of whole answers.
        peak_bytes: The process's (on a GPU: PyTorch's) highest memory while it saw and answered;
            None where the system does not tell.
    """

    see: float
    first_token: float
    token: float
    end_to_end: float
    peak_bytes: int | None


@dataclass(kw_only=True)
class _Run:
    """What is known so far of a method at one length."""

    seen: Seen = None
    see: float = 0.0
    peak_bytes: int | None = None
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)


class Stopwatch:
    """Times ways to see a video, and a language model's answers after them.

    Args:
        language_model: Answers.
        prompt: What is asked.
        see: How each method sees; the bare language model, "text", does not.
        image_size: Pixels a side of the frames.
        new_tokens: Tokens of an answer, at least 2.
        repeats: Answers of each method that the medians are of.
    """

    def __init__(
        self,
        language_model: PreTrainedModel,
        prompt: Prompt,
        see: Mapping[Method, Callable[[Frames], Seen]],
        *,
        image_size: int,
        new_tokens: int = 12,
        repeats: int = 5,
    ) -> None:
        if new_tokens < 2 or repeats < 1:
            raise ValueError("new_tokens must be at least 2, repeats at least 1")
        self.language_model, self.prompt, self.image_size = language_model, prompt, image_size
        self.new_tokens, self.repeats = new_tokens, repeats
        self._ways = dict(see)
        self._warm: set[Method] = set()

    @classmethod
    def of(
        cls, model: ViPE, prompt: Prompt, *, new_tokens: int = 12, repeats: int = 5
    ) -> Stopwatch:
        """Return one of a model and its twins, which are made on its device."""
        twins: dict[Method, Callable[[Frames], Seen]] = {
            reads: TokenTwin.of(model, reads).see for reads in get_args(Reads)
        }
        return cls(
            model.language_model,
            prompt,
            {"vipe": model.see, **twins},
            image_size=model.encoder.image_size,
            new_tokens=new_tokens,
            repeats=repeats,
        )

    def time(self, methods: Sequence[Method], frames: int) -> dict[Method, Times]:
        """Time some methods on a video of so many random frames.

        A method for which the memory does not suffice is left out.
        """
        video = _video(frames, self.image_size)
        runs = {method: _Run() for method in methods}
        self._each(runs, lambda method, run: self._begin(method, run, video))
        for _ in range(self.repeats):
            self._each(runs, lambda _, run: run.first.append(self._answer(run.seen, 1)))
            self._each(
                runs, lambda _, run: run.whole.append(self._answer(run.seen, self.new_tokens))
            )
        return {method: self._times(run) for method, run in runs.items()}

    def _each(self, runs: dict[Method, _Run], take: Callable[[Method, _Run], None]) -> None:
        """Let the methods take a turn; what runs out of memory is out."""
        for method in list(runs):
            try:
                take(method, runs[method])
            except torch.OutOfMemoryError:
                del runs[method]
                _log.warning("%s is not timed: the memory does not suffice", method)
            if method not in runs:  # not before: the error holds what the method held
                free_memory(self._device)

    def _begin(self, method: Method, run: _Run, video: Frames) -> None:
        if method not in self._warm:
            self._see(method, _video(_WARM, self.image_size))
            self._warm.add(method)
        with peak_memory(self._device) as peak:
            self._synchronise()
            start = perf_counter()
            run.seen = self._see(method, video)
            self._synchronise()
            run.see = perf_counter() - start
            self._answer(run.seen, 2)  # warms up, too
        run.peak_bytes = peak[0]

    def _times(self, run: _Run) -> Times:
        first_token = statistics.median(run.first)
        whole = statistics.median(run.whole)
        return Times(
            see=run.see,
            first_token=first_token,
            token=max(0.0, whole - first_token) / (self.new_tokens - 1),
            end_to_end=run.see + whole,
            peak_bytes=run.peak_bytes,
        )

    def _see(self, method: Method, video: Frames) -> Seen:
        """See, and keep it in the language model's dtype."""
        if method == "text":
            return None
        seen = self._ways[method](video)
        dtype = self.language_model.dtype
        if isinstance(seen, SoftPrompt):
            return replace(seen, values=seen.values.to(dtype))
        return None if seen is None else seen.to(dtype=dtype)

    def _answer(self, seen: Seen, tokens: int) -> float:
        """Seconds of an answer of just so many tokens."""
        model: Any = self.language_model
        start = perf_counter()
        if isinstance(seen, SoftPrompt):
            given = {"inputs_embeds": self._around(seen)[None]}
        else:
            given = {"input_ids": torch.tensor([self.prompt.ids], device=self._device)}
        shape = next(iter(given.values())).shape[:2]
        attached = seen.attached_to(model) if isinstance(seen, PerceptualWeights) else nullcontext()
        with attached, torch.inference_mode():
            model.generate(
                **given,
                attention_mask=torch.ones(shape, dtype=torch.long, device=self._device),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=self.prompt.end,
                eos_token_id=self.prompt.end,
            )
        self._synchronise()
        return perf_counter() - start

    @torch.no_grad()
    def _around(self, seen: SoftPrompt) -> Float[Tensor, "t e"]:
        """The prompt's embeddings, with the visual tokens between."""
        embed: Any = self.language_model.get_input_embeddings()
        before, after = (
            embed(torch.tensor(ids, dtype=torch.long, device=self._device))
            for ids in self.prompt.around
        )
        return torch.cat([before, seen.values, after])

    @property
    def _device(self) -> torch.device:
        device: torch.device = self.language_model.device
        return device

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


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
