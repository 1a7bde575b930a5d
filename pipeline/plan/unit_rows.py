"""The rows of a planned unit, read as a run reads them: for those who learn or measure from a catalog."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from pipeline.catalog.rows import read_unit
from pipeline.catalog.stage_columns import TEXT
from pipeline.config.sections import CatalogConfig, Embedding, ShardsConfig
from pipeline.files.pinned import unchanged
from pipeline.plan.units import Unit


def rows_of(unit: Unit, catalog: CatalogConfig, shards: ShardsConfig, duplicates: list[int]) -> pa.Table:
    """The rows of a unit with the columns that `catalog` names, as a run reads them."""
    groups = range(unit.first_group, unit.end_group)
    limit = shards.max_unit_bytes
    with unchanged(unit.path, unit.pin):
        return read_unit(unit.path, groups, unit.first_row, duplicates, catalog, limit, unit.spellings)


def texts_of(unit: Unit, embedding: Embedding) -> list[tuple[str, ...]]:
    """For each row, what its text columns say, without repetitions."""
    columns = list(_text_columns(unit, embedding))
    return [tuple(dict.fromkeys(text for text in row if text)) for row in zip(*columns, strict=True)]


def _text_columns(unit: Unit, embedding: Embedding) -> Iterator[list[str | None]]:
    for name in embedding.catalog.text:
        only = {"text": (name,), "image": None, "more_images": None, "attributes": (), "prices": (), "numbers": ()}
        table = rows_of(unit, embedding.catalog.model_copy(update=only), embedding.shards, [])
        yield table.column(TEXT).to_pylist()


def duplicates_of(unit: Unit) -> list[int]:
    """The rows of a unit whose id came before."""
    duplicates: list[int] = np.frombuffer(unit.duplicates, np.int32).tolist()
    return duplicates
