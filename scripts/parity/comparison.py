"""What we said in one dtype, what others said, and by how much that was close."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from questions import Asked
from vllm_server import note


@dataclass(kw_only=True)
class Comparison:
    """Answers in one dtype beside those of `ViPE.ask`.

    Attributes:
        tokenizer: Of the language model.
        ours: The answers of `ViPE.ask`.
        scores: Our logits before each token of the answer and its end, `(t, v)`.
        engines: The figures of each engine.
        differing: What they said otherwise.
    """

    tokenizer: Any
    ours: dict[Asked, str] = field(default_factory=dict)
    scores: dict[Asked, torch.Tensor] = field(default_factory=dict)
    engines: dict[str, dict[str, Any]] = field(default_factory=dict)
    differing: list[dict[str, Any]] = field(default_factory=list)

    def words(self, text: str) -> list[int]:
        """Return an answer's tokens with its end."""
        ids = self.tokenizer(text, add_special_tokens=False).input_ids
        return [*ids, self.tokenizer.eos_token_id]

    def add(self, engine: str, theirs: Mapping[Asked, str], **figures: Any) -> None:
        """Count an engine's equal answers, and keep the others with how close they were."""
        same = [a for a, answer in theirs.items() if answer == self.ours[a]]
        note(f"{engine}: {len(same)} of {len(theirs)} answers are ours")
        self.engines[engine] = {"equal": len(same), **figures}
        if engine == "bare":  # which has not seen the video
            return
        self.differing += [
            {"engine": engine, "video": a[0], "question": a[1], "ours": self.ours[a],
             "theirs": answer, "behind": self._behind(a, answer)}
            for a, answer in theirs.items() if answer != self.ours[a]
        ]  # fmt: skip

    def _behind(self, a: Asked, theirs: str) -> float:
        """By how much our logits prefer our token where the answers part."""
        one, two = self.words(self.ours[a]), self.words(theirs)
        place = next(i for i in range(len(one)) if one[i : i + 1] != two[i : i + 1])
        scores = self.scores[a][place]
        return float(scores[one[place]] - scores[two[place]])


def apart(a: Asked, one: torch.Tensor, two: torch.Tensor, answer: int) -> dict[str, str | float]:
    """Return how far two engines' logits `(t, v)` are apart after one prompt.

    Args:
        a: What was asked.
        one: Logits.
        two: Logits.
        answer: The place from which they decide the answer; before it stand the template and the
            question.
    """
    between = (one - two).abs()
    return {
        "video": a[0],
        "question": a[1],
        "largest": float(between.max()),
        "mean": float(between.mean()),
        "largest_at_answer": float(between[answer:].max()),
        "mean_at_answer": float(between[answer:].mean()),
    }


def over_all(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the largest of all prompts, the mean of their means, and the prompts themselves."""
    return {
        "largest": max(row["largest"] for row in rows),
        "mean": statistics.fmean(row["mean"] for row in rows),
        "largest_at_answer": max(row["largest_at_answer"] for row in rows),
        "mean_at_answer": statistics.fmean(row["mean_at_answer"] for row in rows),
        "per_prompt": list(rows),
    }
