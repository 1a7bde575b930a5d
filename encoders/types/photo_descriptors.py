"""Photos without weights: colour, edges and layout of a 64 x 64 thumbnail, as published before networks did better.

- colour: a joint CIELAB histogram in which a pixel counts for its eight neighbouring bins, square-rooted, so that the
  inner product is the Hellinger kernel (Arandjelovic and Zisserman 2012, section 3); once of the whole photo, once of
  its quarters.
- edges: histograms of oriented gradients of 8 x 8 cells in overlapping blocks (Dalal and Triggs 2005, section 6).
- layout: the thumbnail at 8 x 8.
- with `centre_weight`, the same four once more of the middle of the photo, half as wide and high: where products are.

Two photos are near when their colours agree, then their shapes; what is in them it does not know. Each block is brought
to zero mean and unit length within the photo, weighted, and all are projected to `dim` by a sparse random projection
(Kane and Nelson 2014), which needs no BLAS: a row comes out the same to the last bit in any batch and with any number
of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from encoders.base import EncoderSpec, ImageEncoder, Modality
from encoders.photos.decode import decoder_identity
from foundation.arrays import Photo, Vectors

_Floats = npt.NDArray[np.float32]

_SIDE = 64  # of the thumbnail
_LAYOUT = 8  # its sides in the layout block
_CELLS = 8  # HOG cells along each side: cells of 8 x 8 pixels, as in the paper
_ORIENTATIONS = 9  # over 180 degrees, as in the paper
_CLIP = 0.2  # L2-Hys, as in the paper
_FLAT = 25.0  # gradient energy (of L*, 0..100) below which a block counts as flat, so that noise is not raised to edges

# Bins of L*, a*, b*, and the range that their centres span. Chosen on the shop photos of the grocery catalog, by a
# split within its listings: finer bins and more quarters gave nothing there.
_BINS = (4, 12, 12)
_RANGES = ((0.0, 100.0), (-60.0, 80.0), (-60.0, 80.0))
_ENTRIES = 8  # places where each number of a descriptor is added to the projection


class Spec(EncoderSpec):
    """Colour, edges and layout; see the module. The weights are those of unit-length blocks."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})
    cpu_only: ClassVar[bool] = True

    type: Literal["photo_descriptors"] = "photo_descriptors"
    dim: int = Field(256, ge=16, le=4096)
    seed: int = Field(0, ge=0, lt=2**32, description="of the random projection")
    colour_weight: float = Field(1.0, ge=0, description="colours of the whole photo")
    region_weight: float = Field(0.3, ge=0, description="colours of its quarters")
    edge_weight: float = Field(0.2, ge=0)
    layout_weight: float = Field(0.2, ge=0)
    centre_weight: float = Field(
        0.0, ge=0, description="all of that, of the photo's middle half; 0: of the whole alone"
    )

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """The whole, and the middle beside it."""
        return [cls(), cls(centre_weight=1.0)]

    @model_serializer(mode="wrap")
    def _told(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The middle where it counts: encoders of before there was that are the same as ever."""
        fields: dict[str, Any] = handler(self)
        return {name: one for name, one in fields.items() if one or name != "centre_weight"}

    @model_validator(mode="after")
    def _some_weight(self) -> Spec:
        if not any(self.weights):
            raise ValueError("expected a weight above 0, all four are 0: raise one of them")
        return self

    @property
    def weights(self) -> tuple[float, float, float, float]:
        """Of colour, regions, edges, layout."""
        return self.colour_weight, self.region_weight, self.edge_weight, self.layout_weight

    def photo_provenance(self) -> dict[str, str]:
        """Pillow decodes and resizes: another version gives other pixels."""
        return {"decoder": decoder_identity(), "resizer": f"{decoder_identity()} bilinear"}

    def load(self, device: str) -> PhotoDescriptors:
        """The encoder, on the CPU."""
        return PhotoDescriptors(self)


class PhotoDescriptors(ImageEncoder):
    """Blocks of the whole micro-batch at once, then the projection."""

    micro_batch = 16  # its temporaries stay in the cache

    def __init__(self, spec: Spec) -> None:
        self.dim = spec.dim
        self._weights = spec.weights
        self._views = (1.0, spec.centre_weight) if spec.centre_weight else (1.0,)
        lengths = [block.shape[1] for block in _blocks(np.zeros((1, _SIDE, _SIDE, 3), np.uint8))]
        self._order, self._signs = _projection(sum(lengths) * len(self._views), spec.dim, spec.seed)

    def prepare(self, photo: Photo) -> Photo:
        """(views, 64, 64, 3) uint8: the photo squeezed to a square, averaged (Pillow widens its filter to shrink), and
        its middle where that counts.
        """
        image, (h, w) = Image.fromarray(photo), photo.shape[:2]
        boxes = [(0, 0, w, h), (w / 4, h / 4, w * 3 / 4, h * 3 / 4)][: len(self._views)]
        return np.stack([np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, box)) for box in boxes])

    def forward(self, prepared: Sequence[Any]) -> Vectors:
        """(n, dim) float32, unit rows, of (views, 64, 64, 3) uint8 thumbnails."""
        thumbnails = np.stack(prepared)
        parts = [
            view * weight * _centred(block)
            for at, view in enumerate(self._views)
            for weight, block in zip(self._weights, _blocks(thumbnails[:, at]), strict=True)
        ]
        joined = np.concatenate(parts, axis=1, dtype=np.float32)
        # One column of zeros fills the places that are left over where dim does not divide the entries.
        padded = np.concatenate([joined, np.zeros((len(joined), 1), np.float32)], axis=1)
        summed = (padded[:, self._order] * self._signs).reshape(len(joined), -1, self.dim).sum(axis=1)
        # NumPy lays out the sums of several photos by columns, and then adds up their squares in another order.
        return _unit(np.ascontiguousarray(summed))


def _blocks(thumbnails: npt.NDArray[np.uint8]) -> tuple[_Floats, _Floats, _Floats, _Floats]:
    """Colour (n, 576), regions (n, 2304), edges (n, 1764), layout (n, 192), float32, of (n, 64, 64, 3) uint8 RGB."""
    lab = lab_of(thumbnails)
    quarters = _quarter_histograms(lab)
    n, step = len(lab), _SIDE // _LAYOUT
    layout = lab.reshape(n, _LAYOUT, step, _LAYOUT, step, 3).mean(axis=(2, 4))
    layout[..., 0] -= 50.0  # a* and b* are centred on grey; so is this
    return np.sqrt(quarters.mean(axis=1)), np.sqrt(quarters).reshape(n, -1), _edges(lab[..., 0]), layout.reshape(n, -1)


def lab_of(rgb: npt.NDArray[np.uint8]) -> _Floats:
    """(..., 3) float32 CIELAB (D65; L* in 0..100) of (..., 3) uint8 sRGB (IEC 61966-2-1)."""
    r, g, b = (_linear()[rgb[..., channel]] for channel in range(3))
    # Rows of the sRGB -> XYZ matrix, each divided by the white point. Sums by hand: a matrix product differs by batch.
    x = (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047
    y = 0.2126729 * r + 0.7151522 * g + 0.0721750 * b
    z = (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883
    fx, fy, fz = (_lab_curve(part) for part in (x, y, z))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1).astype(np.float32)


def _lab_curve(linear: _Floats) -> _Floats:
    delta = 6 / 29  # CIE 15: the cube root, with a straight foot
    curve: _Floats = np.where(
        linear > delta**3, np.cbrt(linear), linear / np.float32(3 * delta**2) + np.float32(4 / 29)
    )
    return curve


@cache
def _linear() -> _Floats:
    encoded = np.arange(256) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _quarter_histograms(lab: _Floats) -> _Floats:
    """(n, 4, bins) float32, each row of bins sums to 1: every pixel is shared by its eight neighbouring bins."""
    n, bins = len(lab), int(np.prod(_BINS))
    row, column = np.indices((_SIDE, _SIDE)) * 2 // _SIDE
    lowest = (np.arange(n)[:, None, None] * 4 + row * 2 + column) * bins
    share: npt.NDArray[Any] = np.ones(1, np.float32)
    places, shares = lowest[..., None], share
    for channel, (count, (low, high)) in enumerate(zip(_BINS, _RANGES, strict=True)):
        at = np.clip((lab[..., channel] - low) / (high - low), 0, 1) * np.float32(count - 1)
        floor = np.minimum(at.astype(np.int64), count - 2)
        above = (at - floor).astype(np.float32)
        stride = int(np.prod(_BINS[channel + 1 :]))
        places = np.concatenate(
            [places + (floor * stride)[..., None], places + ((floor + 1) * stride)[..., None]], axis=-1
        )
        shares = np.concatenate([shares * (1 - above)[..., None], shares * above[..., None]], axis=-1)
    counts = np.bincount(places.ravel(), shares.ravel(), n * 4 * bins).reshape(n, 4, bins)
    shares_of_quarter: _Floats = (counts / (_SIDE * _SIDE / 4)).astype(np.float32)
    return shares_of_quarter


def _edges(lightness: _Floats) -> _Floats:
    """(n, 7 * 7 * 36) float32: HOG of (n, 64, 64) float32 lightness."""
    n = len(lightness)
    dx, dy = np.zeros_like(lightness), np.zeros_like(lightness)
    dx[:, :, 1:-1] = lightness[:, :, 2:] - lightness[:, :, :-2]
    dy[:, 1:-1] = lightness[:, 2:] - lightness[:, :-2]
    strength = np.hypot(dx, dy)
    angle = np.arctan2(dy, dx) % np.float32(np.pi) * np.float32(_ORIENTATIONS / np.pi)
    floor = angle.astype(np.int64)
    above = angle - floor
    row, column = np.indices((_SIDE, _SIDE)) * _CELLS // _SIDE
    lowest = ((np.arange(n)[:, None, None] * _CELLS + row) * _CELLS + column) * _ORIENTATIONS
    size = n * _CELLS * _CELLS * _ORIENTATIONS
    counts = np.bincount((lowest + floor % _ORIENTATIONS).ravel(), (strength * (1 - above)).ravel(), size)
    counts += np.bincount((lowest + (floor + 1) % _ORIENTATIONS).ravel(), (strength * above).ravel(), size)
    cells = counts.reshape(n, _CELLS, _CELLS, _ORIENTATIONS)
    blocks = np.concatenate([cells[:, :-1, :-1], cells[:, :-1, 1:], cells[:, 1:, :-1], cells[:, 1:, 1:]], axis=-1)
    blocks = np.minimum(blocks / np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + _FLAT**2), _CLIP)
    hog: _Floats = blocks.reshape(n, -1).astype(np.float32)
    return hog


def _projection(length: int, dim: int, seed: int) -> tuple[npt.NDArray[np.int64], _Floats]:
    """Which number of a descriptor goes where, and its sign: `_ENTRIES` permutations, folded into rows of `dim`.

    `length` itself stands for the zero that pads the last row. PCG64's raw stream is fixed across NumPy versions (NEP
    19), shuffles drawn from it are not: so the permutations sort raw integers.
    """
    raw = np.random.PCG64(seed)
    orders, signs = [], []
    for _ in range(_ENTRIES):
        draw = np.asarray(raw.random_raw(length), dtype=np.uint64)
        order = np.argsort(draw, kind="stable")
        spare = -length % dim
        orders.append(np.concatenate([order, np.full(spare, length)]))
        signs.append(np.concatenate([np.where(draw[order] & np.uint64(1), 1.0, -1.0), np.zeros(spare)]))
    return np.concatenate(orders), np.concatenate(signs).astype(np.float32)


def _centred(block: _Floats) -> _Floats:
    """Zero mean, so that what all photos share (no histogram is negative) does not make them similar; unit length."""
    centred = block - block.mean(axis=1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    # A block without any variation (the edges of a plain surface) says nothing, and stays zero.
    unit: _Floats = np.where(norms > 1e-6, centred / np.maximum(norms, np.float32(1e-6)), np.float32(0))
    return unit


def _unit(vectors: _Floats) -> Vectors:
    norms = np.sqrt((vectors**2).sum(axis=1, keepdims=True))
    # Only blocks without variation under weights that leave nothing else: all such photos are the same vector.
    empty = norms[:, 0] < 1e-6
    vectors[empty], norms[empty] = np.float32(vectors.shape[1] ** -0.5), 1.0
    unit: Vectors = (vectors / norms).astype(np.float32)
    return unit
