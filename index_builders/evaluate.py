"""How good an index is: recall@k against exact search, the nprobe that reaches a target, and how long a query takes.

Queries are held-out rows of the partition, never trained on. A row is not an answer to itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import faiss
import numpy as np
import numpy.typing as npt

from lookup.index import PartitionIndex
from lookup.manifest import CurvePoint

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

# The rounding of one float32 operation; a sum of d products of unit rows is off by at most d times this (Higham,
# Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
_ROUNDING = 2.0**-24
_TIMED = 50  # queries timed at each point of the curve


@dataclass(frozen=True)
class HeldOut:
    """Queries with their true answers: `xq` (nq, d) float32, their own positions (nq,), true scores (nq, k) float32.

    The scores of a query's k best other rows, descending; -inf where the partition has fewer.
    """

    xq: Vectors
    own: Positions
    truth: Vectors


@dataclass(frozen=True)
class Quality:
    """The tuned setting of an index and what was measured: recall@k in 0..1, milliseconds per query with one thread."""

    nprobe: int
    recall: float
    curve: tuple[CurvePoint, ...]
    p50_ms: float
    p99_ms: float


def exact_neighbours(xq: Vectors, xb: Iterable[Vectors], k: int) -> tuple[Vectors, Positions]:
    """Exact search of (nq, d) float32 queries in blocks of (n, d) float32, in the memory of one block.

    Inner products (nq, k) float32, descending, ties by position; positions (nq, k) int64; padded with -inf and -1.
    """
    scores = np.full((len(xq), k), -np.inf, dtype=np.float32)
    positions = np.full((len(xq), k), -1, dtype=np.int64)
    start = 0
    for block in xb:
        block_scores, found = faiss.knn(xq, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        scores, positions = np.hstack([scores, block_scores]), np.hstack([positions, found + start])
        order = np.lexsort((positions, -scores), axis=-1)[:, :k]
        scores, positions = np.take_along_axis(scores, order, 1), np.take_along_axis(positions, order, 1)
        start += len(block)
    return scores, positions


def held_out(xq: Vectors, own: Positions, xb: Iterable[Vectors], k: int) -> HeldOut:
    """The queries `xq`, which lie at `own` in `xb`, with their true answers."""
    scores, positions = exact_neighbours(xq, xb, k + 1)
    return HeldOut(xq, own, without(scores, positions, own)[0])


def without(scores: Vectors, positions: Positions, own: Positions) -> tuple[Vectors, Positions]:
    """(nq, k + 1) answers -> (nq, k): each query's own position taken out, or the last answer where it is not there."""
    n, width = positions.shape
    mine = positions == own[:, None]
    drop = np.where(mine.any(axis=1), mine.argmax(axis=1), width - 1)
    keep = np.arange(width)[None, :] != drop[:, None]
    return scores[keep].reshape(n, width - 1), positions[keep].reshape(n, width - 1)


def recall(index: PartitionIndex, queries: HeldOut, nprobe: int | None = None) -> float:
    """recall@k in 0..1: the share of true answers found. An answer that scores as well as the k-th counts as true."""
    k = queries.truth.shape[1]
    true_answers = np.isfinite(queries.truth)
    if not true_answers.any():
        return 1.0  # one row: there is nothing to find
    scores, _ = without(*index.search(queries.xq, k + 1, nprobe), queries.own)
    worst = np.where(true_answers, queries.truth, np.inf).min(axis=1, keepdims=True)
    tie = 2 * queries.xq.shape[1] * _ROUNDING * np.maximum(1.0, np.abs(worst))
    found = np.isfinite(scores) & (scores >= worst - tie)
    return float(np.minimum(found.sum(axis=1), true_answers.sum(axis=1)).sum() / true_answers.sum())


def measure(index: PartitionIndex, queries: HeldOut, target: float) -> Quality:
    """Tune nprobe to the fewest lists that reach `target`, or to the best recall where none does; then time queries."""
    if index.nlist:
        reached, curve = _tune(lambda nprobe: _point(index, queries, nprobe), index.nlist, target)
    else:
        reached, curve = 0, (_point(index, queries, 0),)
    p50, p99 = np.percentile(_milliseconds(index, queries, reached or None, len(queries.xq)), (50, 99))
    best = next(point for point in curve if point.nprobe == reached)
    return Quality(reached, best.recall, curve, float(p50), float(p99))


def _tune(point: Callable[[int], CurvePoint], nlist: int, target: float) -> tuple[int, tuple[CurvePoint, ...]]:
    """Double nprobe until `target` is reached, then halve the gap to an eighth of it; the choice and all points."""
    points = [point(1)]
    while points[-1].recall < target and points[-1].nprobe < nlist:
        points.append(point(min(2 * points[-1].nprobe, nlist)))
    if points[-1].recall >= target:
        low, high = points[-1].nprobe // 2, points[-1].nprobe
        step = max(1, (high - low) // 8)
        while high - low > step:
            middle = (low + high) // 2
            points.append(point(middle))
            low, high = (low, middle) if points[-1].recall >= target else (middle, high)
        chosen = high
    else:
        chosen = min(points, key=lambda p: (-p.recall, p.nprobe)).nprobe
    return chosen, tuple(sorted(points, key=lambda p: p.nprobe))


def _point(index: PartitionIndex, queries: HeldOut, nprobe: int) -> CurvePoint:
    setting = nprobe or None
    times = _milliseconds(index, queries, setting, _TIMED)
    return CurvePoint(nprobe=nprobe, recall=recall(index, queries, setting), ms=float(np.median(times)))


def _milliseconds(index: PartitionIndex, queries: HeldOut, nprobe: int | None, most: int) -> list[float]:
    """The time of each of the first `most` queries, asked one at a time with one thread."""
    k, times = queries.truth.shape[1], []
    with threads(1):
        for xq in queries.xq[:most, None, :]:
            started = time.perf_counter()
            index.search(xq, k, nprobe)
            times.append(1000 * (time.perf_counter() - started))
    return times


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let FAISS use `n` OpenMP threads for what the calling thread does inside; other threads keep their own number."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(n)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def fair_share(workers: int) -> int:
    """The OpenMP threads of each of `workers` that build at once, so that together they use this machine's cores.

    More threads than cores would only wait for each other.
    """
    cores: int = faiss.omp_get_max_threads()  # what the process may use, or OMP_NUM_THREADS
    return max(1, cores // workers)
