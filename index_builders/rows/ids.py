"""ids.parquet, which lies beside every index: row p of its column `id` is the id at position p."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False)])


def write_ids(segments: Iterable[pa.Array], sink: Path | pa.NativeFile) -> None:
    """Write the ids of each of `segments`, (rows,) string without null, as a row group of its own."""
    with pq.ParquetWriter(sink, _SCHEMA, compression="zstd", use_dictionary=False, write_page_checksum=True) as writer:
        for ids in segments:
            writer.write_table(pa.Table.from_arrays([ids], schema=_SCHEMA))


def ids_bytes(segments: Iterable[pa.Array]) -> int:
    """How large that file is, written to nowhere."""
    sink = pa.MockOutputStream()
    write_ids(segments, sink)
    size: int = sink.size()
    return size
