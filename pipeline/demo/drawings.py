"""The photos of the demo catalog: product kinds as flat drawings, posed, coloured and patterned at random but seeded.

A pose moves the points of a kind's shapes, so nothing is resampled but the last step: everything is drawn at twice the
size and reduced, which smooths the edges.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops, ImageDraw

from pipeline.demo.kinds import DRAWINGS, Drawing, Paint

RGB = tuple[int, int, int]

SIZE = 160  # pixels, both sides
_OVER = 2  # drawn so much larger, then reduced
_CANVAS = SIZE * _OVER
_TILE = _CANVAS + 96  # patterns are cut out of a larger tile at a seeded place
_OUTLINE = 3
_BOUNDS = 0.9  # the points of a posed product stay in this part of the canvas; the rest is room for the width of lines

COLOURS: dict[str, RGB] = {
    "red": (208, 32, 38),
    "orange": (242, 124, 22),
    "yellow": (247, 208, 40),
    "green": (38, 142, 66),
    "blue": (34, 84, 196),
    "purple": (126, 52, 166),
    "pink": (244, 130, 180),
    "brown": (122, 76, 44),
    "black": (36, 36, 40),
    "white": (248, 248, 246),
}
KINDS = tuple(DRAWINGS)
PATTERNS = ("plain", "striped", "dotted", "checked")

_PAINTS: dict[Paint, RGB] = {
    "ink": (44, 44, 50),
    "pale": (250, 248, 242),
    "metal": (172, 176, 184),
    "wood": (172, 128, 84),
    "leaf": (84, 138, 84),
}
_LIGHT_GROUNDS: tuple[RGB, ...] = (
    (236, 236, 234),
    (226, 230, 236),
    (238, 230, 218),
    (220, 230, 224),
    (232, 224, 234),
    (212, 216, 220),
    (226, 218, 206),
    (216, 228, 238),
)
_DARK_GROUNDS: tuple[RGB, ...] = (
    (122, 136, 150),
    (142, 130, 118),
    (112, 134, 128),
    (134, 126, 146),
    (126, 128, 132),
    (104, 122, 142),
)


@dataclass(frozen=True)
class Look:
    """What a photo shows. `seed` decides pose, background and the small variations, and nothing else."""

    kind: str
    colour: str
    pattern: str
    seed: str


def photo(look: Look) -> bytes:
    """The JPEG of `look`: SIZE x SIZE pixels, the same bytes for the same look and the same Pillow."""
    return encoded(draw(look), "JPEG", quality=85)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    """The bytes of `image` as a file of Pillow's `format`."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def draw(look: Look) -> Image.Image:
    """The SIZE x SIZE RGB picture of `look`."""
    rng = random.Random(look.seed)
    canvas = _background(rng, dark=look.colour == "white")
    drawing = DRAWINGS[look.kind]
    colour = _jittered(COLOURS[look.colour], rng)
    paints: dict[Paint, RGB] = {**_PAINTS, "shade": _shade(colour)}
    placed = _pose(drawing, rng)
    pen = ImageDraw.Draw(canvas)
    _put(pen, placed[: drawing.behind], paints)
    body = placed[drawing.behind : drawing.front]
    for shape in body:  # outlines first: the body then covers those that lie inside it
        pen.line([*shape.flat, *shape.flat[:4]], paints["shade"], 2 * _OUTLINE)
    mask = Image.new("L", canvas.size)
    _put(ImageDraw.Draw(mask), body, {"body": 255, "hole": 0})
    canvas.paste(colour, mask=mask)
    if look.pattern != "plain":
        canvas.paste(_second(look.colour), mask=ImageChops.multiply(mask, _cutting(look.pattern, rng)))
    _put(pen, placed[drawing.front :], paints)
    return canvas.reduce(_OVER)


@dataclass(frozen=True)
class _Placed:
    paint: Paint
    flat: list[float]  # x, y, x, y ... in pixels of the canvas
    width: int


def _put(pen: ImageDraw.ImageDraw, shapes: Sequence[_Placed], paints: Mapping[Paint, RGB | int]) -> None:
    for shape in shapes:
        if shape.width:
            pen.line(shape.flat, paints[shape.paint], shape.width, joint="curve" if shape.width > 8 else None)
        else:
            pen.polygon(shape.flat, paints[shape.paint])


def _pose(drawing: Drawing, rng: random.Random) -> list[_Placed]:
    """The shapes turned, stretched, scaled, mirrored and moved; all of them stay on the canvas."""
    angle = math.radians(rng.uniform(-16, 16))
    mirror = rng.choice((-1.0, 1.0))
    stretch = rng.uniform(0.92, 1.08)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    points = (drawing.points * (mirror * stretch, 1 / stretch)) @ turn
    low, high = points.min(axis=0), points.max(axis=0)
    scale = rng.uniform(0.74, 1.0) * 2 * _BOUNDS / float((high - low).max())
    room = _BOUNDS - scale * (high - low) / 2  # how far the middle may move each way
    middle = room * (rng.uniform(-1, 1), rng.uniform(-1, 1))
    pixels = ((points - (low + high) / 2) * scale + middle + 1) * (_CANVAS / 2)
    flat, placed, start = pixels.ravel().tolist(), [], 0
    for shape, end in zip(drawing.shapes, drawing.ends, strict=True):
        width = max(1, round(shape.width * scale * _CANVAS / 2)) if shape.width else 0
        placed.append(_Placed(shape.paint, flat[2 * start : 2 * end], width))
        start = end
    return placed


def _background(rng: random.Random, dark: bool) -> Image.Image:
    """A plain wall, a gradient, or a wall above a floor."""
    grounds = _DARK_GROUNDS if dark else _LIGHT_GROUNDS
    first, second = rng.sample(grounds, 2)
    canvas = Image.new("RGB", (_CANVAS, _CANVAS), first)
    style = rng.randrange(4)
    if style in (1, 2):
        canvas.paste(second, mask=_gradient(sideways=style == 2))
    if style == 3:
        canvas.paste(second, (0, round(_CANVAS * rng.uniform(0.55, 0.85)), _CANVAS, _CANVAS))
    return canvas


@lru_cache
def _gradient(sideways: bool) -> Image.Image:
    down = Image.linear_gradient("L").resize((_CANVAS, _CANVAS))
    return down.transpose(Image.Transpose.ROTATE_90) if sideways else down


def _cutting(pattern: str, rng: random.Random) -> Image.Image:
    """How much of the second colour, 0..255, each pixel of the canvas takes."""
    tile = _tile(pattern, rng.randrange(4))
    x, y = rng.randrange(_TILE - _CANVAS), rng.randrange(_TILE - _CANVAS)
    return tile.crop((x, y, x + _CANVAS, y + _CANVAS))


@lru_cache
def _tile(pattern: str, variant: int) -> Image.Image:
    """One of four variants of a pattern: two directions, two sizes."""
    period = (30, 38)[variant % 2]
    y, x = np.mgrid[:_TILE, :_TILE].astype(np.float64)
    if pattern == "striped":
        along = y if variant < 2 else (x + y) / math.sqrt(2)
        return _grey(along % period < 0.42 * period)
    if pattern == "dotted":
        across = (x + (y // period % 2) * period / 2) % period  # every other row of dots is shifted by half
        return _grey(np.hypot(across - period / 2, y % period - period / 2) < 0.29 * period)
    if pattern == "checked":  # gingham: where bands cross the second colour is full, elsewhere on a band half
        if variant >= 2:
            x, y = (x + y) / math.sqrt(2), (x - y) / math.sqrt(2)
        return _grey((x % period < 0.45 * period) * 0.5 + (y % period < 0.45 * period) * 0.5)
    raise ValueError(f"pattern must be one of {PATTERNS}, it is {pattern!r}")


def _grey(share: npt.NDArray[np.float64] | npt.NDArray[np.bool_]) -> Image.Image:
    return Image.fromarray((np.asarray(share, dtype=np.float64) * 255).astype(np.uint8))


def _second(colour: str) -> RGB:
    return (160, 164, 172) if colour == "white" else _PAINTS["pale"]


def _jittered(colour: RGB, rng: random.Random) -> RGB:
    factor = rng.uniform(0.94, 1.04)
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue


def _shade(colour: RGB) -> RGB:
    """A darker tone of the colour; a lighter one where darker could not be seen."""
    if max(colour) < 70:
        return 96, 96, 104
    red, green, blue = (round(channel * 0.68) for channel in colour)
    return red, green, blue
