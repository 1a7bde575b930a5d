"""What FAISS does without a word, checked on the files as readers will open them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow.compute as pc

from foundation.arrays import Positions, Vectors
from foundation.errors import IntegrityError, VitrineError
from index_builders.base import BuilderSpec
from index_builders.fill.threads import in_order, threads
from index_builders.measure.cost import list_sizes
from index_builders.measure.queries import is_row
from index_builders.measure.recall import HeldOut, in_parts
from index_builders.rows.shards import SegmentRef, ids_digest
from index_builders.rows.vectors_file import VectorsFile
from lookup.index.partition_index import PartitionIndex
from lookup.index.subset import search_subset, subset_of
from lookup.store.entries.index_record import KindRecall, Proof

_SELF_QUERIES = 200
_EXACT_QUERIES = 20  # of an exact index, whose vectors are compared with those that went in: all of them
_SELF_K = 100  # among near-duplicates, codes alone may rank 10 others before the vector itself
_SELF_BEHIND = 0.05  # of the rows that are asked for: so many may stand behind `_SELF_K` others
_SELF_TOLERANCE = 1e-4  # of the score: far more than rounding, far less than the distance to another product


def check_ids(index: PartitionIndex, segments: Sequence[SegmentRef], digests: Sequence[str]) -> None:
    """Position by position the ids of the segments, of these `ids_digest`s, none of them twice; IntegrityError
    otherwise.
    """
    start = 0
    for ref, digest in zip(segments, digests, strict=True):
        if ids_digest(index.id_column.slice(start, ref.rows), index.dim) != digest:
            expected = f"the ids of {ref.path}, row group {ref.row_group}, from position {start} on"
            raise IntegrityError(expected, "other ids", _AGAIN)
        start += ref.rows
    if pc.count_distinct(index.id_column).as_py() < index.rows:
        counts = index.id_column.value_counts()
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        came = f"{len(twice)} ids more than once, {twice[0].as_py()!r} first"
        raise IntegrityError("every id once in a partition", came, _DUPLICATES)


def check_finds_itself(index: PartitionIndex, queries: HeldOut) -> int:
    """Ask for some 200 of the rows; how many were found, or rows that score as well.

    Codes that are coarse rank a few rows behind others that are alike: recall is what bounds that, and a row that is
    found where it alone is searched is where it should be. VitrineError where one is not, or where many are lost.
    """
    rows = np.flatnonzero(is_row(queries))
    chosen = rows[spread(len(rows), _SELF_QUERIES)]
    return _find_themselves(index, queries.vectors, queries.xq[chosen], queries.own[chosen], _SELF_K)


def spread(rows: int, most: int) -> Positions:
    """(m,) int64: at most so many positions of `rows`, evenly spread."""
    return np.unique(np.linspace(0, rows - 1, min(most, rows)).astype(np.int64))


def _find_themselves(index: PartitionIndex, vectors: VectorsFile, xq: Vectors, own: Positions, k: int) -> int:
    """Ask for the rows `xq` (n, d), which lie at `own`; see `check_finds_itself`."""
    scores, positions = _search_in_parts(partial(index.search, k=min(k, index.rows)), xq)
    asked = index.metric.stored(xq)
    deserved = vectors.scores(asked, own[:, None])[:, 0]
    truly = vectors.scores(asked, positions)
    mine = positions == own[:, None]
    # A row that is not returned must have been beaten; one that is must bear its own score, or vectors lie elsewhere.
    at = np.where(mine.any(axis=1), mine.argmax(axis=1), truly.argmax(axis=1))
    score = truly[np.arange(len(own)), at]
    off = np.abs(scores[np.arange(len(own)), at] - score) / (1 + np.abs(score))
    behind = score < deserved - _SELF_TOLERANCE * np.abs(deserved)
    missed, few = off > _tolerance(index), behind.sum() <= _SELF_BEHIND * len(own)
    for row in np.flatnonzero(behind).tolist():
        missed[row] |= not few or not _is_there(index, xq[row], int(own[row]), float(deserved[row]))
    if missed.any():
        first = int(np.flatnonzero(missed)[0])
        raise VitrineError(
            f"every sampled vector of {index.name} to find itself",
            f"{int(missed.sum())} of {len(xq)} do not; position {own[first]} scores {deserved[first]:.6f}, the index "
            f"says {scores[first, at[first]]:.6f} of position {positions[first, at[first]]}",
            "raise index.large.refine_factor or index.target_recall; if that does not help, report it with the shards",
        )
    return len(xq) - int(behind.sum())


def _is_there(index: PartitionIndex, x: Vectors, at: int, deserved: float) -> bool:
    """Whether the row at `at`, of vector `x` (d,), is found by it with the score that it deserves, where no other row
    is searched. An exact index excuses none.
    """
    if not index.widest:
        return False
    subset = subset_of(index, np.arange(index.rows) == at)
    scores, positions = search_subset(index, x[None], 1, index.widest, subset)
    return bool(positions[0, 0] == at and abs(scores[0, 0] - deserved) <= _tolerance(index) * (1 + abs(deserved)))


def _tolerance(index: PartitionIndex) -> float:
    """How far the score of a row may be off: what refine vectors round, or anything where codes alone rank."""
    return np.inf if index.refine is None else index.refine.tolerance


def prove_exact(index: PartitionIndex, vectors: VectorsFile, bytes_each: tuple[float, float]) -> Proof:
    """That an index which compares every row holds the rows of `vectors`, number by number, and finds some by them."""
    start = 0
    for block in vectors.blocks():
        held = index.faiss_index.reconstruct_n(start, len(block))
        if not np.array_equal(held, block):
            row = start + int(np.flatnonzero((held != block).any(axis=1))[0])
            expected = f"the vectors of {index.name} to be those that went in"
            fix = "run `vitrine run` again: it is built anew"
            raise IntegrityError(expected, f"another one at position {row}", fix)
        start += len(block)
    own = spread(index.rows, _EXACT_QUERIES)
    return Proof(
        recall_low=1.0,
        recall_high=1.0,
        found_itself=_find_themselves(index, vectors, vectors.rows[own].astype(np.float32), own, 1),
        imbalance=None,
        score_error=0.0,
        reconstruction_error=0.0,
        memory_bytes=bytes_each[0],
        disk_bytes=bytes_each[1],
    )


def prove(
    index: PartitionIndex, spec: BuilderSpec, queries: HeldOut, least: KindRecall, bytes_each: tuple[float, float]
) -> Proof:
    """The figures of a tuned index that only looking gives; `least` is the recall of the kind of queries that has the
    least, `bytes_each` per vector, of the FAISS file and of all.
    """
    sizes = list_sizes(index) if index.nlist else None
    scores, positions = _search_in_parts(partial(index.candidates, count=min(index.rows, queries.k)), queries.xq)
    there = positions >= 0
    off = (scores - queries.vectors.scores(index.metric.stored(queries.xq), positions))[there].astype(np.float64)
    return Proof(
        recall_low=least.low,
        recall_high=least.high,
        found_itself=check_finds_itself(index, queries),
        imbalance=None if sizes is None else float(len(sizes) * (sizes.astype(np.float64) ** 2).sum() / index.rows**2),
        score_error=float(np.sqrt((off**2).mean())) if len(off) else 0.0,
        reconstruction_error=_reconstruction_error(index, spec, queries),
        memory_bytes=bytes_each[0],
        disk_bytes=bytes_each[1],
    )


def _search_in_parts(search: Callable[[Vectors], tuple[Vectors, Positions]], xq: Vectors) -> tuple[Vectors, Positions]:
    """Scores and positions of all queries (nq, d), asked in parts of a fixed size, whatever cores there are."""
    scores, positions = zip(*in_order(search, in_parts(xq)), strict=True)
    return np.concatenate(scores), np.concatenate(positions)


def _reconstruction_error(index: PartitionIndex, spec: BuilderSpec, queries: HeldOut) -> float | None:
    """mean |x - decoded x|^2 / mean |x|^2 of the held-out rows by their codes.

    None for what FAISS does not decode.
    """
    if spec.decoding != "code":
        return 0.0 if spec.decoding == "vector" else None
    x = index.metric.stored(queries.xq[is_row(queries)])
    with threads(1):
        decoded = index.faiss_index.sa_decode(index.faiss_index.sa_encode(x))
    norms = float((x.astype(np.float64) ** 2).sum())
    return float(((x - decoded).astype(np.float64) ** 2).sum()) / norms if norms else 0.0


_AGAIN = "run `vitrine verify STORE`: a shard changed while its index was built"
_DUPLICATES = "delete the run's folder and run again: the plan rejects duplicates, so a shard holds rows of two runs"
