"""What is known of two videos, the first and the second, that were seen apart and composed.

    python benchmarks/two_videos.py [--pairs 64] [--model FOLDER]

Pairs of generated scenes of held-out seeds, each scene seen by itself, eight frames of it. Their
updates are composed at their times (`compose(at=…)`), or by their mean (`compose`), and asked what
`vipe.data.scene_pairs` asks. Prints one JSON object: the number of questions and the accuracy of
both ways, in all and by the question's first two words.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch

from vipe import PerceptualWeights, ViPE
from vipe.data.scene_pairs import ScenePairs
from vipe.data.scene_source import SceneSource
from vipe.evaluation.metrics import is_right
from vipe.frames import Frames

FIRST_SEED = 1_000_000
FRAMES = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=None)
    parser.add_argument("--pairs", type=int, default=64)
    options = parser.parse_args()
    model = ViPE.from_pretrained(options.model, dtype=torch.bfloat16)
    scenes = SceneSource(range(FIRST_SEED, FIRST_SEED + 4 * options.pairs))
    pairs = ScenePairs(scenes, options.pairs)
    right: dict[str, dict[str, list[bool]]] = {"in time": {}, "mean": {}}
    for index in range(options.pairs):
        clip = pairs.clip(index)
        seen, at, begin = [], [], 0.0
        for shot in clip.shots:
            whole = pairs.render(shot.key)
            shown = torch.linspace(0, len(whole) - 1, min(FRAMES, len(whole))).round().long()
            length = max(whole.duration, 0.1)
            frames = Frames(
                pixels=whole.pixels[shown], seconds=whole.seconds[shown], duration=length
            )
            seen.append(model.see(frames))
            at.append(begin)
            begin += length
        asked = [question.text for question in clip.questions]
        for way, composed in (
            ("in time", PerceptualWeights.compose(seen, at=at)),
            ("mean", PerceptualWeights.compose(seen)),
        ):
            answers = model.ask_batch(composed, asked)
            for question, answer in zip(clip.questions, answers, strict=True):
                form = " ".join(question.text.split()[:2])
                found = is_right(answer, question.accept)
                right[way].setdefault(form, []).append(found)
    result: dict[str, Any] = {"pairs": options.pairs, "frames": FRAMES}
    for way, forms in right.items():
        every = [found for part in forms.values() for found in part]
        result[way] = {
            "n": len(every),
            "accuracy": sum(every) / len(every),
            "by_form": {
                form: {"n": len(part), "accuracy": sum(part) / len(part)}
                for form, part in forms.items()
            },
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
