"""Evaluation data: captioned photographs written out as files and rows of questions."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vipe.data import captions as rules
from vipe.data.media import one_line
from vipe.data.photograph_tars import PhotographTars
from vipe.data.presence import Presence
from vipe.errors import DataError


def write_rows(
    tars: Sequence[Path], folder: Path, *, limit: int | None = None, questions: bool = False
) -> Path:
    """Writes photographs as files, and what is asked about them as rows for evaluation.

    `photographs.jsonl` has one row a photograph, with its captions as references;
    `questions.jsonl`, where `questions` is true, the rules' questions with the words they accept.

    Args:
        tars: The tars, in order.
        folder: Where to write; it must be empty or not exist. It appears whole or not at all.
        limit: At most so many photographs.
        questions: Whether to write `questions.jsonl` too.

    Returns:
        The path of `photographs.jsonl`.

    Raises:
        DataError: The tars cannot be read, or the folder cannot be written or holds something.
    """
    folder = Path(folder)
    photographs = PhotographTars(tars)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is there already and is not an empty folder")
    tokens = [[rules.tokenise(c) for c in found] for found in photographs.captions]
    presence = Presence(tokens) if questions else None
    rows: list[dict[str, object]] = []
    asked: list[dict[str, object]] = []
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {one_line(error)}") from error
    try:
        for i in range(len(photographs))[:limit]:
            name = f"{photographs.names[i]}.jpg"
            (partial / name).write_bytes(photographs.data(i))
            references = [rules.normalise(c) for c in photographs.captions[i]]
            rows.append(
                {
                    "video": name,
                    "question": "Describe the video.",
                    "references": references,
                    "kind": "caption",
                }
            )
            if presence is None:
                continue
            found = presence.questions([i], random.Random(name))
            found += rules.questions([rules.parse(c) for c in references])
            asked += (
                {"video": name, "question": q.text, "accept": list(q.accept), "kind": q.kind}
                for q in found
                if q.accept
            )
        _write_jsonl(partial / "photographs.jsonl", rows)
        if questions:
            _write_jsonl(partial / "questions.jsonl", asked)
        partial.chmod(0o755)
        partial.replace(folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {one_line(error)}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / "photographs.jsonl"


def _write_jsonl(path: Path, rows: Sequence[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
