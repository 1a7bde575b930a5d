"""Units of work without Beam and without a store: what becomes of a catalog's rows up to the shard."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from encoders.base import ImageEncoder, TextEncoder
from pipeline.config.encoding import photo_limits, tower_dims
from pipeline.config.load import Config
from pipeline.embed.earlier.reuse import empty_vectors
from pipeline.embed.encode import encode_photos, encode_texts
from pipeline.embed.fingerprinted_units import read_fingerprinted
from pipeline.embed.fingerprints import stamp_photos
from pipeline.embed.fuse import fuse
from pipeline.embed.tries import add_photo_states
from pipeline.photos.root import image_root
from pipeline.plan.units import Unit, make_plan


def write_catalog(path: Path, table: pa.Table, row_group_rows: int = 100) -> Path:
    """`table` as a Parquet file with row groups of this size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_rows)
    return path


def fused_units(config: Config, category: str | None = None) -> list[tuple[Unit, pa.Table]]:
    """Every unit of the plan with its rows read, encoded and fused, as a run does it, without Beam and files."""
    embedding, encoders = config.settings.embedding, config.encoders
    text = encoders.text.load("cpu") if encoders.text else None
    image = encoders.image.load("cpu") if encoders.image else None
    root = image_root(config.catalog.image_root, config.catalog.path)
    limits = photo_limits(config.catalog)
    dims = tower_dims(embedding)
    fusion = config.fusion.load(*dims)
    units = []
    with ThreadPoolExecutor(2) as pool:
        for unit in make_plan(embedding, config.gates, category).units:
            table = read_fingerprinted(unit, embedding, root)
            table = empty_vectors(stamp_photos(add_photo_states(table, embedding, root)), *dims)
            table = encode_texts(table, text if isinstance(text, TextEncoder) else None).table
            tower = image if isinstance(image, ImageEncoder) else None
            table = encode_photos(table, tower, root, limits, pool).table
            units.append((unit, fuse(table, fusion, *dims)))
    return units
