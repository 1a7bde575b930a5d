"""The rows of a snapshot of the whole catalog, as its shards have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.stores import manifest_of


def embedded(store: Path) -> pa.Table:
    """The rows of all shards, by id."""
    return _joined(store, rejects=False).sort_by("id")


def rejected(store: Path) -> pa.Table:
    """The rejects of all shards, by place."""
    return _joined(store, rejects=True)


def matrix(table: pa.Table, column: str) -> np.ndarray:
    """(n, d) float64 of `embedding` or of a tower's float16 bytes; rows that are null are 0."""
    rows = table.column(column).to_pylist()
    found = [one if one is None else np.frombuffer(one, "<f2") if isinstance(one, bytes) else one for one in rows]
    dim = next((len(one) for one in found if one is not None), 1)
    return np.array([np.zeros(dim) if one is None else one for one in found], np.float64)


def _joined(store: Path, rejects: bool) -> pa.Table:
    paths = [file.path for file in manifest_of(store).files() if file.path.startswith("shards/")]
    wanted = [path for path in paths if path.endswith(".rejects.parquet") == rejects]
    tables = [pq.read_table(store / path, page_checksum_verification=True) for path in wanted]
    return (
        pa.concat_tables(tables, promote_options="default") if tables else pa.table({"id": pa.array([], pa.string())})
    )
