"""Row groups decoded a piece at a time, within the bytes that a worker may hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from encoders.errors import InputError, VitrineError
from encoders.liveness import beat
from encoders.machine import machine_fault
from pipeline.catalog import columns
from pipeline.catalog.files import UNREADABLE, first_line

# Rows of a unit at most. A larger row group is cut into pieces of so many, and each costs decoding what stands before
# it: pieces of half the size would cost twice the decoding, of twice the size twice the memory.
PIECE_ROWS = 32_768
_BATCH_ROWS = 4_096  # decoded at a time
_MOST_BYTES = 2**30  # whatever is allowed: Arrow's strings end at 2 GB, and cleaning can make text longer


def unit_table(
    file: pq.ParquetFile, path: str, groups: Sequence[int], first_row: int, names: Sequence[str], max_bytes: int
) -> pa.Table:
    """Some columns of a unit: at most PIECE_ROWS rows of `groups` from `first_row` on."""
    pieces = pieces_of(file, path, groups, names, max_bytes)
    table = next(itertools.islice(pieces, first_row // PIECE_ROWS, None), None)
    return file.schema_arrow.empty_table().select(names) if table is None else table


def pieces_of(
    file: pq.ParquetFile, path: str, groups: Sequence[int], names: Sequence[str], max_bytes: int
) -> Iterator[pa.Table]:
    """Some columns of some row groups, PIECE_ROWS rows at a time; the last has what is left. No other piece is held."""
    limit = min(max_bytes, _MOST_BYTES)
    held: list[pa.RecordBatch] = []
    room, size, done = PIECE_ROWS, 0, 0
    for batch in _batches(file, path, groups, names):
        size += sum(map(columns.plain_bytes, batch.columns))
        if size > limit:
            rows = f"rows {done:,} to {done + PIECE_ROWS - room + batch.num_rows - 1:,}"
            raise InputError(
                f"at most {limit:,} bytes in the columns used by {PIECE_ROWS:,} rows, because a worker holds them",
                f"{path}: {rows} of row groups {groups[0]} to {groups[-1]} have {size:,} bytes once decoded",
                "write the catalog with smaller row groups (row_group_size=...), or raise shards.max_unit_bytes, "
                f"of which {_MOST_BYTES:,} count",
            )
        while batch.num_rows >= room:
            yield pa.Table.from_batches([*held, batch.slice(0, room)])
            batch, held, done = batch.slice(room), [], done + PIECE_ROWS
            room, size = PIECE_ROWS, sum(map(columns.plain_bytes, batch.columns))
        if batch.num_rows:
            held.append(batch)
            room -= batch.num_rows
    if held:
        yield pa.Table.from_batches(held)


def picked(file: pq.ParquetFile, path: str, group: int, names: Sequence[str], rows: Sequence[int]) -> pa.Table:
    """Some columns of the rising `rows` of a row group; the others are decoded a few at a time and dropped."""
    found, start, at = [], 0, np.asarray(rows, dtype=np.int64)
    for batch in _batches(file, path, [group], names):
        inside = at[(at >= start) & (at < start + batch.num_rows)] - start
        if len(inside):
            found.append(batch.take(pa.array(inside)))
        start += batch.num_rows
    return pa.Table.from_batches(found)


# --- inside ---


def _batches(file: pq.ParquetFile, path: str, groups: Sequence[int], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of some row groups, decoded as they are asked for; VitrineError when the bytes cannot be read."""
    try:
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=list(groups), columns=list(names), use_threads=False):
            beat()
            yield batch
    except UNREADABLE as err:
        raise machine_fault(err) or VitrineError(
            f"row groups {groups[0]} to {groups[-1]} of {path} to be readable",
            first_line(err),
            "write this catalog file again; nothing was published, and the next run goes on from here",
        ) from err
