"""What is asked about which clips, and the clips' adapters."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vipe import PerceptualWeights, ViPE
from vipe.evaluation.rows import read_rows
from vipe.seer import Seer
from vipe.store import Store

CLIPS, QUESTIONS, TOKENS = 5, 4, 40

Asked = tuple[str, str]
"""A video's name and a question."""

Adapters = dict[str, tuple[PerceptualWeights, Path]]
"""What each video became, and the folder where that lies."""


def clips_and_questions(rows: Path | None, work: Path) -> tuple[Path, list[Asked]]:
    """Return a folder, and questions about the clips in it, each of another kind if possible."""
    if rows is None:
        from vipe.data.scene_files import write_scenes

        rows = write_scenes(work / "scenes", count=CLIPS, seed=3_000_000)
    by_clip: dict[Path, dict[str, str]] = {}  # question → kind
    for row in read_rows(rows):
        by_clip.setdefault(Path(row.video).resolve(), {})[row.question] = row.kind
    chosen = [path for path, questions in by_clip.items() if len(questions) >= QUESTIONS][:CLIPS]
    if not chosen:
        raise SystemExit(f"parity: error: {rows}: no clip has {QUESTIONS} questions")
    folder = Path(os.path.commonpath([path.parent for path in chosen]))
    return folder, [
        (str(path.relative_to(folder)), question)
        for path in chosen
        for question in _of_many_kinds(by_clip[path])
    ]


def _of_many_kinds(questions: Mapping[str, str]) -> list[str]:
    """The first question of each kind, then the second of each, as many as are asked."""
    kinds = list(questions.values())
    turn = {q: kinds[:i].count(kind) for i, (q, kind) in enumerate(questions.items())}
    return sorted(questions, key=turn.__getitem__)[:QUESTIONS]


def see(model: ViPE, name: str | None, clips: Sequence[str], folder: Path, work: Path) -> Adapters:
    """Return what each clip became, and where that lies."""
    known = Seer.named(name)
    seer = Seer(known.name, known.config, known.digest, lambda: model)
    store, seen = Store(work / "store"), {}
    for clip in clips:
        entry = store.see(seer, folder / clip)
        seen[clip] = (entry.load(), entry.path.resolve())
    return seen


def with_static_targets(
    model: ViPE, weights: PerceptualWeights, folder: Path
) -> tuple[PerceptualWeights, Path]:
    """Return an adapter that also updates q, k and v of two layers, by a little and at random."""
    generator = torch.Generator().manual_seed(0)
    A, B = dict(weights.A), dict(weights.B)
    for layer in (0, 7):
        for kind in "qkv":
            target = f"model.layers.{layer}.self_attn.{kind}_proj"
            linear: Any = model.language_model.get_submodule(target)
            A[target] = torch.randn(weights.rank, linear.in_features, generator=generator) * 0.02
            B[target] = torch.randn(linear.out_features, weights.rank, generator=generator) * 0.02
    changed = replace(weights, A=A, B=B)
    changed.save(folder)
    return changed, folder.resolve()
