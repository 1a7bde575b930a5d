"""Search among some rows of a partition only: a filter's rows, and how they are found.

A filter may keep few rows, or rows that lie together far from the query, where a search that is tuned for all rows
looks in vain. So a search among `m` rows of `n` is either exact, or looks wider:

    flat, hnsw      every kept row is scored, always. A graph is walked towards the query, so that of kept rows which
                    lie elsewhere it sees few: recall 0.32 for a tenth of the rows (docs/benchmarks/filters.md).
    refine vectors  every kept row is scored by them, where that is counted to cost less than FAISS does.
    inverted lists  else FAISS, which skips the other rows: only lists that hold kept rows, and so many of them that as
                    many kept rows are looked at as the tuned nprobe looks at rows of all; twice as many, up to
                    all, where that is not enough for k hits. Where kept rows crowd together, more.

Crowding is how much likelier two kept rows share a list than two rows of all: 1 for a filter at random, 1 / share for
one that keeps a whole region. Kept rows that crowd are seen from outside by most queries, alike far away, and codes
tell them apart worse. Measured on 100,000 clustered rows with whole categories kept, half and a tenth of the rows, and
indexes tuned to 0.95: with as many kept rows and candidates as tuned, ivf_rabitq found 0.68 to 0.81 and ivf_flat 0.84;
with four times the rows and eight times the candidates 0.95 to 0.99.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions, Vectors
from foundation.errors import InputError
from lookup.index.partition_index import PartitionIndex
from lookup.index.ranking import best, enough, filled_up

# ns, of single queries on one thread (AMD Zen 4, FAISS 1.15.1, 64 and 256 dimensions): to score a row by refine
# vectors and put it in order, fixed and per dimension; to look at a row of a list, and at a list; to keep a candidate.
_SQ8, _FP16 = (15.0, 0.3), (15.0, 0.5)
_ROW, _LIST, _KEPT = 8.0, 400.0, 300.0
_CALL, _CENTROID = 50_000.0, 0.14  # a call of FAISS; per dimension to compare a centroid
_CROWDED = 2.0  # crowding from which on nothing more is gained by looking wider
_NUMBERS = 1 << 20  # numbers of refine vectors scored at a time


@dataclass(frozen=True)
class RowSubset:
    """The rows that a search may return: `positions` (m,) int64, rising, of an index of `rows` rows.

    `lists` (l,) int64 are the inverted lists that hold them, `listed` all rows in these; both empty where there are
    none. FAISS copies no array: each selector keeps the one that it reads. Threads may share it.
    """

    positions: Positions
    rows: int
    lists: Positions
    listed: int
    crowding: float
    by_bit: Any  # faiss.IDSelectorBitmap: whether a row is kept, at once
    by_number: Any  # faiss.IDSelectorArray of positions: where FAISS goes through them and nothing else
    by_list: Any  # faiss.IDSelectorArray of lists

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_], list_of: npt.NDArray[np.int32] | None) -> RowSubset:
        """The rows where `mask` (n,) bool is true; `list_of` (n,) int32 is the list of each row, None: there are no
        lists.
        """
        positions = np.flatnonzero(mask).astype(np.int64)
        lists, listed, crowding = np.empty(0, np.int64), 0, 1.0
        if list_of is not None:
            sizes = np.bincount(list_of)
            kept = np.bincount(list_of[positions], minlength=len(sizes))
            lists, listed = np.flatnonzero(kept).astype(np.int64), int(sizes[kept > 0].sum())
            crowding = _shared(kept) / (_shared(sizes) or 1.0)
        return cls(
            positions,
            len(mask),
            lists,
            listed,
            crowding,
            faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little")),  # type: ignore[call-arg,arg-type]  # the stubs
            faiss.IDSelectorArray(positions),
            faiss.IDSelectorArray(lists),
        )

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.positions.nbytes + self.lists.nbytes + self.rows // 8


def subset_of(index: PartitionIndex, mask: npt.NDArray[np.bool_]) -> RowSubset:
    """The rows of `index` where `mask` (rows,) bool is true, for `search_subset`; used again for one filter."""
    if mask.shape != (index.rows,):
        raise InputError(f"a mask of shape ({index.rows},)", f"shape {mask.shape}", "say of each row if it is kept")
    return RowSubset.of(mask, index.list_of if index.nlist else None)


def search_subset(
    index: PartitionIndex, xq: Vectors, k: int, nprobe: int | None, subset: RowSubset
) -> tuple[Vectors, Positions]:
    """(nq, k) float32 scores and int64 positions: `index.search`, in which no row comes that is not one of `subset`."""
    if k < 1 or len(subset) == index.rows:
        return index.search(xq, k, nprobe)
    stored = index.metric.stored(index.checked(xq))
    if not len(subset):
        return best(np.empty((len(xq), 0), np.float32), np.empty((len(xq), 0), np.int64), k)
    return best(*_among(index, stored, k, index.wide(nprobe), subset), k)


def _shared(sizes: npt.NDArray[np.int64]) -> float:
    """How likely two different rows lie in one list, of lists of these sizes."""
    rows = int(sizes.sum())
    return float((sizes * (sizes - 1.0)).sum() / (rows * (rows - 1.0))) if rows > 1 else 0.0


@dataclass(frozen=True)
class Reach:
    """How far a search goes: every kept row is scored (`lists` 0), or so many lists and candidates are looked at."""

    lists: int
    candidates: int


def reach(index: PartitionIndex, subset: RowSubset, k: int, nprobe: int) -> Reach:
    """How far to go for `k` of the kept rows, where the index is tuned to `nprobe` of its lists for rows of all.

    By count, not by clock: the same question always has the same answer.
    """
    m = len(subset)
    if index.refine is not None and not index.nlist:
        return Reach(0, m)
    wider = min(_CROWDED, max(1.0, subset.crowding))
    rows = wider**2 * nprobe * subset.rows / index.nlist  # kept ones to look at
    lists = min(len(subset.lists), math.ceil(rows * len(subset.lists) / m))
    candidates = index.candidates_for(k, index.refine_factor)
    if index.refine is None:
        return Reach(lists, min(m, candidates))
    candidates = min(m, math.ceil(wider**3 * candidates))
    fixed, per_dim = _FP16 if index.refine.range is None else _SQ8
    row = fixed + per_dim * index.dim
    looked = lists * (_LIST + _ROW * subset.listed / len(subset.lists))
    found = _CALL + _CENTROID * index.ivf.d * index.nlist + looked + candidates * (_KEPT + row)
    return Reach(0, m) if m * row <= found else Reach(lists, candidates)


def _among(index: PartitionIndex, stored: Vectors, k: int, nprobe: int, subset: RowSubset) -> tuple[Vectors, Positions]:
    """The kept rows that come into question for the `k` best of each `stored` query (nq, d): scores and positions,
    (nq, c), as what ranks hits scores them; -1 where there is no row.
    """
    if not index.nlist and index.refine is None:
        return index.compared(stored, min(k, len(subset)), _parameters(sel=subset.by_number), len(subset))
    far = reach(index, subset, k, nprobe)
    if not far.lists:
        return _all_scored(index, stored, subset)
    wanted = min(len(subset), index.wanted(k))

    def search(xq: Vectors, lists: int) -> tuple[Vectors, Positions]:
        return _listed(index, xq, Reach(lists, far.candidates), subset)

    found = enough(search, stored, wanted, far.lists, len(subset.lists))
    scores, positions = filled_up(found, wanted, subset.positions)
    if index.refine is not None:
        scores = index.refine.scores(stored, positions)
    return scores, positions


def _listed(index: PartitionIndex, stored: Vectors, far: Reach, subset: RowSubset) -> tuple[Vectors, Positions]:
    """What FAISS finds in the nearest of the lists that hold kept rows."""
    params: Any = faiss.SearchParametersIVF(  # type: ignore[call-arg]  # the stubs lack the keywords
        nprobe=far.lists, sel=subset.by_bit, quantizer_params=_parameters(sel=subset.by_list)
    )
    if isinstance(index.faiss_index, faiss.IndexPreTransform):
        params = faiss.SearchParametersPreTransform(index_params=params)  # type: ignore[call-arg]
    scores, positions = index.faiss_index.search(stored, far.candidates, params=params)
    return index.metric.from_faiss(scores), positions


def _all_scored(index: PartitionIndex, stored: Vectors, subset: RowSubset) -> tuple[Vectors, Positions]:
    """Every kept row with its score by the refine vectors, some at a time."""
    assert index.refine is not None
    step = max(1, _NUMBERS // index.dim)
    parts = [subset.positions[start : start + step] for start in range(0, len(subset), step)]
    each = [np.broadcast_to(part, (len(stored), len(part))) for part in parts]
    scores = np.concatenate([index.refine.scores(stored, part) for part in each], axis=1)
    return scores, np.broadcast_to(subset.positions, scores.shape)


def _parameters(sel: Any) -> Any:
    return faiss.SearchParameters(sel=sel)  # type: ignore[call-arg]  # the stubs lack the keywords
