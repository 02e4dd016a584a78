"""Arguments and options that several commands have."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


def _below_one(value: float | None) -> float | None:
    if value is not None and not 0 <= value < 1:
        raise typer.BadParameter("it must be at least 0 and below 1")
    return value


def above_zero(value: float | None) -> float | None:
    """Refuse what is not above 0, or is no number."""
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter("it must be above 0")
    return value


Source = Annotated[
    str,
    typer.Argument(
        metavar="VIDEO_OR_ADAPTER",
        help="A video, a picture, a folder of pictures, or an adapter folder. Also live: - for "
        "stdin, an address (http, rtsp, rtmp, udp), a device (/dev/video0), a named pipe.",
        show_default=False,
    ),
]
Folder = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="A model folder or a hub id. The default model unless given.",
        show_default=False,
    ),
]
FrameCount = Annotated[
    int | None,
    typer.Option(
        "--frames",
        min=1,
        metavar="N",
        help="Frames sampled evenly from a video. The model's number unless given.",
        show_default=False,
    ),
]
MergeRatio = Annotated[
    float | None,
    typer.Option(
        callback=_below_one,
        metavar="X",
        help="Share of visual tokens merged away, 0 to below 1. The model's unless given.",
        show_default=False,
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        callback=above_zero,
        metavar="R",
        help="Frames a second, in place of --frames. 2 unless given, where a video is seen as a "
        "stream.",
        show_default=False,
    ),
]
Until = Annotated[
    float | None,
    typer.Option(
        callback=above_zero,
        metavar="SECONDS",
        help="See the video up to this second, as a stream.",
        show_default=False,
    ),
]
Follow = Annotated[
    float | None,
    typer.Option(
        callback=above_zero,
        metavar="SECONDS",
        help="The file is being written: see it as it grows, until it has not for so long.",
        show_default=False,
    ),
]
MaxNewTokens = Annotated[int, typer.Option(min=1, metavar="N", help="Longest answer, in tokens.")]
Temperature = Annotated[
    float,
    typer.Option(min=0.0, metavar="T", help="Above 0, answers are sampled; 0 takes the likeliest."),
]


class Dtype(StrEnum):
    """What a language model computes in."""

    float32 = "float32"
    bfloat16 = "bfloat16"
