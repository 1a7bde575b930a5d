"""What becomes of an index where many rows are equal: equal rows are one vector, whatever their number.

Centroids and codebooks are learned from vectors that differ. K-means of equal ones gives centroids that differ by
rounding alone: rows lie in one list of them, and a query that was encoded anew opens another, empty one (2,000 equal
rows in 16 lists: no query found any). A graph cannot hold them either: where more rows are equal than a row has
neighbours, all its neighbours are its equals, and nothing leads on to the others. A partition whose vectors are too few
for what the config names is searched exactly, and its record says so.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions
from index_builders.base import EXACT, BuilderSpec, builder_spec
from index_builders.rows.training_set import TrainingSet
from index_builders.rows.vectors_file import ROWS, VectorsFile

_SEED = 1234  # of the numbers that rows are told apart by
_POINTS = 8  # that differ for each list, where there are too few for all that are asked for
_LEAST_LISTS = 16  # fewer save too little of an exact search


def marks(rows: npt.NDArray[np.float16]) -> npt.NDArray[np.uint64]:
    """A number for each of (n, d) float16 rows, (n,): equal rows have equal ones, others hardly ever (2^-64 a pair)."""
    factors = np.random.default_rng(_SEED).integers(0, 2**63, rows.shape[1], dtype=np.uint64) | np.uint64(1)
    bits = (rows + np.float16(0)).view(np.uint16)  # -0 and 0 are equal, their bits are not
    mixed = bits.astype(np.uint64)
    mixed = (mixed ^ (mixed << np.uint64(21))) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    with np.errstate(over="ignore"):
        return np.asarray((mixed * factors).sum(axis=1, dtype=np.uint64))


def firsts(vectors: VectorsFile, positions: Positions) -> Positions:
    """Of rising `positions`, (n,) int64, those whose row equals no earlier one of them."""
    found = np.concatenate([np.empty(0, np.uint64), *(marks(vectors.rows[part]) for part in _parts(positions))])
    return positions[np.sort(np.unique(found, return_index=True)[1])]


def most_alike(vectors: VectorsFile) -> int:
    """How many rows the most frequent vector has."""
    found = np.concatenate([marks(vectors.rows[part]) for part in _parts(np.arange(len(vectors)))])
    return int(np.unique(found, return_counts=True)[1].max())


def instead(spec: BuilderSpec, vectors: VectorsFile, learned_from: TrainingSet) -> tuple[BuilderSpec, str]:
    """The spec to build of `vectors`, and why it is not `spec`; empty where it is. Fewer lists, else exact search."""
    learned, needed = len(learned_from), spec.least_rows(vectors.dim)
    if learned < needed <= learned_from.drawn:
        why = f"{learned:,} of {learned_from.drawn:,} rows to learn from differ, {spec.type} needs {needed:,} that do"
        lists = 2 ** math.floor(math.log2(max(1, learned // _POINTS)))
        fewer = spec.model_copy(update={"nlist": lists})
        if lists >= _LEAST_LISTS and fewer.least_rows(vectors.dim) <= learned:
            return fewer, f"{lists:,} lists: {why}"
    elif spec.most_alike is not None and (alike := most_alike(vectors)) > spec.most_alike:
        why = f"{alike:,} rows are equal, {spec.type} finds its way among {spec.most_alike:,} at most"
    else:
        return spec, ""
    return builder_spec(EXACT), f"searched exactly: {why}"


def _parts(positions: Positions) -> list[Positions]:
    return np.array_split(positions, max(1, -(-len(positions) // ROWS)))
