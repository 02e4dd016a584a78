"""Training data: captioned photographs in tars, read where they lie."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from vipe.data.media import Member, index_tar, one_line, read_member
from vipe.errors import DataError


class PhotographTars:
    """An index of tars of `KEY.jpg` and `KEY.json`; photographs are read when asked for.

    Attributes:
        names: KEY of every photograph, in the order of the tars.
        captions: The captions of each, as they lie in the tar.

    Args:
        tars: The tars, in order.

    Raises:
        DataError: A tar is missing or damaged, two photographs have one name, a caption file is
            malformed, or there is nothing in the tars.
    """

    def __init__(self, tars: Sequence[Path]) -> None:
        self.names: list[str] = []
        self.captions: list[tuple[str, ...]] = []
        self._places: list[tuple[Path, Member]] = []
        for tar in tars:
            self._index(Path(tar))
        if not self.names:
            raise DataError(f"{', '.join(map(str, tars)) or 'photographs'}: no photographs")
        if len(set(self.names)) != len(self.names):
            twice = next(n for n in self.names if self.names.count(n) > 1)
            raise DataError(f"{tars[0]}: the photograph {twice} occurs twice")

    def _index(self, tar: Path) -> None:
        images: dict[str, Member] = {}
        captions: dict[str, tuple[str, ...]] = {}
        for member in index_tar(tar):
            name, _, kind = member.name.rpartition(".")
            if kind == "jpg":
                images[name] = member
            elif kind == "json":
                captions[name] = _read_captions(tar, member.name, read_member(tar, member))
        for name, member in images.items():
            if name not in captions:
                raise DataError(f"{tar}: {name}.jpg has no {name}.json")
            self.names.append(name)
            self.captions.append(captions[name])
            self._places.append((tar, member))

    def __len__(self) -> int:
        return len(self.names)

    def data(self, i: int) -> bytes:
        """The JPEG file of the `i`-th photograph."""
        return read_member(*self._places[i])

    def image(self, i: int) -> Image.Image:
        """The `i`-th photograph, RGB.

        Raises:
            DataError: It is not a picture.
        """
        try:
            return Image.open(io.BytesIO(self.data(i))).convert("RGB")
        except OSError as error:
            raise DataError(
                f"{self._places[i][0]}: {self.names[i]}.jpg is not a picture: {one_line(error)}"
            ) from error


class PhotographImages(Sequence[Image.Image]):
    """The photographs of some tars as RGB pictures, by index; each is decoded when asked for."""

    def __init__(self, tars: Sequence[Path]) -> None:
        self._tars = PhotographTars(tars)

    def __len__(self) -> int:
        return len(self._tars)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """One photograph, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self._tars.image(i) for i in range(len(self))[index]]
        return self._tars.image(range(len(self))[index])

    def __iter__(self) -> Iterator[Image.Image]:
        return (self._tars.image(i) for i in range(len(self)))


def photograph_images(tars: Sequence[Path]) -> PhotographImages:
    """The photographs alone, for example as backgrounds of scenes."""
    return PhotographImages(tars)


def _read_captions(tar: Path, name: str, data: bytes) -> tuple[str, ...]:
    try:
        captions = json.loads(data)["captions"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{tar}: {name} holds no captions: {one_line(error)}") from error
    if not isinstance(captions, list) or not all(
        isinstance(c, str) and c.strip() for c in captions
    ):
        raise DataError(f"{tar}: captions of {name} must be a list of sentences")
    if not captions:
        raise DataError(f"{tar}: {name} has no caption")
    return tuple(captions)
