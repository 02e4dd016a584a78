"""How well single frames of a long video are recognised: what an answer about it can know at all.

    python benchmarks/recognition.py [--lengths 256 1024 10000] [--videos 20] [--model FOLDER]

Generated long videos of held-out seeds, each with one short event, the needle, of a group of
things of which nothing else is shown (`vipe scenes --long --kinds needle`), are seen; the language
model is not asked. Prints one JSON object: for each length, in how many videos the needle was
recognised better than all else of its group that cannot be taken for it; of the other things, the
share of those that are there, and of those that are not, that half a frame or more was said to
hold; and how far the second of the needle's first sight is from the true one, as a median.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
import torch

from vipe import ViPE
from vipe.data.long_scenes import frames_of, kind_of, sample_long
from vipe.data.long_structure import RATE, LongScene
from vipe.data.pictures import confusable, pictures
from vipe.data.scenes import Scene
from vipe.frames import Frames

FIRST_SEED = 1_000_000
TOGETHER = 32


def pieces(video: LongScene[Scene], size: int) -> Iterator[Frames]:
    """The frames of a long video, some at a time, drawn as they are asked for."""
    waiting: list[np.ndarray] = []
    for number, frame in enumerate(frames_of(video, size), start=1):
        waiting.append(frame)
        if len(waiting) < TOGETHER and number < len(video):
            continue
        first = number - len(waiting)
        yield Frames(
            pixels=torch.from_numpy(np.stack(waiting).transpose(0, 3, 1, 2).copy()),
            seconds=(torch.arange(first, number) + 0.5) / RATE,
            duration=len(video) / RATE,
        )
        waiting.clear()


def look(model: ViPE, length: int, seeds: list[int]) -> dict[str, Any]:
    """The figures of one length."""
    table = {picture.phrase: picture for picture in pictures().values()}
    best, late, there, absent = [], [], [], []
    for seed in seeds:
        video = sample_long(seed, length)
        seen = model.see(pieces(video, model.encoder.image_size), recognise=True)
        found = {sight.thing: sight for sight in model.recognised(seen, at_least=0.0)}
        needle = pictures()[video.events[0].actors[0].name]
        own = [p.phrase for p in table.values() if confusable(p, needle)]
        group = [p.phrase for p in table.values() if p.group == needle.group]
        rest = max(found[thing].share for thing in group if thing not in own)
        best.append(max(found[thing].share for thing in own if thing in found) > rest)
        before = 0
        for part in video.parts:
            if part.event is not None:
                break
            before += part.frames
        late.append(abs(found[needle.phrase].first - (before + 0.5) / RATE))
        shown = {pictures()[actor.name].phrase for p in video.parts for actor in p.scene.actors}
        for thing in table.keys() - set(group):
            (there if thing in shown else absent).append(found[thing].share >= 0.5)
        print(f"{length} frames, seed {seed}: {needle.phrase} {best[-1]}", file=sys.stderr)
    return {
        "videos": len(seeds),
        "needle best of its group": sum(best) / len(best),
        "seconds from its first frame": median(late),
        "others that are there": sum(there) / max(1, len(there)),
        "others that are not": sum(absent) / max(1, len(absent)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 1024, 10_000])
    parser.add_argument("--videos", type=int, default=20)
    parser.add_argument("--model", default=None)
    given = parser.parse_args()
    model = ViPE.from_pretrained(given.model, only_see=True)
    numbers = (n for n in range(FIRST_SEED, FIRST_SEED + 10**6) if kind_of(n) == "needle")
    seeds = [seed for seed, _ in zip(numbers, range(given.videos), strict=False)]
    print(json.dumps({str(length): look(model, length, seeds) for length in given.lengths}))


if __name__ == "__main__":
    main()
