"""ids.parquet, which lies beside every index: row p of its column `id` is the id at position p."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False)])


@contextmanager
def writing_ids(sink: Path | pa.NativeFile) -> Iterator[Callable[[pa.Array], None]]:
    """What writes the ids of a segment, (rows,) string without null, as a row group of its own."""
    with pq.ParquetWriter(sink, _SCHEMA, compression="zstd", use_dictionary=False, write_page_checksum=True) as writer:
        yield lambda ids: writer.write_table(pa.Table.from_arrays([ids], schema=_SCHEMA))


def ids_bytes(segments: Iterable[pa.Array]) -> int:
    """How large that file is of the ids of `segments`, written to nowhere."""
    sink = pa.MockOutputStream()
    with writing_ids(sink) as write:
        for ids in segments:
            write(ids)
    size: int = sink.size()
    return size
