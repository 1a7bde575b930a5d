"""A column of vectors: float16 bytes, null where there is none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from foundation.arrays import Mask, Vectors
from pipeline.catalog.stage_columns import vector_type

Halves = npt.NDArray[np.float16]


def no_vectors(n: int, dim: int | None) -> pa.Array:
    """A column of `n` nulls. Their bytes are zeros that take no memory until somebody reads them."""
    if dim is None:
        return pa.nulls(n)
    validity = np.zeros((n + 7) // 8, np.uint8)
    return pa.Array.from_buffers(vector_type(dim), n, [pa.py_buffer(validity), pa.py_buffer(np.zeros(n * dim, "<f2"))])


def with_vectors(
    column: pa.ChunkedArray, rows: Sequence[int] | npt.NDArray[np.int64], vectors: Vectors | Halves
) -> pa.Array:
    """`column` with (m, d) float32 `vectors`, rounded to float16, at `rows`; the others are as they were."""
    halves, there = halves_of(column, vectors.shape[1])
    halves = halves.copy() if there.any() else np.zeros(halves.shape, np.float16)
    positions = np.asarray(rows, dtype=np.int64)
    halves[positions] = vectors
    there[positions] = True
    validity = np.packbits(there, bitorder="little")
    return pa.Array.from_buffers(column.type, len(column), [pa.py_buffer(validity), pa.py_buffer(halves)])


def vectors_of(batch: pa.Table, name: str, dim: int | None) -> tuple[Vectors, Mask]:
    """((n, dim) float32 with zeros where null, (n,) bool of what is there); (n, 0) for a tower that is absent."""
    n = batch.num_rows
    if dim is None:
        return np.zeros((n, 0), dtype=np.float32), np.zeros(n, dtype=bool)
    halves, there = halves_of(batch.column(name), dim)
    return halves.astype(np.float32), there


def halves_of(column: pa.ChunkedArray, dim: int) -> tuple[Halves, Mask]:
    """The (n, dim) float16 of a column, which are not to be written to, and (n,) bool of what is there."""
    array = column.combine_chunks()
    there = array.is_valid().to_numpy(zero_copy_only=False)
    n = len(array)
    halves = np.frombuffer(array.buffers()[1], dtype=np.float16, count=n * dim, offset=array.offset * 2 * dim)
    return halves.reshape(n, dim), there
