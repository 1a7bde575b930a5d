"""Towers whose vectors can be told by eye, for units of a few rows: what they make of them, and what they refuse."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from encoders.base import ImageEncoder, Role, TextEncoder
from encoders.photos.decode import PhotoLimits
from foundation.arrays import Photo, Vectors
from pipeline.catalog.columns import PHOTO
from pipeline.embed.earlier.reuse import empty_vectors
from pipeline.embed.encode import encode_photos, encode_texts

LIMITS = PhotoLimits()
DIM = 4


class Colours(ImageEncoder):
    """A photo's mean colour as a unit vector. Green cannot be encoded, blue is NaN, grey cannot be prepared."""

    dim = DIM
    micro_batch = 3

    def prepare(self, photo: Photo) -> Vectors:
        mean = photo.reshape(-1, 3).mean(axis=0).astype(np.float32)
        if (mean == mean[0]).all():
            raise ValueError("grey")
        return mean

    def forward(self, prepared: Sequence[Any]) -> Vectors:
        if any(colour[1] > 250 for colour in prepared):
            raise RuntimeError("green")
        return np.stack([vector_of(colour) for colour in prepared])


class Lengths(TextEncoder):
    """The letters a to d of a text as a unit vector; `fail` cannot be encoded, `nan` is not finite."""

    dim = DIM
    micro_batch = 5

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        if "fail" in texts:
            raise ArithmeticError("fail")
        return np.stack([text_vector(text) for text in texts])


def vector_of(colour: np.ndarray[Any, Any]) -> Vectors:
    if colour[2] > 250:
        return np.full(DIM, np.nan, dtype=np.float32)
    vector = np.array([*colour, 10], dtype=np.float32)
    return vector / np.linalg.norm(vector)


def text_vector(text: str) -> Vectors:
    if text == "nan":
        return np.array([1, np.nan, 0, 0], dtype=np.float32)
    vector = np.array([1 + text.count(letter) for letter in "abcd"], dtype=np.float32)
    return vector / np.linalg.norm(vector)


def png(*colour: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(out, "PNG")
    return out.getvalue()


RED, TEAL = png(200, 20, 30), png(10, 120, 130)
PLANS = {
    "broken": (b"no photo", "image_undecodable"),
    "refused": (png(0, 255, 0), "encoder_failed"),
    "unprepared": (png(90, 90, 90), "encoder_failed"),
    "nan": (png(0, 0, 255), "nonfinite_embedding"),
}


def unit(
    rows: list[tuple[str | None, list[bytes] | None]],
    reject: list[str | None] | None = None,
    image_dim: int | None = DIM,
) -> pa.Table:
    """Rows of (text, photos) as the encoders are given them."""
    photos = [
        None if row[1] is None else [{"bytes": raw, "path": f"p{n}"} for n, raw in enumerate(row[1])] for row in rows
    ]
    n = len(rows)
    table = pa.table(
        {
            "row": pa.array(range(n), pa.int32()),
            "id": pa.array([str(i) for i in range(n)]),
            "partition": pa.array(["b" if i % 2 else "a" for i in range(n)]),
            "text": pa.array([row[0] for row in rows], pa.string()),
            "photos": pa.array(photos, pa.list_(PHOTO)),
            "reject": pa.array(reject or [None] * n, pa.string()),
            "detail": pa.nulls(n, pa.string()),
            "text_fields": pa.array([{}] * n, pa.struct([])),
        }
    )
    return empty_vectors(table, DIM, image_dim)


def encoded(table: pa.Table, image: ImageEncoder | None = None, root: str = "/nowhere") -> pa.Table:
    """`table` with what both towers make of it."""
    with ThreadPoolExecutor(2) as pool:
        return encode_photos(encode_texts(table, Lengths()).table, image, root, LIMITS, pool).table
