"""`vipe see … --store`, killed (SIGKILL) at random moments again and again, and then let finish.

    python benchmarks/killed_store.py [--clips 50] [--kills 10] [--seed 0]

A tiny random model sees generated clips. After each kill every adapter in the store is opened: none
may be half-written. The finished store must equal one that nobody disturbed: the same keys, and of
each the same tensors and notes but for the moment of seeing; nothing may be left over. The figures
are printed as one JSON object; the exit status is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import media  # noqa: E402
import tiny_backbones  # noqa: E402
from vipe.errors import ViPEError  # noqa: E402
from vipe.store import Store  # noqa: E402


def make_model(folder: Path) -> Path:
    """Save a tiny random model with its backbones."""
    tiny_backbones.save_language_model(folder / "language-model")
    tiny_backbones.save_encoder(folder / "encoder")
    config = tiny_backbones.config(folder / "language-model", folder / "encoder")
    tiny_backbones.model(config).save_pretrained(folder / "model")
    return folder / "model"


def make_clips(folder: Path, count: int) -> Path:
    """Render short clips, no two alike."""
    folder.mkdir()
    for number in range(count):
        media.video(folder / f"{number:03d}.mp4", frames=8 + number, rate=8)
    return folder


def see(clips: Path, store: Path, model: Path) -> subprocess.Popen[str]:
    """Start the command."""
    words = ["see", str(clips), "--store", str(store), "--model", str(model)]
    return subprocess.Popen(
        [sys.executable, "-m", "vipe", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(clips: Path, store: Path, model: Path) -> list[float]:
    """Let the command come to its end; seconds from its start to each of its lines."""
    start, moments = time.monotonic(), []
    with see(clips, store, model) as process:
        assert process.stdout is not None
        for _ in process.stdout:
            moments.append(time.monotonic() - start)
    if process.returncode:
        raise SystemExit(f"vipe see ended with {process.returncode}")
    return moments


def kill(
    clips: Path, store: Path, model: Path, *, lines: int, wait: float, start_up: float
) -> bool:
    """Kill the command so many seconds after a line of its output, or after its start.

    Args:
        clips: What it sees.
        store: Where to.
        model: By whom.
        lines: After which line; 0 for the start, and then it is `wait` in place of `start_up`.
        wait: Seconds.
        start_up: Seconds to the first line as a rule.

    Returns:
        Whether it was killed; else it had ended before.
    """
    with see(clips, store, model) as process:
        assert process.stdout is not None
        for _ in range(lines):
            process.stdout.readline()
        time.sleep(wait if lines else random.uniform(0.5, 1.0) * start_up)
        process.kill()
        process.stdout.read()
    return process.returncode == -signal.SIGKILL


def contents(store: Path) -> dict[str, Any]:
    """All that is kept of each entry but when it was seen.

    Raises:
        ViPEError: An adapter is damaged.
    """
    if not store.is_dir() or not (store / ".vipe").is_dir():
        return {}
    kept = {}
    opened = Store(store)
    for path in sorted(store.iterdir()):
        if path.name == ".vipe":
            continue
        entry = opened.get(path.name)  # an error where it is half
        weights = entry.load()
        notes = {name: note for name, note in weights.metadata.items() if name != "seen"}
        kept[entry.key] = (notes, {t: weights.delta(t).tolist() for t in weights.targets})
    return kept


def leftovers(store: Path) -> int:
    """What a killed command left of its work."""
    work = store / ".vipe" / "work"
    return len(list(work.iterdir())) if work.is_dir() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = make_model(folder)
        clips = make_clips(folder / "clips", options.clips)
        undisturbed, store = folder / "undisturbed", folder / "store"
        moments = finish(clips, undisturbed, model)
        each = (moments[-1] - moments[0]) / max(1, len(moments) - 1)
        expected = contents(undisturbed)
        killed, found, left = 0, [], []
        fault = ""
        # Kills are spread over the work, however long it takes: each lets a few clips pass.
        most = max(1, options.clips // options.kills)
        for _ in range(options.kills):
            more = random.randint(0, most)
            lines = min(len(contents(store)) + more, options.clips - 1) if more else 0
            wait = random.uniform(0, 2 * each)
            killed += kill(clips, store, model, lines=lines, wait=wait, start_up=moments[0])
            left.append(leftovers(store))
            try:
                there = contents(store)
            except ViPEError as error:
                fault = str(error)
                break
            found.append(len(there))
            if any(expected[key] != value for key, value in there.items()):
                fault = "an adapter is not what it is in the undisturbed store"
                break
        if not fault:
            finish(clips, store, model)
            equal = contents(store) == expected and not leftovers(store)
            fault = "" if equal else "the finished store is not the undisturbed one"
        result = {
            "clips": options.clips,
            "killed": killed,
            "whole_adapters_after_each_kill": found,
            "leftovers_after_each_kill": left,
            "finished_equals_undisturbed": not fault,
            "fault": fault or None,
        }
        print(json.dumps(result))
        sys.exit(bool(fault))


if __name__ == "__main__":
    main()
