"""The product kinds of the demo catalog as shapes: what each one looks like before a pose, a colour and a pattern.

A kind is three lists of shapes in a square from (-1, -1) top left to (1, 1) bottom right: what lies behind the
body, the body (it takes the colour and the pattern), and what lies in front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
XY = tuple[float, float]
Paint = Literal["body", "hole", "shade", "ink", "pale", "metal", "wood", "leaf"]


@dataclass(frozen=True)
class Shape:
    """A filled polygon, or with `width` (in units of the square) a line. `points` is (p, 2) float64 in -1..1."""

    paint: Paint
    points: Points
    width: float = 0.0


class Drawing:
    """All shapes of a kind, in drawing order; `behind` and `front` are where the body starts and ends."""

    def __init__(self, behind: list[Shape], body: list[Shape], front: list[Shape]) -> None:
        self.shapes = [*behind, *body, *front]
        self.behind, self.front = len(behind), len(behind) + len(body)
        self.points = np.concatenate([shape.points for shape in self.shapes])
        self.ends = np.cumsum([len(shape.points) for shape in self.shapes]).tolist()


def _fill(paint: Paint, *points: XY) -> Shape:
    return Shape(paint, np.array(points, dtype=np.float64))


def _line(width: float, paint: Paint, *points: XY) -> Shape:
    return Shape(paint, np.array(points, dtype=np.float64), width)


def _xy(points: str) -> list[XY]:
    """Points written as in SVG: `0,0.5 1,0.5`."""
    return [(float(x), float(y)) for x, _, y in (point.partition(",") for point in points.split())]


def _oval(x: float, y: float, rx: float, ry: float, start: float = 0, stop: float = 360) -> list[XY]:
    """Points of an ellipse or an arc of it; degrees run clockwise from the right."""
    steps = max(8, round(abs(stop - start) / 10))
    angles = [math.radians(start + (stop - start) * step / steps) for step in range(steps + 1)]
    return [(x + rx * math.cos(angle), y + ry * math.sin(angle)) for angle in angles]


def _box(left: float, top: float, right: float, bottom: float, r: float) -> list[XY]:
    """A rectangle with rounded corners of radius r."""
    corners = (
        (right - r, top + r, 270),
        (right - r, bottom - r, 0),
        (left + r, bottom - r, 90),
        (left + r, top + r, 180),
    )
    return [point for x, y, start in corners for point in _oval(x, y, r, r, start, start + 90)]


def _both(*half: XY) -> list[XY]:
    """An outline that is the same on both sides, from its right half, top to bottom."""
    return [*half, *((-x, y) for x, y in reversed(half))]


def _smooth(*points: XY) -> list[XY]:
    """A closed Catmull-Rom curve through `points`."""
    p = np.array(points, dtype=np.float64)
    before, after, far = np.roll(p, 1, axis=0), np.roll(p, -1, axis=0), np.roll(p, -2, axis=0)
    t = np.linspace(0, 1, 6, endpoint=False)[:, None, None]
    cubic = (
        2 * p
        + (after - before) * t
        + (2 * before - 5 * p + 4 * after - far) * t**2
        + (3 * p - before - 3 * after + far) * t**3
    )
    return [(x, y) for x, y in (cubic / 2).transpose(1, 0, 2).reshape(-1, 2).tolist()]


def _blossom(x: float, y: float) -> list[Shape]:
    return [_fill("pale", *_oval(x, y, 0.16, 0.16)), _fill("wood", *_oval(x, y, 0.06, 0.06))]


def _scallops() -> list[XY]:
    """The lower edge of an umbrella, right to left."""
    return [point for x in (0.69, 0.23, -0.23, -0.69) for point in _oval(x, 0.02, 0.23, 0.13, 0, -180)]


DRAWINGS: dict[str, Drawing] = {
    "dress": Drawing(
        [],
        [
            _fill(
                "body",
                *_both(*_xy("0,-0.6 0.17,-0.9 0.31,-0.9 0.36,-0.5 0.22,-0.1 0.5,0.42 0.66,0.84 0.3,0.92 0,0.94")),
            )
        ],
        [
            _line(0.08, "shade", (-0.22, -0.1), (0.22, -0.1)),
            _line(0.03, "shade", (0.1, 0.05), (0.22, 0.88)),
            _line(0.03, "shade", (-0.1, 0.05), (-0.22, 0.88)),
        ],
    ),
    "shirt": Drawing(
        [],
        [
            _fill(
                "body",
                *_both(*_xy("0,-0.7 0.2,-0.78 0.46,-0.7 0.94,-0.3 0.72,-0.02 0.46,-0.22 0.48,0.8 0,0.8")),
            )
        ],
        [
            _fill("shade", (0, -0.58), (0.22, -0.86), (0.32, -0.6), (0.16, -0.42)),
            _fill("shade", (0, -0.58), (-0.22, -0.86), (-0.32, -0.6), (-0.16, -0.42)),
            _line(0.03, "shade", (0, -0.55), (0, 0.78)),
            *(_fill("ink", *_oval(0.06, y, 0.035, 0.035)) for y in (-0.3, 0.0, 0.3, 0.6)),
            _line(0.03, "shade", (0.46, -0.25), (0.44, -0.5)),
            _line(0.03, "shade", (-0.46, -0.25), (-0.44, -0.5)),
        ],
    ),
    "trousers": Drawing(
        [],
        [_fill("body", *_both((0, -0.9), (0.4, -0.9), (0.48, -0.4), (0.56, 0.9), (0.2, 0.9), (0, -0.16)))],
        [
            _line(0.1, "shade", (-0.41, -0.84), (0.41, -0.84)),
            _line(0.03, "shade", (0, -0.8), (0, -0.2)),
            _fill("metal", *_box(-0.08, -0.9, 0.08, -0.78, 0.03)),
            _line(0.03, "shade", (0.2, -0.78), (0.44, -0.52)),
            _line(0.03, "shade", (-0.2, -0.78), (-0.44, -0.52)),
        ],
    ),
    "shoe": Drawing(
        [],
        [
            _fill(
                "body",
                *_smooth(*_xy("-.88,-.4 -.62,-.34 -.3,-.5 -.02,-.22 .36,0 .8,.12 .92,.38 0,.42 -.88,.4 -.84,0")),
            )
        ],
        [
            _fill("shade", *_oval(0.3, 0.4, 0.64, 0.3, 300, 360), (0.55, 0.4)),
            _line(0.03, "shade", (-0.5, -0.34), (-0.34, 0.36)),
            _fill("ink", *_box(-0.94, 0.38, 0.97, 0.62, 0.1)),
            _fill("pale", *_box(-0.92, 0.36, 0.95, 0.54, 0.08)),
            *(_line(0.07, "pale", (x, y), (x - 0.2, y + 0.2)) for x, y in ((-0.14, -0.36), (0.02, -0.2), (0.18, -0.1))),
        ],
    ),
    "sock": Drawing(
        [],
        [
            _fill(
                "body",
                (-0.1, -0.9),
                (0.46, -0.9),
                (0.5, 0.3),
                *_oval(0.1, 0.42, 0.4, 0.42, 0, 90),
                *_oval(-0.52, 0.6, 0.26, 0.24, 90, 270),
                (-0.14, 0.12),
            )
        ],
        [
            _fill("shade", (-0.13, -0.93), (0.49, -0.93), (0.49, -0.68), (-0.13, -0.68)),
            _fill("shade", *_oval(-0.52, 0.6, 0.27, 0.25, 90, 270), (-0.44, 0.6)),
            _fill("shade", (0.5, 0.2), *_oval(0.1, 0.42, 0.41, 0.43, 0, 80), (0.2, 0.4)),
        ],
    ),
    "hat": Drawing(
        [],
        [
            _fill(
                "body",
                *_smooth(*_xy("-0.5,0.36 -0.47,-0.2 -0.3,-0.58 0,-0.46 0.3,-0.58 0.47,-0.2 0.5,0.36")),
            ),
            _fill("body", *_oval(0, 0.36, 0.95, 0.22)),
        ],
        [
            _fill("ink", *_oval(0, 0.2, 0.5, 0.12, 0, 180), *_oval(0, 0.02, 0.495, 0.1, 180, 0)),
            _line(0.03, "shade", *_oval(0, 0.24, 0.52, 0.12, 0, 180)),
        ],
    ),
    "handbag": Drawing(
        [_line(0.1, "shade", *_oval(0, -0.16, 0.38, 0.68, 180, 360))],
        [
            _fill(
                "body",
                *_smooth(*_xy("-0.58,-0.2 0,-0.24 0.58,-0.2 0.7,0.2 0.8,0.66 0.6,0.78 -0.6,0.78 -0.8,0.66 -0.7,0.2")),
            )
        ],
        [
            _line(0.04, "shade", *_oval(0, -0.2, 0.6, 0.5, 0, 180)),
            _fill("metal", *_box(-0.1, 0.18, 0.1, 0.42, 0.04)),
            *(_fill("metal", *_oval(x, -0.14, 0.07, 0.07)) for x in (-0.38, 0.38)),
        ],
    ),
    "watch": Drawing(
        [_fill("metal", *_box(0.4, -0.08, 0.58, 0.08, 0.03))],
        [_fill("body", *_both((0, -0.97), (0.26, -0.97), (0.36, -0.3), (0.36, 0.3), (0.26, 0.97), (0, 0.97)))],
        [
            _fill("ink", *_oval(0, 0, 0.5, 0.5)),
            _fill("metal", *_oval(0, 0, 0.47, 0.47)),
            _fill("pale", *_oval(0, 0, 0.38, 0.38)),
            *(
                _line(0.04, "ink", (0.31 * math.cos(a), 0.31 * math.sin(a)), (0.37 * math.cos(a), 0.37 * math.sin(a)))
                for a in np.arange(12) * math.pi / 6
            ),
            _line(0.06, "ink", (0, 0), (-0.16, -0.12)),
            _line(0.045, "ink", (0, 0), (0.14, -0.26)),
            _line(0.04, "shade", (-0.2, 0.8), (0.2, 0.8)),
        ],
    ),
    "umbrella": Drawing(
        [
            _line(0.06, "ink", (0, -0.92), (0, 0.76)),
            _line(0.08, "wood", (0, 0.5), (0, 0.78), *_oval(-0.14, 0.78, 0.14, 0.16, 0, 190)),
        ],
        [_fill("body", *_oval(0, 0.02, 0.92, 0.82, 180, 360), *_scallops())],
        [
            _line(0.03, "shade", *_oval(0, 0.02, rx, 0.82, 270, end))
            for rx, end in ((0.46, 360), (0.46, 180), (0.02, 360))
        ],
    ),
    "backpack": Drawing(
        [
            _line(0.09, "ink", *_oval(0, -0.72, 0.18, 0.2, 180, 360)),
            _line(0.14, "ink", (-0.5, -0.4), (-0.74, 0.1), (-0.6, 0.7)),
            _line(0.14, "ink", (0.5, -0.4), (0.74, 0.1), (0.6, 0.7)),
        ],
        [
            _fill(
                "body",
                *_oval(0, -0.3, 0.56, 0.5, 180, 360),
                *_oval(0.42, 0.76, 0.16, 0.14, 0, 90),
                *_oval(-0.42, 0.76, 0.16, 0.14, 90, 180),
            )
        ],
        [
            _line(0.045, "shade", *_box(-0.4, 0.22, 0.4, 0.78, 0.1)),
            _line(0.05, "ink", (-0.36, 0.36), (0.36, 0.36)),
            _line(0.045, "shade", *_oval(0, -0.1, 0.56, 0.22, 0, 180)),
            _fill("metal", *_box(-0.07, 0.02, 0.07, 0.2, 0.03)),
            _fill("metal", *_box(0.22, 0.32, 0.28, 0.5, 0.02)),
        ],
    ),
    "mug": Drawing(
        [],
        [
            _fill("body", *_oval(0.4, 0.08, 0.46, 0.42)),
            _fill("hole", *_oval(0.42, 0.08, 0.27, 0.24)),
            _fill("body", *_oval(-0.14, -0.56, 0.58, 0.14, 180, 360), *_oval(-0.14, 0.58, 0.52, 0.2, 0, 180)),
        ],
        [_fill("shade", *_oval(-0.14, -0.56, 0.58, 0.14)), _fill("wood", *_oval(-0.14, -0.53, 0.48, 0.09))],
    ),
    "teapot": Drawing(
        [_fill("shade", *_oval(-0.02, -0.52, 0.1, 0.1)), _fill("shade", *_box(-0.34, 0.56, 0.3, 0.72, 0.06))],
        [
            _fill("body", *_oval(-0.56, 0.08, 0.38, 0.36)),
            _fill("hole", *_oval(-0.56, 0.08, 0.24, 0.22)),
            _fill(
                "body",
                *_smooth(*_xy("0.36,0.06 0.62,-0.02 0.74,-0.36 0.95,-0.44 0.86,-0.04 0.66,0.34 0.36,0.46")),
            ),
            _fill("body", *_oval(-0.02, 0.16, 0.56, 0.5)),
            _fill("body", *_oval(-0.02, -0.2, 0.34, 0.26, 180, 360)),
        ],
        [
            _line(0.05, "shade", *_oval(-0.02, -0.22, 0.36, 0.08, 0, 180)),
            _line(0.03, "shade", *_oval(-0.02, 0.16, 0.56, 0.5, 320, 400)),
        ],
    ),
    "apron": Drawing(
        [
            _line(0.06, "ink", *_oval(0, -0.7, 0.24, 0.24, 180, 360)),
            *(_line(0.06, "ink", (0.6 * s, -0.04), (0.8 * s, 0), (0.9 * s, 0.24)) for s in (-1, 1)),
        ],
        [
            _fill(
                "body",
                *_both(*_xy("0,-0.7 0.28,-0.7 0.34,-0.4 0.44,-0.22 0.64,-0.1 0.66,0.9 0,0.9")),
            )
        ],
        [
            _line(0.06, "shade", (-0.3, -0.66), (0.3, -0.66)),
            _line(0.045, "shade", *_box(-0.36, 0.14, 0.36, 0.56, 0.08), (0.28, 0.14)),
            _line(0.04, "shade", (0, 0.14), (0, 0.56)),
        ],
    ),
    "chair": Drawing(
        [
            *(_line(0.1, "wood", (0.4 * s, -0.5), (0.4 * s, 0.7)) for s in (-1, 1)),
            *(_line(0.12, "wood", (0.54 * s, 0.24), (0.58 * s, 0.95)) for s in (-1, 1)),
        ],
        [
            _fill("body", *_box(-0.5, -0.93, 0.5, -0.2, 0.14)),
            _fill("body", (-0.46, 0), (0.46, 0), (0.64, 0.22), (0.64, 0.36), (-0.64, 0.36), (-0.64, 0.22)),
        ],
        [_line(0.035, "shade", (-0.64, 0.22), (0.64, 0.22))],
    ),
    "lamp": Drawing(
        [
            _line(0.09, "wood", (0, -0.1), (0, 0.84)),
            _fill("ink", *_oval(0, 0.86, 0.4, 0.1)),
            _fill("wood", *_oval(0, 0.82, 0.4, 0.1)),
            _line(0.025, "ink", (0.26, 0), (0.26, 0.34)),
            _fill("ink", *_oval(0.26, 0.36, 0.04, 0.05)),
        ],
        [_fill("body", (-0.32, -0.92), (0.32, -0.92), (0.68, -0.02), *_oval(0, -0.02, 0.68, 0.09, 0, 180))],
        [_line(0.05, "shade", (-0.33, -0.9), (0.33, -0.9)), _line(0.05, "shade", *_oval(0, -0.05, 0.67, 0.09, 0, 180))],
    ),
    "vase": Drawing(
        [
            *(_line(0.05, "leaf", (0, -0.1), (x, y)) for x, y in ((-0.36, -0.6), (0.02, -0.78), (0.38, -0.56))),
            *_blossom(-0.36, -0.62),
            *_blossom(0.02, -0.8),
            *_blossom(0.38, -0.58),
        ],
        [
            _fill(
                "body",
                *_smooth(*_xy("-0.24,-0.26 0.24,-0.26 0.2,-0.04 0.48,0.36 0.28,0.92 -0.28,0.92 -0.48,0.36 -0.2,-0.04")),
            )
        ],
        [_fill("shade", *_oval(0, -0.26, 0.25, 0.07))],
    ),
    "ball": Drawing(
        [],
        [_fill("body", *_oval(0, 0, 0.85, 0.85))],
        [
            _line(0.045, "ink", (0, -0.84), (0, 0.84)),
            _line(0.045, "ink", (-0.84, 0), (0.84, 0)),
            _line(0.045, "ink", *_oval(1.02, 0, 0.66, 0.66, 122, 238)),
            _line(0.045, "ink", *_oval(-1.02, 0, 0.66, 0.66, -58, 58)),
        ],
    ),
    "kite": Drawing(
        [
            _line(0.03, "ink", (0, 0.4), (0.12, 0.6), (-0.06, 0.74), (0.1, 0.88), (0.02, 0.98)),
            *(
                _fill("shade", (x - 0.12, y - 0.07), (x + 0.12, y + 0.07), (x + 0.12, y - 0.07), (x - 0.12, y + 0.07))
                for x, y in ((0.1, 0.6), (0, 0.78), (0.06, 0.92))
            ),
        ],
        [_fill("body", (0, -0.96), (0.6, -0.3), (0, 0.46), (-0.6, -0.3))],
        [_line(0.045, "ink", (0, -0.95), (0, 0.45)), _line(0.045, "ink", (-0.59, -0.3), (0.59, -0.3))],
    ),
    "bottle": Drawing(
        [
            _fill("ink", *_box(-0.1, -0.96, 0.1, -0.7, 0.05)),
            _fill("metal", *_box(-0.24, -0.82, 0.24, -0.54, 0.05)),
            *(_line(0.02, "ink", (x, -0.8), (x, -0.58)) for x in (-0.12, 0, 0.12)),
        ],
        [
            _fill(
                "body",
                *_both(*_xy("0,-0.56 0.2,-0.56 0.36,-0.36 0.38,-0.1 0.34,0.06 0.38,0.2 0.38,0.88 0.32,0.95 0,0.95")),
            )
        ],
        [_line(0.04, "shade", (-0.36, -0.34), (0.36, -0.34)), _line(0.04, "shade", (-0.38, 0.72), (0.38, 0.72))],
    ),
}
