"""Exact search over the vectors that the shards of a snapshot hold: the truth that fusion and indexes are held against.

Rows are numbered through the whole snapshot, partition by partition in order of name and then of position, so that
equal scores in order of number are in the order that `lookup.search.Reader` has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from foundation.arrays import Vectors
from foundation.metric import Metric
from index_builders.rows.shards import SegmentRef, read_ids
from lookup.index.ranking import ranked
from lookup.store.manifest import Manifest
from lookup.store.store import Store

Numbers = npt.NDArray[np.int64]

# FAISS computes 20 queries and more at once by BLAS (distance_compute_blas_threshold), which rounds otherwise than the
# search of a single query does; with fewer, a score here is the score there.
_QUERIES = 16
_BLOCK_ROWS = 65_536  # 335 MB at 1,280 dimensions


@dataclass(frozen=True)
class Part:
    """One partition: where its rows lie, and the number of the first."""

    name: str
    first: int
    rows: int
    segments: tuple[SegmentRef, ...]


def parts_of(store: Store, manifest: Manifest) -> list[Part]:
    """The partitions in order of name; the digest of every shard is checked."""
    paths: dict[str, Path] = {}
    named = list[tuple[str, list[SegmentRef]]]()
    for name in sorted(partition.name for partition in manifest.partitions):
        refs = list[SegmentRef]()
        for one in manifest.shards.located(name):
            if one.file.path not in paths:
                paths[one.file.path] = store.verified(one.file)
            refs.append(SegmentRef(paths[one.file.path], one.row_group, one.rows, one.digest))
        named.append((name, refs))
    sizes = [sum(ref.rows for ref in refs) for _, refs in named]
    firsts = [0, *accumulate(sizes)]
    return [Part(name, firsts[i], sizes[i], tuple(refs)) for i, (name, refs) in enumerate(named)]


def ids_of(parts: Sequence[Part]) -> pa.ChunkedArray:
    """The id of every row, by number."""
    return pa.chunked_array([read_ids(ref) for part in parts for ref in part.segments], pa.string())


def has_column(parts: Sequence[Part], column: str) -> bool:
    """Whether every shard has `column`: tower vectors can be left out by `shards.towers`."""
    paths = {ref.path for part in parts for ref in part.segments}
    return all(column in pq.read_schema(path).names for path in paths)


def rank(
    parts: Sequence[Part],
    column: str,
    xq: Vectors,
    within: Sequence[str | None],
    k: int,
    metric: Metric = Metric.INNER_PRODUCT,
    before: Callable[[Vectors], Vectors] | None = None,
) -> Numbers:
    """The numbers of the k rows whose `column` scores best by `metric`, (nq, k) int64, filled with -1.

    `xq` is (nq, d) float32; `within` names the partition that a query asks in, None for all. Rows without a vector are
    not found. `before` is what becomes of rows before they are compared.
    """
    asked = metric.stored(np.ascontiguousarray(xq, dtype=np.float32))
    scores = np.full((len(xq), k), -np.inf, dtype=np.float32)
    numbers = np.full((len(xq), k), -1, dtype=np.int64)
    for part in parts:
        asking = np.array([i for i, name in enumerate(within) if name in (None, part.name)], dtype=np.int64)
        if not len(asking):
            continue
        for rows, found in vector_blocks(part, column):
            block = metric.stored(rows if before is None else before(rows))
            for start in range(0, len(asking), _QUERIES):
                few = asking[start : start + _QUERIES]
                near, at_row = _nearest(asked[few], block, min(k, len(block)), metric)
                best, at = np.hstack([scores[few], near]), np.hstack([numbers[few], found[at_row]])
                order = np.lexsort((at, -best), axis=-1)[:, :k]
                scores[few], numbers[few] = np.take_along_axis(best, order, 1), np.take_along_axis(at, order, 1)
    return numbers


def _nearest(xq: Vectors, block: Vectors, k: int, metric: Metric) -> tuple[Vectors, Numbers]:
    """The k best rows of a block for each query: of equal ones the first, as a search has them."""

    def search(some: Vectors, count: int) -> tuple[Vectors, Numbers]:
        scores, at = faiss.knn(some, block, count, metric=metric.faiss)
        return metric.from_faiss(scores), at

    return ranked(search, xq, k, len(block))


def vector_blocks(part: Part, column: str) -> Iterator[tuple[Vectors, Numbers]]:
    """(vectors (n, d) float32, their numbers (n,) int64), without rows that have none."""
    waiting: list[tuple[Vectors, Numbers]] = []
    rows, start = 0, part.first
    for ref in part.segments:
        with pq.ParquetFile(ref.path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_BLOCK_ROWS, row_groups=[ref.row_group], columns=[column]):
                values = batch.column(0)
                there = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
                if rows and rows + len(there) > _BLOCK_ROWS:
                    yield _joined(waiting)
                    waiting, rows = [], 0
                waiting.append((_matrix(values)[there], there + start))
                rows, start = rows + len(there), start + len(values)
    if rows:
        yield _joined(waiting)


def _joined(waiting: Sequence[tuple[Vectors, Numbers]]) -> tuple[Vectors, Numbers]:
    return np.concatenate([vectors for vectors, _ in waiting]), np.concatenate([numbers for _, numbers in waiting])


def _matrix(values: pa.Array) -> Vectors:
    """(n, d) float32 of an `embedding` column, or of a tower's column of float16 bytes; null rows hold anything."""
    if not pa.types.is_fixed_size_binary(values.type):
        return np.asarray(values.flatten().to_numpy()).reshape(len(values), values.type.list_size)
    width = values.type.byte_width
    halves = np.frombuffer(
        values.buffers()[1], dtype="<f2", count=len(values) * width // 2, offset=values.offset * width
    )
    return halves.reshape(len(values), width // 2).astype(np.float32)
