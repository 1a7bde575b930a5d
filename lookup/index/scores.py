"""The scores of some rows of an index, whatever a search would find."""

from __future__ import annotations

import faiss
import numpy as np

from foundation.arrays import Positions, Vectors
from foundation.errors import InputError
from lookup.index.partition_index import PartitionIndex
from lookup.index.subset import search_subset, subset_of


def scores_of(index: PartitionIndex, xq: Vectors, positions: Positions) -> Vectors:
    """(nq, n) float32: how `index` scores its rows at `positions`, (n,) int64 without repetition, for (nq, dim) float32
    queries; as a search scores them, to rounding: by whole vectors, by refine vectors, or by codes where there are
    these alone.
    """
    if len(positions) and (positions.min() < 0 or positions.max() >= index.rows):
        came = f"{positions.min()} to {positions.max()}"
        raise InputError(f"positions from 0 to {index.rows - 1}", came, "drop the -1 of missing hits")
    stored = index.metric.stored(index.checked(xq))
    if index.refine is not None:
        return index.refine.scores(stored, np.broadcast_to(positions, (len(stored), len(positions))))
    if index.nlist:
        return _searched(index, xq, positions)
    vectors = faiss.downcast_index(index.faiss_index)
    if isinstance(vectors, faiss.IndexHNSW):
        vectors = faiss.downcast_index(vectors.storage)
    rows = vectors.reconstruct_batch(positions)
    return index.metric.scores(stored, np.broadcast_to(rows, (len(stored), *rows.shape)))


def _searched(index: PartitionIndex, xq: Vectors, positions: Positions) -> Vectors:
    """By a search among these rows only: inverted lists have no way from a row to its code."""
    mask = np.zeros(index.rows, np.bool_)
    mask[positions] = True
    # every list that holds one of them, so that none is missed
    found, at = search_subset(index, xq, len(positions), index.nlist, subset_of(index, mask))
    order = np.argsort(positions, kind="stable")
    scores = np.empty(found.shape, np.float32)
    places = order[np.searchsorted(positions[order], at)]
    np.put_along_axis(scores, places, found, axis=1)
    return scores
