"""Stage 6 of the flow, PerceptualWeights: one update of segments, or videos, that were seen apart.

Two ways. B is linear in what a video decides, so any adapters of one model have a mean; but a
segment's B says "first" and "whole" of its own time, and a mean of them says so still. What
adapters keep besides, the few visual tokens that B was made from, can be put at its second of the
common time line and merged up the tree, as the clips of one long video are (`vipe.merging`): the
update that is then written is the very one of the whole, of the same rank and from as few tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from vipe import combining
from vipe.errors import AdapterError
from vipe.merging import HierarchicalMerge, MergeConfig
from vipe.visual_tokens import VisualTokens

if TYPE_CHECKING:
    from vipe.weights import PerceptualWeights, Writer

_ALIKE = 0.01
"""Rates that differ by less than this share are one: frames are not at exact times."""


def compose(
    parts: Sequence[PerceptualWeights],
    *,
    at: Sequence[float | int] | None = None,
    writer: Writer | None = None,
) -> PerceptualWeights:
    """Return one update for several; see `PerceptualWeights.compose`.

    Args:
        parts: Of one video each.
        at: When each begins, in seconds.
        writer: Writes the parts anew; the one that wrote them unless given.
    """
    singles = [part[0] if part.is_batched and len(part) == 1 else part for part in parts]
    if not singles:
        raise ValueError("there is nothing to compose")
    if any(len(part) != 1 for part in singles):
        raise ValueError("a batch of videos is no part: give its videos one by one")
    combining.check_one_model(singles)
    if at is not None and len(at) != len(singles):
        raise ValueError(f"{len(singles)} parts but {len(at)} times")
    if at is not None and not all(0 <= second < math.inf for second in at):
        raise ValueError(f"parts begin at 0 seconds or later, got {list(at)}")
    if len(singles) == 1 and (at is None or at[0] == 0):
        return singles[0]
    notes = _notes(singles, at)
    if at is None:
        lengths = [length_of(part) for part in singles]
        mean = combining.mix(combining.batch(singles), torch.tensor([shares_of(lengths)]))
        return replace(mean[0], metadata=notes)
    writer = writer or next((part.writer for part in singles if part.writer is not None), None)
    for number, part in enumerate(singles, start=1):
        if not part.tokens:
            name = part.metadata.get("video", f"part {number}")
            raise AdapterError(f"{name}: keeps no visual tokens, so it cannot be put at a time")
    if writer is None:
        raise AdapterError(
            "loaded adapters are put at their times by the model that wrote them: ViPE.compose"
        )
    tokens = writer.place([part.tokens[0] for part in singles], at)
    return replace(writer.write(tokens), metadata=notes)


def shares_of(lengths: Sequence[float | None]) -> list[float]:
    """Return how much of the time each part is; where one's length is not known, equal shares."""
    known = [length for length in lengths if length]
    if len(known) < len(lengths):
        return [1 / len(lengths)] * len(lengths)
    return [length / sum(known) for length in known]


def length_of(part: PerceptualWeights) -> float | None:
    """Return the seconds of a video, if its tokens or notes say them."""
    if part.tokens:
        return float(part.tokens[0].duration)
    try:
        return float(part.metadata["seconds"])
    except (KeyError, ValueError):
        return None


def place(
    parts: Sequence[VisualTokens], at: Sequence[float | int], config: MergeConfig
) -> VisualTokens:
    """Put the tokens of parts on one time line, and merge them up the tree.

    A part counts by its duration, as if all had been sampled at one rate: its sizes are scaled, and
    still sum with the others' to all patches.

    Args:
        parts: Of one video each, without padding; their times are their own.
        at: When each begins, in seconds. Parts may overlap, and leave gaps.
        config: How tokens merge.

    Returns:
        Tokens of one video, as long as until the last part ends.
    """
    order = sorted(range(len(parts)), key=at.__getitem__)
    end = torch.stack([parts[i].duration + at[i] for i in order]).amax(dim=0)
    merge = HierarchicalMerge(config)
    factors = _factors(parts)
    for i in order:
        later = parts[i].centre.new_tensor([at[i], 0.0, 0.0])
        size = parts[i].size if factors[i] == 1 else parts[i].size * factors[i]
        recognised = parts[i].recognised
        if recognised is not None:
            recognised = recognised.later(at[i])
        centre = parts[i].centre + later
        placed = replace(parts[i], size=size, centre=centre, duration=end, recognised=recognised)
        merge.add(placed)
    return merge.result()


def _factors(parts: Sequence[VisualTokens]) -> list[float]:
    """By what the sizes of each part are scaled; exactly 1 where all are sampled at one rate."""
    counts = [float(part.size.sum()) for part in parts]
    lengths = [float(part.duration) for part in parts]
    if min(lengths) <= 0:  # a picture has none
        return [1.0] * len(parts)
    rate = sum(counts) / sum(lengths)
    factors = [rate * length / count for count, length in zip(counts, lengths, strict=True)]
    return [1.0 if abs(factor - 1) < _ALIKE else factor for factor in factors]


def _notes(parts: Sequence[PerceptualWeights], at: Sequence[float | int] | None) -> dict[str, str]:
    """What all agree on, with the videos by name, the frames in all, and the time line."""
    notes = dict(set.intersection(*(set(part.metadata.items()) for part in parts)))
    videos = [part.metadata["video"] for part in parts if "video" in part.metadata]
    if videos:
        notes["video"] = "; ".join(dict.fromkeys(videos))
    frames = [part.metadata.get("frames", "") for part in parts]
    if all(map(str.isdecimal, frames)):
        notes["frames"] = str(sum(map(int, frames)))
    lengths = [length_of(part) for part in parts]
    known = [length for length in lengths if length is not None]
    notes.pop("seconds", None)
    if len(known) == len(parts):
        ends = (
            [start + length for start, length in zip(at, known, strict=True)]
            if at
            else [sum(known)]
        )
        notes["seconds"] = f"{max(ends):.3f}"
    if at is not None:
        notes["at"] = " ".join(f"{second:g}" for second in at)
    return notes | {"parts": str(len(parts))}
