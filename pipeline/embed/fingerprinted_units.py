"""A unit as a run reads it: clean rows and their fingerprints, before anything is looked up or encoded."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog.stage_columns import PARTITION
from pipeline.config.sections import Embedding
from pipeline.embed.fingerprints import fingerprint_rows
from pipeline.photos.root import Root
from pipeline.plan.unit_rows import duplicates_of, rows_of
from pipeline.plan.units import Unit


def read_fingerprinted(unit: Unit, embedding: Embedding, root: Root) -> pa.Table:
    """One unit: clean rows of its category, fingerprinted."""
    table = rows_of(unit, embedding.catalog, embedding.shards, duplicates_of(unit))
    if unit.category:
        table = table.filter(pc.equal(table.column(PARTITION), unit.category))
    return fingerprint_rows(table, embedding.catalog, root)
