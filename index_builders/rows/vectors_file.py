"""A partition's vectors, kept in one float16 file while its index is built: read once, then sampled, searched, scored.

Embeddings are float16 numbers (see shards.py), so the file holds them exactly. It is scratch: refine vectors, fp16
ones too, are a file of their own. Two bytes a number on disk, and no memory but the pages in use.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions, Vectors
from foundation.errors import IntegrityError
from foundation.metric import Metric
from index_builders.fill.compute import CPU, Compute
from index_builders.fill.threads import in_order
from lookup.index.refine import appended

ROWS = 16_384  # rows as float32 at a time: 16 MB at 256 dimensions; part of what an index's bytes depend on
_NUMBERS = 1 << 22


def part_count(rows: int, part_rows: int) -> int:
    """How many parts so many rows are built as, of `part_rows` rows up to whole blocks: more threads would find nothing
    to do.
    """
    return max(1, -(-rows // whole_blocks(part_rows)))


def whole_blocks(rows: int) -> int:
    """`rows` rounded up to blocks of `ROWS`: the size of a part, so that parts give the bytes of one go."""
    return -(-rows // ROWS) * ROWS


@dataclass(frozen=True)
class VectorsFile:
    """(n, d) float16 rows, how they are compared, and where their index is made."""

    rows: npt.NDArray[Any]
    metric: Metric
    compute: Compute = CPU

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """Length of a row."""
        return int(self.rows.shape[1])

    def at(self, positions: Positions) -> Vectors:
        """The rows at `positions`, (n, d) float32, as `metric.stored` has them."""
        found = np.empty((len(positions), self.dim), dtype=np.float32)
        for start in range(0, len(positions), ROWS):  # without the float16 copy of all of them
            found[start : start + ROWS] = self.metric.stored(
                self.rows[positions[start : start + ROWS]].astype(np.float32)
            )
        return found

    def blocks(self) -> Iterator[Vectors]:
        """All rows in order, (n, d) float32, as `metric.stored` has them."""
        for start in range(0, len(self.rows), ROWS):
            yield self.metric.stored(self.rows[start : start + ROWS].astype(np.float32))
        self._forget()

    def _forget(self) -> None:
        """Let go of the file's pages, which count as this process's memory until the kernel wants the room."""
        base: Any = self.rows.base
        while base is not None and not isinstance(base, mmap.mmap):
            base = getattr(base, "base", None)
        if base is not None and sys.platform == "linux":
            base.madvise(mmap.MADV_DONTNEED)

    def nearest(self, xq: Vectors, k: int) -> tuple[Vectors, Positions]:
        """Exact search of (nq, d) float32 `stored` queries: scores and positions (nq, k), see `exact_neighbours`."""
        return exact_neighbours(xq, self.blocks(), k, self.metric)

    def scores(self, xq: Vectors, positions: Positions) -> Vectors:
        """(nq, c) float32 true scores of `stored` queries with the rows at `positions`; -inf where that is -1."""
        scores = np.empty(positions.shape, dtype=np.float32)
        step = max(1, _NUMBERS // max(1, positions.shape[1] * self.dim))
        for start in range(0, len(xq), step):
            part = positions[start : start + step]
            rows = self.at(np.maximum(part, 0).ravel()).reshape(*part.shape, self.dim)
            scores[start : start + step] = self.metric.scores(xq[start : start + step], rows)
        scores[positions < 0] = -np.inf
        return scores


def keep(
    blocks: Iterable[Vectors], rows: int, dim: int, metric: Metric, path: Path, compute: Compute = CPU
) -> VectorsFile:
    """Write the `rows` rows of `blocks`, (n, dim) float32, to `path` and open it; IntegrityError for other numbers."""
    with path.open("wb") as out:
        for _ in appended(map(_halves, blocks), (rows, dim), "<f2", out):
            pass
    return VectorsFile(np.asarray(np.load(path, mmap_mode="r", allow_pickle=False)), metric, compute)


def _halves(block: Vectors) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):  # what does not fit becomes infinite, and is refused below
        halves = block.astype("<f2")
    if not np.array_equal(halves, block):
        raise IntegrityError(
            "embeddings whose values are float16 numbers, so that refine vectors are equal to them",
            f"a value that is {np.abs(halves - block).max():g} off its float16 number",
            "round the embeddings to float16 before they are written to a shard",
        )
    return halves


def exact_neighbours(xq: Vectors, xb: Iterable[Vectors], k: int, metric: Metric) -> tuple[Vectors, Positions]:
    """Exact search of (nq, d) float32 queries in blocks of (n, d) float32, both `stored`, in the memory of one block.

    Scores (nq, k) float32, descending, ties by position; positions (nq, k) int64; padded with -inf and -1.
    """
    scores = np.full((len(xq), k), -np.inf, dtype=np.float32)
    positions = np.full((len(xq), k), -1, dtype=np.int64)
    start = 0

    def near(block: Vectors) -> tuple[Vectors, Positions, int]:
        block_scores, found = faiss.knn(xq, block, min(k, len(block)), metric=metric.faiss)
        return metric.from_faiss(block_scores), found, len(block)

    for block_scores, found, size in in_order(near, xb):
        scores, positions = np.hstack([scores, block_scores]), np.hstack([positions, found + start])
        order = np.lexsort((positions, -scores), axis=-1)[:, :k]
        scores, positions = np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
        start += size
    return scores, positions
