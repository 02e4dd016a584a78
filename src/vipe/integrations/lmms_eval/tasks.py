"""Integration, lmms-eval: a JSONL file of rows → a folder for its `--include_path`.

A task of lmms-eval either has answers written or has options scored: rows with options make a
task of their own. Beside each task's YAML are its rows, all with the same keys and with whole
paths, since datasets reads them apart from the file that they came from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from vipe.errors import DataError
from vipe.evaluation.metrics import CaptionScores
from vipe.evaluation.rows import CAPTION_BEAMS, CAPTION_LENGTH_PENALTY, Row, read_rows
from vipe.integrations.lmms_eval.scoring import accuracy_of

MAX_NEW_TOKENS = 40
"""The longest answer, as of `vipe eval`."""


class _Name(str):
    """The name of something in a module beside this one, for YAML."""


class _Dumper(yaml.SafeDumper):
    """Writes names as lmms-eval looks them up."""


_Dumper.add_representer(
    _Name,
    lambda dumper, name: dumper.represent_scalar(
        "!function", f"vipe.integrations.lmms_eval.{name}"
    ),
)


def write_tasks(rows: Path, folder: Path, *, name: str | None = None) -> list[str]:
    """Write the tasks that ask the rows of a file.

    Args:
        rows: The JSONL file.
        folder: For the tasks; files of an earlier call with the same name are replaced.
        name: Of the task; "vipe_" and the file's name unless given.

    Returns:
        The tasks' names: `name`, and `name`_options for rows with options.

    Raises:
        DataError: The file is missing, or a line of it is malformed; the name is not of letters,
            digits and underscores; or the folder cannot be written.
    """
    name = name or "vipe_" + re.sub(r"\W", "_", rows.stem)
    if not re.fullmatch(r"\w+", name):
        raise DataError(f"a task's name is of letters, digits and underscores, got {name!r}")
    # A time is judged by `vipe eval` alone.
    found = [row for row in read_rows(rows) if row.accept or row.references]
    written = [row for row in found if not row.options]
    chosen = [row for row in found if row.options]
    tasks = {n: part for n, part in ((name, written), (f"{name}_options", chosen)) if part}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for task, part in tasks.items():
            data = (folder / f"{task}.jsonl").resolve()
            data.write_text("".join(map(_line, part)), encoding="utf-8")
            settings = yaml.dump(_settings(task, part, data), Dumper=_Dumper, sort_keys=False)
            (folder / f"{task}.yaml").write_text(settings, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror})") from error
    return list(tasks)


def _line(row: Row) -> str:
    document = {
        "video": str(row.video.resolve()),
        "question": row.question,
        "kind": row.kind,
        "accept": row.accept,
        "references": row.references,
        "options": row.options,
    }
    return json.dumps(document) + "\n"


def _settings(task: str, rows: Sequence[Row], data: Path) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "task": task,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"test": str(data)},
            "features": _Name("features.DOCUMENT"),
        },
        "test_split": "test",
        "doc_to_visual": _Name("scoring.visuals"),
        "doc_to_text": "question",
        "doc_to_target": _Name("scoring.target"),
        "process_results": _Name("scoring.scores"),
        "metric_list": _metrics(rows),
        "metadata": {"version": 1.0},
    }
    if rows[0].options:
        return settings | {"output_type": "multiple_choice", "doc_to_choice": "options"}
    # Without a stop of our own an empty line would be one.
    generation = {"max_new_tokens": MAX_NEW_TOKENS, "temperature": 0.0, "until": []}
    if all(row.references for row in rows):
        generation["num_beams"] = CAPTION_BEAMS
        generation["length_penalty"] = CAPTION_LENGTH_PENALTY
    return settings | {"output_type": "generate_until", "generation_kwargs": generation}


def _metrics(rows: Sequence[Row]) -> list[dict[str, Any]]:
    names: dict[str, Any] = {}
    kinds = dict.fromkeys(accuracy_of(row.kind) for row in rows if row.accept)
    if kinds:
        names |= dict.fromkeys(("accuracy", *kinds), "mean")
    if any(row.references for row in rows):
        figures = CaptionScores.__annotations__
        names |= {figure: _Name(f"scoring.{figure}") for figure in figures}
    return [
        {"metric": metric, "aggregation": aggregation, "higher_is_better": True}
        for metric, aggregation in names.items()
    ]
