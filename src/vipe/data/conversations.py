"""Training data as people have it: LLaVA's JSON, and rows of questions in JSONL.

LLaVA's is a list of objects (or one a line, in a file that ends in ".jsonl"), as in LLaVA-Instruct,
LLaVA-Video-178K and ShareGPT4Video: "image" or "video" with a path (a list of paths for several
pictures), and "conversations", a list of turns, {"from": "human", "value": "<image> What …?"} and
{"from": "gpt", "value": "…"}; roles and contents may be named as in OpenAI's messages. Rows are
those of `vipe eval`, whose references or accepted words are the answers. Paths are relative to the
folder of the file, or to another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vipe.data.clip import Question
from vipe.data.media import Medium
from vipe.data.records import Record, Records, conversation
from vipe.data.text import numbered_lines, read_text
from vipe.errors import DataError

_MARK = re.compile(r"\s*<(?:image|video)>\s*")
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}


def read_conversations(paths: Sequence[Path], folder: Path | None = None) -> Records:
    """Read files of conversations or rows; a broken one is named, counted and skipped.

    Args:
        paths: The files.
        folder: Where the videos and pictures lie; each file's own folder unless given.

    Raises:
        DataError: A file is missing, or is neither a list nor lines of objects.
    """
    records = Records(name=", ".join(map(str, paths)))
    for path in paths:
        for where, found in _objects(path):
            try:
                records.good.append(_record(found, where, folder or path.parent))
            except DataError as error:
                records.skip(str(error))
    return records


def questions_of(found: dict[str, Any], where: str) -> tuple[Question, ...]:
    """Return what a record's conversation asks, or its captions or its one question.

    Raises:
        DataError: There is no such thing in it, or it is malformed.
    """
    if "conversations" in found or "messages" in found:
        return conversation(_turns(found.get("conversations", found.get("messages")), where))
    for name in ("captions", "caption", "references", "answers", "answer", "accept"):
        if name in found:
            value = found[name]
            answers = [value] if isinstance(value, str) else value
            if (
                not isinstance(answers, list)
                or not answers
                or not all(isinstance(answer, str) and answer.strip() for answer in answers)
            ):
                raise DataError(f"{where}: {name!r} must be a text or a list of texts")
            asked = found.get("question", "Describe the video.")
            if not isinstance(asked, str) or not asked.strip():
                raise DataError(f"{where}: 'question' must be a text that is not empty")
            kind = found.get("kind", "question" if "question" in found else "caption")
            return (Question(text=asked.strip(), answers=tuple(answers), kind=str(kind)),)
    raise DataError(f"{where}: has no 'conversations', no captions and no answer")


def _record(found: Any, where: str, folder: Path) -> Record:
    if not isinstance(found, dict):
        raise DataError(f"{where}: not a JSON object")
    shown = found.get("video", found.get("image"))
    paths = [shown] if isinstance(shown, str) else shown
    if not isinstance(paths, list) or not paths or not all(isinstance(p, str) and p for p in paths):
        raise DataError(f"{where}: shows no 'video' and no 'image'")
    return Record(
        where=where,
        media=tuple(Medium(path=folder / path) for path in paths),
        questions=questions_of(found, where),
    )


def _turns(found: Any, where: str) -> list[tuple[str, str]]:
    """The questions and answers of a conversation; a system's words before them are left out."""
    if not isinstance(found, list):
        raise DataError(f"{where}: 'conversations' must be a list of turns")
    said: list[tuple[str, str]] = []
    for turn in found:
        if not isinstance(turn, dict):
            raise DataError(f"{where}: a turn must be an object")
        role, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        if role == "system" and not said:
            continue
        if role not in _ROLES or not isinstance(text, str):
            raise DataError(f"{where}: a turn must be of a human or of gpt, and say a text")
        text = _MARK.sub("\n", text).strip()
        if not text:
            raise DataError(f"{where}: a turn says nothing")
        said.append((_ROLES[role], text))
    asked, answers = said[::2], said[1::2]
    if (
        not said
        or len(asked) != len(answers)
        or {role for role, _ in asked} != {"user"}
        or {role for role, _ in answers} != {"assistant"}
    ):
        raise DataError(f"{where}: turns must be of a human and of gpt, in turns")
    return [(q, a) for (_, q), (_, a) in zip(asked, answers, strict=True)]


def _objects(path: Path) -> list[tuple[str, Any]]:
    """The entries of the file, each with the place that messages name; a broken line is None."""
    text = read_text(path)
    if path.suffix == ".jsonl":
        return [(where, _parsed(line)) for where, line in numbered_lines(path, text)]
    found = _parsed(text)
    if not isinstance(found, list):
        raise DataError(f"{path}: not a JSON list of conversations")
    return [(f"{path}, entry {i}", entry) for i, entry in enumerate(found, start=1)]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
