"""Figures for Prometheus: what a server is doing and has done."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The figures of one server; several may be in one process.

    Attributes:
        requests: By path and status.
        request_seconds: By path, to the last byte.
        first_token_seconds: From a question's submission to its first piece of text.
        prompt_tokens: Read.
        generated_tokens: Written.
        batch_rows: Questions answered together, at each step.
        videos: "seen", "known" already, or "refused".
        seeing_seconds: To decode and look at a video.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "vipe_requests", "Requests answered.", ["path", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "vipe_request_seconds", "To the last byte.", ["path"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.first_token_seconds = Histogram(
            "vipe_first_token_seconds", "To an answer's first text.", buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self.prompt_tokens = Counter("vipe_prompt_tokens", "Tokens of prompts.", registry=registry)
        self.generated_tokens = Counter(
            "vipe_generated_tokens", "Tokens of answers.", registry=registry
        )
        self.batch_rows = Histogram(
            "vipe_batch_rows", "Questions answered together, at each step.",
            buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry,
        )  # fmt: skip
        self.videos = Counter(
            "vipe_videos", "Videos that came, by what became of them.", ["result"],
            registry=registry,
        )  # fmt: skip
        self.seeing_seconds = Histogram(
            "vipe_seeing_seconds", "To decode and look at a video.", buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a figure that is read when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)
