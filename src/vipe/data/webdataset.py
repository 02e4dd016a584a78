"""Training data in WebDataset tars: files of one name make a sample.

`KEY.mp4` (or another video or picture) beside `KEY.json`, which holds captions, a question with its
answer, or a conversation (as `vipe.data.conversations` reads them), or beside `KEY.txt`, a caption
a line. The tars are read where they lie, and so must not be compressed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from vipe.data.clip import Question
from vipe.data.conversations import questions_of
from vipe.data.media import Medium, index_tar, read_member
from vipe.data.records import Record, Records
from vipe.errors import DataError

_PICTURES = {"bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"}
_VIDEOS = {"avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv"}


def read_tars(tars: Sequence[Path]) -> Records:
    """Read what lies in tars; a sample that is broken is named, counted and skipped.

    Raises:
        DataError: A tar cannot be read.
    """
    records = Records(name=", ".join(map(str, tars)))
    for tar in tars:
        samples: dict[str, dict[str, Medium]] = {}
        for member in index_tar(tar):
            # As WebDataset has it, a sample's name ends at the first dot of the file's name.
            name = PurePosixPath(member.name)
            stem, _, kind = name.name.partition(".")
            medium = Medium(path=tar, member=member)
            samples.setdefault(str(name.with_name(stem)), {})[kind.lower()] = medium
        for sample, files in samples.items():
            try:
                records.good.append(_record(files, f"{tar}: {sample}"))
            except DataError as error:
                records.skip(str(error))
    return records


def _record(files: dict[str, Medium], where: str) -> Record:
    media = [medium for kind, medium in files.items() if kind in _PICTURES | _VIDEOS]
    if len(media) != 1:
        raise DataError(f"{where} has {len(media)} videos or pictures, and must have one")
    return Record(where=where, media=tuple(media), questions=_questions(files, where))


def _questions(files: dict[str, Medium], where: str) -> tuple[Question, ...]:
    text = files.get("json", files.get("txt"))
    if text is None or text.member is None:
        raise DataError(f"{where} has no .json and no .txt")
    try:
        read = read_member(text.path, text.member).decode()
        found = json.loads(read) if "json" in files else {"captions": read.strip().splitlines()}
    except ValueError as error:  # of the text's encoding too
        raise DataError(f"{text}: not JSON in UTF-8") from error
    if not isinstance(found, dict):
        raise DataError(f"{text}: not a JSON object")
    return questions_of(found, str(text))
