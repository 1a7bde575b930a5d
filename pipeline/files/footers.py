"""Column chunks as a footer has them, and nothing of them before Arrow has found them readable.

`RowGroupMetaData.column` and `ColumnChunkMetaData.statistics` end the whole process where a footer is damaged: what
Arrow throws there, pyarrow does not catch. Arrow's reader looks at the same chunks, and what it throws is caught. So
the reader is asked first, and the statistics never. Nothing else in the pipeline may ask a catalog's footer for either.
"""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from foundation.errors import InputError
from foundation.machine import machine_fault
from pipeline.files.discover import UNREADABLE, first_line

_SIZE = 2**62  # bytes of a file without bytes: no chunk lies behind its end


class Leaf(NamedTuple):
    """One of the Parquet columns that a column of the file consists of."""

    number: int
    schema: pq.ColumnSchema


class Chunks(NamedTuple):
    """The chunks of some columns in the row group `number`, which has `rows` rows."""

    number: int
    rows: int
    pairs: Sequence[tuple[Leaf, pq.ColumnChunkMetaData]]


def chunks_of(path: str, metadata: pq.FileMetaData, groups: Sequence[int], names: Collection[str]) -> list[Chunks]:
    """The chunks of the columns `names` in each of some row groups; InputError where the footer is damaged there."""
    leaves = _leaves(metadata, names)
    _refuse_damaged(path, metadata, groups, leaves)
    found = []
    for number in groups:
        group = metadata.row_group(number)
        pairs = [(leaf, group.column(leaf.number)) for leaf in leaves]
        for leaf, chunk in pairs:
            if chunk.physical_type != leaf.schema.physical_type:  # Arrow would take the bytes of one for the other's
                said = f"{leaf.schema.physical_type}, and {chunk.physical_type} in row group {number}"
                raise _damaged(path, f"column {leaf.schema.path} is {said}")
        found.append(Chunks(number, group.num_rows, pairs))
    return found


# --- inside ---


def _leaves(metadata: pq.FileMetaData, names: Collection[str]) -> list[Leaf]:
    wanted, schema = {*names}, metadata.schema
    every = (Leaf(i, schema.column(i)) for i in range(metadata.num_columns))
    return [leaf for leaf in every if any(one in wanted for one in _ways(leaf.schema.path))]


def _ways(path: str) -> list[str]:
    """A path and those of all that holds it: `a.b.c`, `a.b`, `a`. A dot may also be part of a name."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


class _Nothing(io.RawIOBase):
    """A file that has a size and no bytes; `asked` tells whether anyone wanted some."""

    def __init__(self) -> None:
        self.asked = False
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: _SIZE}
        self._at = start[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        self.asked = True
        return b""


def _refuse_damaged(path: str, metadata: pq.FileMetaData, groups: Sequence[int], leaves: Sequence[Leaf]) -> None:
    """InputError for chunks that Arrow cannot make sense of. With `pre_buffer` it looks at all of them before it reads
    any, and here there is nothing to read: that costs no input, and about a microsecond a chunk.
    """
    if not groups or not leaves:
        return
    nothing = _Nothing()
    try:
        with pq.ParquetFile(pa.PythonFile(nothing, "r"), metadata=metadata, pre_buffer=True) as file:
            file.reader.read_row_groups(list(groups), [leaf.number for leaf in leaves], use_threads=False)
    except UNREADABLE as err:
        if not nothing.asked:
            raise machine_fault(err) or _damaged(path, first_line(err)) from err


def _damaged(path: str, came: str) -> InputError:
    return InputError(
        "a Parquet file whose footer is whole",
        f"{path}: {came}",
        "write the file again, or leave it out of catalog.path",
    )
