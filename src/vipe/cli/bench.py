"""`vipe bench`: what an answer costs, against models that read the video as tokens."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vipe.cli import options
from vipe.errors import DataError
from vipe.progress import Bar, progress

if TYPE_CHECKING:
    from vipe.evaluation.cost import Cost

Shapes = Literal["model", "vicuna-7b"]
_PROMPT_TOKENS = 40  # of the shapes that have no tokenizer
_NEW_TOKENS: dict[Shapes, int] = {"model": 12, "vicuna-7b": 6}  # the time of such a GPU is dear


def _lengths(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise typer.BadParameter("it must be numbers of frames, as in 1,8,64")
    return found


def bench(
    model: options.Model = None,
    frames: Annotated[
        str, typer.Option(metavar="N,N,…", help="Lengths of the video, in frames.")
    ] = "1,8,16,64,256,1024",
    shapes: Annotated[
        Shapes,
        typer.Option(
            help="What to measure: the model, or one of Vicuna-7B's and CLIP-L/336's shapes, whose "
            "weights are random: operations, and times where there is a GPU.",
        ),
    ] = "model",
    times: Annotated[bool, typer.Option(help="Take times, too.")] = True,
    repeats: Annotated[int, typer.Option(min=1, help="Answers that a median is of.")] = 5,
    patience: Annotated[
        float,
        typer.Option(min=0, help="Do not time what needs more seconds to the first token."),
    ] = 120.0,
    question: Annotated[str, typer.Option(help="What is asked.")] = "What animal is in the video?",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object in place of the table.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="PICTURE", help="Draw the curves here.", show_default=False),
    ] = None,
) -> None:
    """Measure what an answer costs.

    Compares the bare language model, ViPE, and three models of the same parts that read the video
    as tokens: all patches, what is left when they are merged, and the perceptual queries.
    Operations are counted on the meta device; times are taken here, one method after another in
    turns. "End to end" is from decoded frames to the end of an answer of 12 tokens (of random
    weights: 6). What the memory does not suffice for is not timed. While random weights are timed,
    the figures of each length also go to stderr when they are known.
    """
    lengths = _lengths(frames)
    if plot is not None and plot.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise DataError(f"{plot}: a picture ends in .png, .svg or .pdf")
    if plot is not None and not plot.parent.is_dir():
        raise DataError(f"{plot}: there is no folder {plot.parent}")
    if shapes != "model" and model is not None:
        raise DataError(f"{model}: of --shapes {shapes} no model is loaded; leave --model out")
    device = _timed_on(shapes) if times else None
    with progress() as bar:
        if times and device is None:
            bar.note(f"there is no GPU to time {shapes} on: operations alone")
        bar.show("loading the model")
        costs = _measure(
            model,
            shapes,
            lengths,
            device=device,
            repeats=repeats,
            patience=patience,
            question=question,
            bar=bar,
        )
    if plot is not None:
        _draw(costs, plot)
    if as_json:
        from vipe.evaluation.cost import as_json as plain

        about = {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "shapes": shapes,
            "question": question,
            "device": _name(device),
            "answer_tokens": None if device is None else _NEW_TOKENS[shapes],
        }
        print(json.dumps({**about, "costs": plain(costs)}))
    else:
        _print_table(costs)


def _timed_on(shapes: Shapes) -> str | None:
    """Return where times are taken; None where 7B would take too long."""
    import torch

    if shapes == "model":
        return "cpu"
    return "cuda" if torch.cuda.is_available() else None


def _name(device: str | None) -> str | None:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else device


def _measure(
    model: str | None,
    shapes: Shapes,
    lengths: Sequence[int],
    *,
    device: str | None,
    repeats: int,
    patience: float,
    question: str,
    bar: Bar,
) -> list[Cost]:
    import torch

    from vipe.evaluation.cost import as_json, measure
    from vipe.evaluation.operations import Counter
    from vipe.evaluation.prompt import Prompt
    from vipe.evaluation.random_weights import random_model
    from vipe.evaluation.shapes import vicuna_7b
    from vipe.evaluation.timing import Stopwatch
    from vipe.model import ViPE

    def report(done: int, total: int) -> None:
        bar.show("measuring", done, total)

    stopwatch = None
    if shapes == "model":
        loaded = ViPE.from_pretrained(model)
        prompt = Prompt.of(loaded.tokenizer, question)
        counter = Counter(loaded.config, prompt_tokens=len(prompt.ids))
        if device is not None:
            stopwatch = Stopwatch.of(
                loaded, prompt, new_tokens=_NEW_TOKENS[shapes], repeats=repeats
            )
        return measure(counter, stopwatch, lengths, patience=patience, progress=report)

    def keep(costs: list[Cost]) -> None:
        if device is not None:  # that may be ended before it ends
            bar.note(json.dumps(as_json(costs)))

    with vicuna_7b() as config:
        counter = Counter(config, dtype=torch.bfloat16, prompt_tokens=_PROMPT_TOKENS)
        if device is not None:
            drawn = random_model(config, device=device)
            vocabulary: int = drawn.language_model.config.vocab_size
            prompt = Prompt.random(_PROMPT_TOKENS, vocabulary=vocabulary)
            stopwatch = Stopwatch.of(drawn, prompt, new_tokens=_NEW_TOKENS[shapes], repeats=repeats)
        return measure(counter, stopwatch, lengths, patience=patience, progress=report, found=keep)


def _draw(costs: Sequence[Cost], path: Path) -> None:
    """Draw the curves under a temporary name first.

    Raises:
        DataError: The picture cannot be written.
    """
    from vipe.evaluation.cost_plot import plot

    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        plot(costs, temporary)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _print_table(costs: Sequence[Cost]) -> None:
    from rich.console import Console
    from rich.table import Table

    timed = any(cost.times is not None for cost in costs)
    columns = ["frames", "method", "visual tokens", "prompt GFLOP", "token GFLOP", "see GFLOP"]
    columns += ["encode GFLOP", "KV cache MB", "seen MB"]
    columns += ["see s", "first token s", "token s", "end to end s", "peak MB"] if timed else []
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column == "method" else "right")
    for cost in costs:
        counted = cost.operations
        cells = [str(cost.frames), cost.method, str(counted.visual_tokens)]
        cells += [
            f"{operations / 1e9:,.2f}"
            for operations in (counted.prompt, counted.token, counted.see, counted.encode)
        ]
        cells += [f"{size / 1e6:,.1f}" for size in (counted.cache_bytes, counted.seen_bytes)]
        if cost.times is not None:
            cells += [f"{cost.times.see:.2f}", f"{cost.times.first_token:.3f}"]
            cells += [f"{cost.times.token:.4f}", f"{cost.times.end_to_end:.2f}"]
            peak = cost.times.peak_bytes
            cells += ["–" if peak is None else f"{peak / 1e6:,.0f}"]
        table.add_row(*cells)
    Console(width=None if os.isatty(1) else 160).print(table)
