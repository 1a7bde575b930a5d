"""How good an index is: recall@k against exact search with an interval, and how long a query takes.

Queries are held-out rows of the partition, never trained on. A row is not an answer to itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions, Vectors
from foundation.metric import Metric
from foundation.ranking_metrics import intervals
from index_builders.fill.threads import in_order, threads
from index_builders.rows.vectors_file import VectorsFile
from lookup.index.partition_index import PartitionIndex

# The rounding of one float32 operation; a sum of d products of two rows is off by at most d times this, times their
# lengths (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
_ROUNDING = 2.0**-24
_PART = 16  # queries asked at once: with many lists to look at, FAISS takes 100 KB for each of them and list
_POOL = 16  # answers beyond k that are known: ties at the k-th place are nearly always among them


@dataclass(frozen=True)
class HeldOut:
    """Queries with their true answers: `xq` (nq, d) float32 as they came, their own positions (nq,), k.

    A query that is no row has an own position below -1.

    `worst` (nq,) float32 is the score that an answer must reach, -inf where every row is one; `wanted` (nq,) how many
    answers there are, k or fewer; `pool` (nq, p) the best positions, own left out, and `known` (nq,) whether they hold
    every row that reaches `worst`.
    """

    xq: Vectors
    own: Positions
    k: int
    worst: Vectors
    wanted: Positions
    pool: Positions
    known: npt.NDArray[np.bool_]
    vectors: VectorsFile

    def parts(self) -> list[Vectors]:
        """The queries, (n, d) float32 each, as `in_parts` cuts them."""
        return in_parts(self.xq)

    def right(self, positions: Positions) -> npt.NDArray[np.bool_]:
        """(nq, c) bool: which of the positions (nq, c) int64 are true answers: other rows that score as well as the
        k-th, or better.
        """
        row = np.arange(len(positions))[:, None] * len(self.vectors)
        found = (positions >= 0) & np.isin(positions + row, (self.pool + row)[self.pool >= 0])
        unknown = np.flatnonzero(~self.known)
        if len(unknown):  # rows that are equal to many others: their scores decide
            asked = self.vectors.metric.stored(self.xq[unknown])
            found[unknown] = self.vectors.scores(asked, positions[unknown]) >= self.worst[unknown, None]
        return np.asarray(found & (positions != self.own[:, None]) & (positions >= 0))

    def recalls(self, positions: Positions) -> npt.NDArray[np.float64]:
        """recall@k of each query, (nq,) float64 in 0..1, for answers (nq, c) int64 best first, of which the first k
        others count.
        """
        others, right = positions != self.own[:, None], self.right(positions)
        right &= np.cumsum(others, axis=1) <= self.k
        share = np.minimum(right.sum(axis=1), self.wanted) / np.maximum(self.wanted, 1)
        return np.asarray(share + (self.wanted == 0))  # one row: there is nothing to find


def in_parts(xq: Vectors) -> list[Vectors]:
    """Queries (nq, d) float32 in parts of a fixed size, since FAISS may round otherwise when it is asked for more at
    once.
    """
    return [xq[start : start + _PART] for start in range(0, len(xq), _PART)]


def held_out(xq: Vectors, own: Positions, vectors: VectorsFile, k: int) -> HeldOut:
    """The queries `xq` (nq, d) float32, which lie at `own` in `vectors`, with their true answers."""
    asked = vectors.metric.stored(xq)
    scores, positions = vectors.nearest(asked, k + 1 + _POOL)
    scores = np.where(positions == own[:, None], -np.inf, scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, positions = np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
    wanted = np.isfinite(scores[:, :k]).sum(axis=1)
    last = np.take_along_axis(scores, np.maximum(wanted - 1, 0)[:, None], 1)[:, 0]
    near = np.where(np.isfinite(scores), positions, -1)
    worst = last - (4 * xq.shape[1] * _ROUNDING * _sizes(asked, near, vectors)).astype(np.float32)
    pool = np.where(np.isfinite(scores) & (scores >= worst[:, None]), positions, -2)
    known = pool[:, k + _POOL - 1] < 0
    return HeldOut(xq, own, k, worst.astype(np.float32), wanted, pool, known, vectors)


def _sizes(asked: Vectors, near: Positions, vectors: VectorsFile) -> npt.NDArray[np.float64]:
    """(nq,) how much a score of each `stored` query (nq, d) with a row at its `near` (nq, p), -1: none, adds up.

    |q| max |x|, and for L2 |q|^2 + max |x|^2. Only rows among the best count: one long row elsewhere in the partition
    would make ties of scores that differ.
    """
    lengths = np.linalg.norm(asked.astype(np.float64), axis=1)
    longest = np.array([np.linalg.norm(vectors.at(at[at >= 0]), axis=1).max(initial=0) for at in near], np.float64)
    return np.asarray(lengths**2 + longest**2 if vectors.metric is Metric.L2 else lengths * longest)


def recalls(index: PartitionIndex, queries: HeldOut, nprobe: int | None = None) -> npt.NDArray[np.float64]:
    """recall@k of each query, (nq,) float64 in 0..1, asked for k + 1 hits as a reader does."""
    found = in_order(lambda xq: index.search(xq, queries.k + 1, nprobe)[1], queries.parts())
    return queries.recalls(np.concatenate(list(found)))


def interval(values: npt.NDArray[np.float64], seed: int) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean of (nq,) float64 recalls: queries are resampled, the unit drawn."""
    low, high = intervals(values[:, None], seed)
    return float(low[0]), float(high[0])


def milliseconds(index: PartitionIndex, xq: Vectors, k: int, nprobe: int | None) -> list[float]:
    """The time of each of (nq, d) float32 queries for k hits, asked one at a time with one thread."""
    times = []
    with threads(1):
        for one in xq[:, None, :]:
            started = time.perf_counter()
            index.search(one, k, nprobe)
            times.append(1000 * (time.perf_counter() - started))
    return times
