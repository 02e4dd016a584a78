"""What is left of a video that was seen in segments: the answers, against the whole seen at once.

    python benchmarks/composition.py [--segments 2 4 8 16 32] [--rows 96] [--model FOLDER]

Generated scenes of held-out seeds, 32 frames each, half of them sequences, in which one thing comes
after another. The whole is seen at once, and then in segments of equal length, each as a video of
its own, that are composed: put at their times (`compose(at=…)`), by the mean weighted by duration
(`compose`), as a plain sum (`sum`), and as a sum that is divided by the root of the number of
segments. All ways see the same frames and answer the same rows, by the runner and the rule of `vipe
eval`. Prints one JSON object: accuracy by way and number of segments, in all and by kind.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from vipe import PerceptualWeights, ViPE
from vipe.data.scene_files import write_video
from vipe.data.scene_sampling import scene_kind
from vipe.data.scene_source import SceneSource
from vipe.evaluation.rows import Row
from vipe.evaluation.runner import evaluate
from vipe.frames import Frames, Uniform, read_frames

FIRST_SEED = 1_000_000
ROWS_OF_A_SCENE = 4
FIRST_KINDS = ("order", "presence", "name", "direction", "place", "motion", "count", "background")

Parts = Sequence[PerceptualWeights]
WAYS: dict[str, Callable[[Parts, Sequence[float]], PerceptualWeights]] = {
    "in time": lambda parts, at: PerceptualWeights.compose(parts, at=at),
    "mean": lambda parts, at: PerceptualWeights.compose(parts),
    "sum": lambda parts, at: _sum(parts),
    "sum / root n": lambda parts, at: len(parts) ** -0.5 * _sum(parts),
}


class Composed:
    """A model that sees a video in segments; the runner asks it as any other."""

    def __init__(self, model: ViPE, frames: int) -> None:
        self.model, self.frames = model, frames
        self.way, self.segments = "", 1
        self._parts: dict[tuple[Path, int], list[tuple[PerceptualWeights, float]]] = {}

    def see(self, video: Path, **_: Any) -> PerceptualWeights:
        parts, at = zip(*self._seen(video), strict=True)
        return WAYS[self.way](parts, at) if self.segments > 1 else parts[0]

    def _seen(self, video: Path) -> list[tuple[PerceptualWeights, float]]:
        """Each segment as a video of its own, and when it begins; seen once for all ways."""
        if (video, self.segments) not in self._parts:
            whole = read_frames(video, Uniform(self.frames), size=self.model.encoder.image_size)
            assert len(whole) == self.frames
            self._parts[video, self.segments] = [
                (self.model.see(part), start) for part, start in cut(whole, self.segments)
            ]
        return self._parts[video, self.segments]

    def forget(self) -> None:
        self._parts.clear()

    def ask_batch(self, *given: Any, **named: Any) -> list[str]:
        return self.model.ask_batch(*given, **named)


def cut(whole: Frames, segments: int) -> list[tuple[Frames, float]]:
    """Segments of equal length with times of their own, and when each begins."""
    each, length = len(whole) // segments, whole.duration / segments
    return [
        (
            Frames(
                pixels=whole.pixels[i * each : (i + 1) * each],
                seconds=whole.seconds[i * each : (i + 1) * each] - i * length,
                duration=length,
            ),
            i * length,
        )
        for i in range(segments)
    ]


def rows_of(folder: Path, count: int, frames: int) -> list[Row]:
    """Scenes as files, and some questions of each: half of the scenes are sequences."""
    rows: list[Row] = []
    seed, wanted = FIRST_SEED, True
    while len(rows) < count:
        seed += 1
        if (scene_kind(seed) == "sequence") != wanted or scene_kind(seed) == "still":
            continue
        source = SceneSource([seed])
        scene = source.scene(seed)
        questions = [q for q in source.clip(0).questions if q.kind in FIRST_KINDS]
        random.Random(seed).shuffle(questions)
        questions.sort(key=lambda q: FIRST_KINDS.index(q.kind) > 0)  # order first, if there is any
        video = folder / f"{seed}.mp4"
        write_video(scene, video, fps=max(10, math.ceil(1.25 * frames / scene.duration)))
        rows += [
            Row(video=video, question=q.text, kind=q.kind, accept=q.accept)
            for q in questions[:ROWS_OF_A_SCENE]
        ]
        wanted = not wanted
    return rows[:count]


def _sum(parts: Parts) -> PerceptualWeights:
    total = sum(parts)
    assert isinstance(total, PerceptualWeights)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=None)
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--segments", type=int, nargs="+", default=[2, 4, 8, 16, 32])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    options = parser.parse_args()
    if any(options.frames % segments for segments in options.segments):
        parser.error(f"--segments: {options.frames} frames do not divide into so many")

    seer = Composed(ViPE.from_pretrained(options.model, dtype=torch.bfloat16), options.frames)
    result: dict[str, dict[int, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = rows_of(Path(folder), options.rows, options.frames)

        def measure(way: str, segments: int) -> None:
            seer.way, seer.segments = way, segments
            model: Any = seer
            summary = evaluate(model, rows).summary()
            result.setdefault(way, {})[segments] = {
                "accuracy": summary["accuracy"],
                **{kind: found["accuracy"] for kind, found in summary["by_kind"].items()},
            }
            print(way, segments, result[way][segments], file=sys.stderr, flush=True)
            kinds.update({kind: found["n"] for kind, found in summary["by_kind"].items()})

        kinds: dict[str, int] = {}
        measure("whole", 1)
        for segments in options.segments:
            seer.forget()
            for way in options.ways:
                measure(way, segments)
    print(json.dumps({"rows": len(rows), "frames": options.frames, "kinds": kinds, **result}))


if __name__ == "__main__":
    main()
