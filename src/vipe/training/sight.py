"""Training, the losses of sight: what single frames and stretches of them are recognised to hold.

What names things in frames starts as what names them in a video's parts (`vipe.recollection`).
Of clips whose source knows what is seen when, it learns frame by frame, and of frames in a row, as
they are looked at together when a video is seen (`vipe.stretches`).

Dimensions: b videos, t frames of a video, w stretches, k concepts.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn import functional as F

from vipe.data.long_structure import RATE
from vipe.stretches import FRAMES
from vipe.training.batches import Batch
from vipe.training.concepts import Things
from vipe.training.segments import SeenFrames
from vipe.vision import VideoToWeights


def sight_losses(module: VideoToWeights, things: Things, batch: Batch) -> dict[str, Tensor]:
    """Return the cross-entropy with what frames hold, and with what stretches do.

    Args:
        module: Looks at them.
        things: What its concepts stand for.
        batch: Whose frames are looked at; videos of which nobody knows what is seen are left out.

    Returns:
        "frame_loss", a mean over frames, and "stretch_loss", over stretches; each if there are any.
    """
    frames = batch.frames
    if frames is None or batch.mix is not None:
        return {}
    moments = frames.seconds / batch.tokens.duration[frames.video]
    held, known = things.of_frames(batch.seen, frames.video.tolist(), moments.tolist())
    held = held.to(moments.device)
    losses: dict[str, list[Tensor]] = {"frame_loss": [], "stretch_loss": []}
    for rows in _of_like_length(frames, known.to(moments.device)):
        tokens = frames.tokens.videos(rows.flatten(), frames.tokens.count)
        # As in a long video, whatever their seconds: in training's clips frames may be far apart.
        seconds = (torch.arange(rows.shape[1], device=rows.device) + 0.5) / RATE
        looked = module.look(tokens, seconds.expand(len(rows), -1))
        losses["frame_loss"].append(_losses(looked.own, held[rows]))
        if looked.stretches is not None and looked.together is not None:
            covered = looked.stretches.covered.to(held)
            of_stretches = torch.einsum("bwt,btk->bwk", covered, held[rows]) / FRAMES
            losses["stretch_loss"].append(_losses(looked.together, of_stretches))
    return {name: torch.cat(parts).mean() for name, parts in losses.items() if parts}


def _losses(logits: Tensor, held: Tensor) -> Tensor:
    flat = held.flatten(0, -2)
    return F.cross_entropy(logits.flatten(0, -2).float(), flat.float(), reduction="none")


def _of_like_length(
    frames: SeenFrames, known: Bool[Tensor, " frames"]
) -> Iterator[Int[Tensor, "b t"]]:
    """Yield the frames of videos of like length together, each video's in order of time."""
    by_length: dict[int, list[Tensor]] = {}
    for video in frames.video[known].unique().tolist():
        rows = frames.rows_of(video)
        by_length.setdefault(len(rows), []).append(rows)
    yield from (torch.stack(some) for some in by_length.values())
