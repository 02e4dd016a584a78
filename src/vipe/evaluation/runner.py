"""Evaluation, middle step: rows → the model's answers, every video seen once, questions batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vipe.errors import VideoError
from vipe.evaluation.metrics import Summary, summarise
from vipe.evaluation.rows import CAPTION_BEAMS, CAPTION_LENGTH_PENALTY, Row
from vipe.frames import Sampling
from vipe.generation import Decoding
from vipe.loading import Model

BATCH = 24
POOL = 4 * BATCH
"""Questions that wait so that alike ones are batched; what was seen of their videos is held."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The answers of an evaluation.

    Attributes:
        rows: What was asked.
        answers: The model's answer to each row.
    """

    rows: Sequence[Row]
    answers: Sequence[str]

    def summary(self) -> Summary:
        """Compute every figure; see `vipe.evaluation.metrics.summarise`."""
        return summarise(self.rows, self.answers)


def evaluate(
    model: Model,
    rows: Sequence[Row],
    *,
    frames: int | Sampling | None = None,
    merge_ratio: float | None = None,
    max_new_tokens: int = 40,
    beams: int = CAPTION_BEAMS,
    length_penalty: float = CAPTION_LENGTH_PENALTY,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Ask a model every row: captions by beam search, other answers greedily or by options.

    Each video is seen once. The questions of several videos are decoded together, each with its
    own video's weights or tokens, those of one kind next to one another since their answers are
    about as long.

    Args:
        model: The model.
        rows: What to ask.
        frames: Frames sampled evenly from each video, or another sampling; the model's number
            unless given.
        merge_ratio: Share of visual tokens merged away; the model's unless given.
        max_new_tokens: The longest answer.
        beams: Beams of the search for answers to rows with references, scored as captions; 1 for
            the likeliest token each time, which all other rows get.
        length_penalty: Of that search, see `vipe.generation.Decoding`.
        progress: Called with (done, total), of videos seen and rows answered together.

    Returns:
        The answers, in the rows' order.

    Raises:
        VideoError: A video is missing or damaged; a missing one is found before any work.
    """
    places: dict[Path, list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(row.video, []).append(place)
    for video in places:
        if not video.exists():
            raise VideoError(f"{video}: no such file or folder")

    greedy = Decoding(max_new_tokens=max_new_tokens)
    search = Decoding(max_new_tokens=max_new_tokens, num_beams=beams, length_penalty=length_penalty)
    answers: dict[int, str] = {}
    waiting: list[tuple[int, Any]] = []

    def report(seen: int) -> None:
        if progress is not None:
            progress(seen + len(answers), len(places) + len(rows))

    def answer(seen: int) -> None:
        waiting.sort(key=lambda item: (rows[item[0]].kind, len(rows[item[0]].question)))
        for decoding, alike in (
            (greedy, [item for item in waiting if not rows[item[0]].references]),
            (search, [item for item in waiting if rows[item[0]].references]),
        ):
            size = max(1, BATCH // decoding.num_beams)
            for start in range(0, len(alike), size):
                part = alike[start : start + size]
                texts = model.ask_batch(
                    [what for _, what in part],
                    [rows[place].question for place, _ in part],
                    decoding=decoding,
                )
                answers.update((place, text) for (place, _), text in zip(part, texts, strict=True))
                report(seen)
        waiting.clear()

    report(0)
    for seen, (video, asked) in enumerate(places.items(), start=1):
        what = model.see(video, frames=frames, merge_ratio=merge_ratio)
        for place in asked:
            if rows[place].options:
                answers[place] = _choice(model, what, rows[place])
            else:
                waiting.append((place, what))
        report(seen)
        if len(waiting) >= POOL:
            answer(seen)
    answer(len(places))
    return Results(rows=rows, answers=[answers[place] for place in range(len(rows))])


def _choice(model: Any, seen: Any, row: Row) -> str:
    scores = model.score(seen, row.question, row.options)
    return row.options[scores.index(max(scores))]
