"""How a generated scene is drawn: the look of a picture, backgrounds, plain shapes (Pillow)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from vipe.data.pictures import draw_picture

RGB = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Appearance:
    """How a picture is drawn: one name in one style still looks different every time.

    Attributes:
        style: One of `pictures.STYLES`.
        lines: One of `pictures.LINES`.
        look: "plain", "gray", "poster" (few colours) or "edges" (its edges alone, on white).
        tint: Shift of the hue in degrees; small, so that a red apple stays red.
        saturation, brightness, contrast: Factors, 1 for none.
        blur: Radius in pixels of a picture that is `pictures.PIXELS` long.
        rotation: Degrees, counter-clockwise.
        flip: Whether left and right are exchanged.
        outline: Width in pixels of a border around the picture, 0 for none.
        outline_color: Its colour.
    """

    style: str = "openmoji"
    lines: str = "normal"
    look: str = "plain"
    tint: float = 0.0
    saturation: float = 1.0
    brightness: float = 1.0
    contrast: float = 1.0
    blur: float = 0.0
    rotation: float = 0.0
    flip: bool = False
    outline: int = 0
    outline_color: RGB = (255, 255, 255)


@dataclass(frozen=True, kw_only=True, slots=True)
class Background:
    """What is behind everything.

    Attributes:
        kind: "plain", "gradient", "stripes", "checks", "blobs" or "photograph".
        name: The colour's name; "" where no single colour can be named.
        colors: Two colours (equal, for a plain background).
        angle: Direction of gradients and stripes in degrees.
        period: Width of stripes, checks and blobs as a part of the frame's side.
        grain: Standard deviation of noise over it, in grey levels.
        seed: Of the noise and blobs; which photograph, modulo their number.
        blur: Radius over a photograph, in pixels of a 224-pixel frame.
    """

    kind: str
    name: str
    colors: tuple[RGB, RGB]
    angle: float = 0.0
    period: float = 0.25
    grain: float = 0.0
    seed: int = 0
    blur: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A plain shape that nobody asks about. `x`, `y`, `size`: parts of the frame's side."""

    corners: int  # 0 for a circle, 2 for a line
    x: float
    y: float
    size: float
    angle: float
    color: RGB
    in_front: bool = False


@lru_cache(maxsize=128)
def sprite(name: str, appearance: Appearance, behind: RGB) -> Image.Image:
    """A picture with its look, RGBA, longer side about `PIXELS`; shared, so not to be changed.

    Args:
        name: A name of the table of pictures.
        appearance: Its look.
        behind: The background's mean colour. A picture that would vanish before it gets a border.
    """
    image = draw_picture(name, appearance.style, appearance.lines)
    alpha = image.getchannel("A")
    color = _look(image.convert("RGB"), alpha, appearance)
    image = color.convert("RGBA")
    image.putalpha(alpha)
    outline, outline_color = appearance.outline, appearance.outline_color
    if _vanishes(image, behind):
        outline = max(outline, 5)
        outline_color = (255, 255, 255) if sum(behind) < 384 else (20, 20, 20)
    if appearance.flip:
        image = ImageOps.mirror(image)
    if outline:
        image = _outlined(image, outline, outline_color)
    if appearance.rotation:
        image = image.rotate(appearance.rotation, Image.Resampling.BILINEAR, expand=True)
    if appearance.blur:
        image = ImageOps.expand(image, math.ceil(2 * appearance.blur), (0, 0, 0, 0))
        # With premultiplied alpha, lest colours of empty pixels bleed into the rim.
        image = image.convert("RGBa").filter(ImageFilter.GaussianBlur(appearance.blur))
        image = image.convert("RGBA")
    return image


@lru_cache(maxsize=64)
def posed_sprite(
    name: str, appearance: Appearance, behind: RGB, pixels: int, angle: float
) -> Image.Image:
    """A sprite whose longer side is `pixels`, then turned by `angle` degrees; shared.

    Most pictures keep their size while they move, so that this is done once a scene.
    """
    picture = sprite(name, appearance, behind)
    scale = pixels / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.BILINEAR)
    return picture.rotate(angle, Image.Resampling.BILINEAR, expand=True) if angle else picture


def draw_background(
    background: Background, size: int, photographs: Sequence[Image.Image] | None = None
) -> Image.Image:
    """The background, RGB of `(size, size)`.

    Args:
        background: What to draw.
        size: Side in pixels.
        photographs: Needed where the background is one of them.
    """
    if background.kind == "photograph":
        if not photographs:
            raise ValueError("the scene's background is a photograph, but there are none")
        photograph = photographs[background.seed % len(photographs)].convert("RGB")
        image = ImageOps.fit(photograph, (size, size))
        if background.blur:
            image = image.filter(ImageFilter.GaussianBlur(background.blur * size / 224))
        return image
    if background.kind == "plain" and not background.grain:
        return Image.new("RGB", (size, size), background.colors[0])
    first, second = (np.asarray(color, np.float32) for color in background.colors)
    pixels: np.ndarray = np.broadcast_to(first, (size, size, 3))
    if background.kind != "plain":
        pixels = first + (second - first) * _mix(background, size)[..., None]
    if background.grain:
        # Noise of a fixed size, enlarged: the same scene at every resolution.
        noise = np.random.default_rng(background.seed).normal(size=(112, 112))
        enlarged = Image.fromarray(noise.astype(np.float32)).resize((size, size))
        pixels = pixels + background.grain * np.asarray(enlarged)[..., None]
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def draw_shape(frame: Image.Image, shape: Shape) -> None:
    """Draw a plain shape onto an RGB frame, in place."""
    draw = ImageDraw.Draw(frame)
    side = frame.width
    x, y, radius = shape.x * side, shape.y * side, shape.size * side / 2
    if shape.corners == 0:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=shape.color)
        return
    turns = [shape.angle + 2 * math.pi * k / shape.corners for k in range(shape.corners)]
    points = [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in turns]
    if shape.corners == 2:
        draw.line(points, fill=shape.color, width=max(2, round(side / 60)))
    else:
        draw.polygon(points, fill=shape.color)


def mean_color(image: Image.Image) -> RGB:
    """The mean of an RGB image, rounded."""
    red, green, blue = np.asarray(image.resize((8, 8)), np.float64).reshape(-1, 3).mean(0)
    return round(red), round(green), round(blue)


def _look(color: Image.Image, alpha: Image.Image, appearance: Appearance) -> Image.Image:
    if appearance.look == "gray":
        color = ImageOps.grayscale(color).convert("RGB")
    elif appearance.look == "poster":
        color = ImageOps.posterize(color.filter(ImageFilter.BoxBlur(1)), 2)
        color = ImageOps.autocontrast(color)
    elif appearance.look == "edges":
        paper = Image.new("L", color.size, 255)
        paper.paste(ImageOps.grayscale(color), mask=alpha)
        edges = paper.filter(ImageFilter.GaussianBlur(1)).filter(ImageFilter.FIND_EDGES)
        edges = edges.filter(ImageFilter.MaxFilter(3)).point(lambda v: 255 - min(255, 5 * v))
        color = edges.convert("RGB")
    if appearance.tint:
        hue, saturation, value = color.convert("HSV").split()
        shift = round(appearance.tint * 256 / 360)
        hue = hue.point([(level + shift) % 256 for level in range(256)])
        color = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    for enhancer, factor in (
        (ImageEnhance.Color, appearance.saturation),
        (ImageEnhance.Brightness, appearance.brightness),
        (ImageEnhance.Contrast, appearance.contrast),
    ):
        if factor != 1:
            color = enhancer(color).enhance(factor)
    return color


def _vanishes(image: Image.Image, behind: RGB) -> bool:
    """Whether most of a picture has nearly the background's colour."""
    pixels = np.asarray(image.resize((48, 48)), np.float32).reshape(-1, 4)
    solid = pixels[pixels[:, 3] > 128, :3]
    return bool((np.linalg.norm(solid - np.asarray(behind), axis=1) < 70).mean() > 0.5)


def _outlined(image: Image.Image, width: int, color: RGB) -> Image.Image:
    image = ImageOps.expand(image, width + 1, (0, 0, 0, 0))
    alpha = image.getchannel("A")
    # Dilation by a disc, as a blur and a threshold: far faster than a wide maximum filter.
    spread = alpha.filter(ImageFilter.BoxBlur(width)).point(lambda v: min(255, v * 8))
    border = Image.new("RGBA", image.size, (*color, 255))
    border.putalpha(spread)
    return Image.alpha_composite(border, image)


def _mix(background: Background, size: int) -> np.ndarray:
    """How much of the second colour each pixel has, `(size, size)` in 0…1."""
    y, x = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    angle = math.radians(background.angle)
    along = (x - 0.5) * math.cos(angle) + (y - 0.5) * math.sin(angle)
    across = (y - 0.5) * math.cos(angle) - (x - 0.5) * math.sin(angle)
    if background.kind == "gradient":
        span = abs(math.cos(angle)) + abs(math.sin(angle))
        return along / span + 0.5
    if background.kind == "stripes":
        return (np.floor(2 * along / background.period) % 2).astype(np.float32)
    if background.kind == "checks":
        cells = np.floor(2 * along / background.period) + np.floor(2 * across / background.period)
        return (cells % 2).astype(np.float32)
    if background.kind == "blobs":
        count = max(2, round(2 / background.period))
        noise = np.random.default_rng(background.seed).random((count, count), dtype=np.float32)
        blobs = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
        return np.clip(np.asarray(blobs), 0, 1)
    raise ValueError(f"{background.kind!r}: no such background")
