"""Stages 1 to 3 of a video that is not over: VisualTokens of all that was seen, now and then."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, replace

import torch

from vipe.clips import Clips
from vipe.encoders import Encoder
from vipe.errors import VideoError
from vipe.frames import EveryFrame, Frames, Rate, Sampling
from vipe.frames.values import ByteStream
from vipe.merging import HierarchicalMerge, MergeConfig, Recognise, VisualTokens
from vipe.pieces import Video, one_by_one, thinned, without_length
from vipe.watching import Watch

_log = logging.getLogger(__name__)

# Times in float32 are rounded by less than this (seconds) over an hour.
_ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of a video until some second.

    Attributes:
        tokens: Of all that was seen; their duration is what the video's would be, if it ended now.
        about: What is noted of it; "until" is the second, and "cut_off" says why a video ended
            before its end.
    """

    tokens: VisualTokens
    about: dict[str, str]


def watch_stream(
    encoder: Encoder,
    video: Video | Iterable[Frames],
    sampling: int | Sampling | None,
    *,
    clip: int,
    until: float | None = None,
    spent: dict[str, float] | None = None,
) -> Watch:
    """Watch a video of which all that is left counts, or a live one, whose length nobody knows.

    Args:
        encoder: Encodes the frames.
        video: As of `pieces_of`.
        sampling: None for two frames a second of what has to be decoded, and for every one of the
            frames that are already; another one chooses of them, too, where they come in pieces.
        clip: Frames of a clip.
        until: As of `Watch`.
        spent: As of `Watch`.

    Raises:
        VideoError: The sampling of a live video needs its length.
    """
    if isinstance(video, str | os.PathLike | ByteStream):
        chosen = Rate() if sampling is None else sampling
        return Watch(encoder, video, chosen, clip=clip, until=until, spent=spent, strict=False)
    if not isinstance(video, Frames) and sampling is not None:
        video = thinned(video, without_length(sampling))
    return Watch(encoder, video, EveryFrame(), clip=clip, until=until, spent=spent)


def see_parts(
    watch: Watch, config: MergeConfig, every: float, recognise: Recognise | None = None
) -> Generator[Seen]:
    """Yield what was seen at each multiple of `every` seconds of the video, and at its end.

    What is yielded at a second is known as soon as a frame comes that is not before it: where
    frames are further apart than `every`, once for all the multiples between them. Beside the
    frames that `watch` holds, one clip's, and the tokens of two `HierarchicalMerge`s, are held.
    Frames of a clip that is not whole yet are encoded once more when it is, so that the clips are
    those of a video that is seen at once.

    A video that breaks off ends there, with a warning in the log.

    Args:
        watch: The video.
        config: How tokens merge.
        every: Seconds, above 0.
        recognise: As of `HierarchicalMerge`.

    Raises:
        VideoError: The video cannot be read and nothing was seen of it.
        ValueError: There are no frames.
    """
    merge = HierarchicalMerge(config, recognise=recognise)
    clips = Clips(config.frames_per_clip)
    seen, last, due = 0, 0.0, every
    cut: str | None = None

    def until(second: float, *, ends: bool = False) -> Seen:
        so_far, rest = merge.fork(), clips.rest()
        if rest is not None:
            so_far.push(*watch.encode(rest).as_batch())
        tokens = so_far.result()
        if not ends:
            tokens = replace(tokens, duration=torch.full_like(tokens.duration, second))
        about = watch.about | {"frames": str(seen), "until": f"{second:.3f}"}
        return Seen(tokens=tokens, about=about if cut is None else about | {"cut_off": cut})

    with closing(watch.pieces()) as pieces:
        frames = one_by_one(pieces)
        while True:
            try:
                frame = next(frames, None)
            except (VideoError, OSError) as error:
                if not seen:
                    raise
                cut = " ".join(str(error).split()) or type(error).__name__
                _log.warning("%s; what was seen until %.2f s is kept", cut, last)
                break
            if frame is None:
                break
            second = frame.seconds.item()
            passed = math.floor((second + _ROUNDING) / every) * every
            if passed >= due and seen:
                yield until(passed)
            due = passed + every
            for clip in clips.push(frame):
                features = watch.encode(clip).as_batch()
                with watch.timed("see"):
                    merge.push(*features)
            seen, last = seen + 1, second
    yield until(last if cut is not None else watch.duration, ends=cut is None)
