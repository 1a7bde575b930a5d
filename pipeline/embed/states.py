"""Units for a fusion that reads states: texts, photos and fusion chunk by chunk, so that memory holds the states of a
chunk, never those of a unit, which may be gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from encoders.base import ImageEncoder, TextEncoder
from encoders.fusion.base import Fusion
from encoders.photos.decode import PhotoLimits
from pipeline.catalog.stage_columns import PHOTOS
from pipeline.embed.encode import encode_photos, encode_texts
from pipeline.embed.fuse import fuse
from pipeline.photos.root import Root

CHUNK = 256  # rows, and photos, whose states are in memory at once: 200 MB for 256 patches of 768 numbers


@dataclass(frozen=True)
class StatesPath:
    """What a unit goes through: both encoders, the fusion, and how photos are had."""

    text: TextEncoder
    image: ImageEncoder
    fusion: Fusion
    root: Root
    limits: PhotoLimits
    pool: ThreadPoolExecutor


def embed_and_fuse(batch: pa.Table, path: StatesPath, chunk: int = CHUNK) -> pa.Table:
    """What `encode_texts`, `encode_photos` and `fuse` make of `batch` one after the other, the same for any `chunk`."""
    parts = [_embedded(batch.slice(start, rows), path) for start, rows in chunks(batch, chunk)]
    return pa.concat_tables(parts)


def _embedded(batch: pa.Table, path: StatesPath) -> pa.Table:
    texts = encode_texts(batch, path.text, with_states=True)
    photos = encode_photos(texts.table, path.image, path.root, path.limits, path.pool, with_states=True)
    return fuse(photos.table, path.fusion, path.text.dim, path.image.dim, (texts.states, photos.states))


def chunks(batch: pa.Table, most: int) -> Iterator[tuple[int, int]]:
    """(first row, rows) of pieces of at most `most` rows and photos; a row of more photos is a piece of its own."""
    counts = pc.fill_null(pc.list_value_length(batch.column(PHOTOS)), 0).to_pylist()
    start, photos = 0, 0
    for row, count in enumerate(counts):
        if row > start and (row - start == most or photos + count > most):
            yield start, row - start
            start, photos = row, 0
        photos += count
    yield start, len(counts) - start
