"""Training, the log: a CSV that grows with the run, and the loss curve as a picture."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path


class RunLog:
    """Rows (split, step, name, value), one value a row, in `log.csv`.

    Args:
        folder: The run's folder.
        resume_at: Steps done before; what an earlier, killed run wrote after them is dropped.
    """

    def __init__(self, folder: Path, *, resume_at: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.picture = folder / "log.csv", folder / "loss.png"
        kept = [row for row in self.rows() if int(row["step"]) <= resume_at]
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["split", "step", "name", "value"])
            writer.writeheader()
            writer.writerows(kept)
        temporary.replace(self.path)

    def rows(self) -> list[dict[str, str]]:
        """Return what is written so far."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if row["value"]]

    def write(self, split: str, step: int, values: dict[str, float]) -> None:
        """Add the values of a step."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                (split, step, name, f"{value:.6g}") for name, value in values.items()
            )

    def plot(self) -> None:
        """Draw the loss, and the held-out scores, into `loss.png`."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        curves: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
        for row in self.rows():
            curves[row["split"], row["name"]].append((int(row["step"]), float(row["value"])))
        figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5))
        for (split, name), points in sorted(curves.items()):
            is_loss = name.endswith("loss")
            if split == "held_out":
                axis = left if is_loss else right
                axis.plot(*zip(*points, strict=True), marker=".", label=f"held-out {name}")
            elif is_loss:
                left.plot(*zip(*_smooth(points), strict=True), lw=1, label=name)
        left.set(xlabel="step", ylabel="loss, training's as a running mean", ylim=(0, None))
        right.set(xlabel="step", ylabel="share of answers given word for word", ylim=(0, 1))
        for axis in (left, right):
            if axis.lines:
                axis.legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(self.picture, dpi=110)
        plt.close(figure)


def _smooth(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The mean of each point and those before it, of a fiftieth of all."""
    window = max(1, len(points) // 50)
    steps = [step for step, _ in points]
    last = [[value for _, value in points[max(0, i - window) : i + 1]] for i in range(len(points))]
    return [(step, sum(part) / len(part)) for step, part in zip(steps, last, strict=True)]
