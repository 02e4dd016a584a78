"""What a long video costs to see against a short one: memory, time a frame, and where time goes.

    python benchmarks/long.py [--frames 1000 10000] [--repeats 2] [--folder FOLDER]

Renders generated videos of these lengths once (they stay in FOLDER, if it is given), and lets
`vipe ask VIDEO "…" --json` see every frame of each, in turns, each time in a process of its own,
whose peak memory the system tells (getrusage). "file" samples evenly, as `vipe see` does by itself;
"stream" is `--rate`, which is how live videos are seen. Medians are printed as one JSON object: of
"decode" the seconds that the encoder waited for frames (a thread decodes meanwhile), of "see" those
of merging, injection and perception. `cpu_milliseconds_a_frame` is processor time, of all threads,
without what a run of 8 frames takes: other work on the machine moves it less than the wall clock.
`decode_alone` is what decoding takes by itself. `ratio` is the longest against the shortest.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vipe.data.long_files import RATE
from vipe.data.long_scenes import frames_of, sample_long
from vipe.data.scene_files import write_frames
from vipe.frames import Uniform, iter_frames

SEED = 1_000_000


def render(folder: Path, frames: int, size: int) -> Path:
    """Render a video, if it is not there."""
    path = folder / f"long-{frames}-{size}.mp4"
    if not path.is_file():
        video = sample_long(SEED, frames, ("openmoji",))
        write_frames(frames_of(video, size), path, fps=RATE, size=size)
    return path


def see(video: Path, how: list[str], model: str | None) -> dict[str, Any]:
    """See a video in a process of its own; its figures."""
    words = ["ask", str(video), "What is in the video?", "--json", "--max-new-tokens", "1", *how]
    words += ["--model", model] if model else []
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "vipe", *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"vipe ask ended with {process.returncode}")
    wall = time.perf_counter() - start
    result = json.loads(text)
    spent = {name: result["seconds"][name] for name in ("decode", "encode", "see")}
    total = sum(spent.values())
    return {
        "frames": result["frames"],
        "peak_mb": usage.ru_maxrss / 1024,  # kilobytes on Linux
        "wall_seconds": wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "milliseconds_a_frame": 1000 * total / result["frames"],
        **{f"{name}_share": seconds / total for name, seconds in spent.items()},
    }


def decode_alone(video: Path, frames: int, size: int) -> float:
    """Milliseconds a frame that decoding takes, with nothing beside it."""
    start = time.perf_counter()
    for _ in iter_frames(video, Uniform(frames), size=size):
        pass
    return 1000 * (time.perf_counter() - start) / frames


def median(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {name: round(statistics.median(run[name] for run in runs), 4) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--ways", nargs="+", choices=["file", "stream"], default=["file", "stream"])
    parser.add_argument("--model", default=None)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    lengths = sorted(options.frames)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        videos = {length: render(folder, length, options.size) for length in lengths}
        for _ in range(2):  # the first also warms
            bare = see(videos[lengths[0]], ["--frames", "8"], options.model)["cpu_seconds"]
        result: dict[str, Any] = {}
        for way in options.ways:
            runs: dict[int, list[dict[str, Any]]] = {length: [] for length in lengths}
            for _ in range(options.repeats):
                for length, video in videos.items():
                    how = ["--frames", str(length)] if way == "file" else ["--rate", str(RATE)]
                    run = see(video, how, options.model)
                    assert run["frames"] == length
                    run["cpu_milliseconds_a_frame"] = 1000 * (run["cpu_seconds"] - bare) / length
                    runs[length].append(run)
                    print(way, length, run, file=sys.stderr, flush=True)
            medians = {str(length): median(runs[length]) for length in lengths}
            first, last = medians[str(lengths[0])], medians[str(lengths[-1])]
            compared = ("peak_mb", "milliseconds_a_frame", "cpu_milliseconds_a_frame")
            ratio = {name: round(last[name] / first[name], 4) for name in compared}
            result[way] = {**medians, "ratio": ratio}
        alone = decode_alone(videos[lengths[0]], lengths[0], options.size)
        result["decode_alone_milliseconds_a_frame"] = round(alone, 4)
        print(json.dumps({"cores": os.cpu_count(), "size": options.size, **result}, indent=2))


if __name__ == "__main__":
    main()
