"""The dense half of a search: the nearest embeddings of each partition."""

from __future__ import annotations

from collections.abc import Sequence

from foundation.arrays import Positions, Vectors
from lookup.candidates import Candidates
from lookup.index.subset import RowSubset, search_subset
from lookup.segments import Partition


def dense_candidates(
    xq: Vectors, within: Sequence[tuple[Partition, RowSubset | None]], k: int, nprobe: int | None
) -> Candidates:
    """The `k` best rows of each partition for `xq`, (1, dim) float32, among those that a filter lets through, None for
    all; best first. `nprobe` replaces the tuned one of indexes that are not exact.
    """
    found = list[tuple[Vectors, Positions]]()
    for partition, subset in within:
        index = partition.index
        widest = min(nprobe, index.widest) if nprobe and index.widest else None
        most = min(k, index.rows)
        one = index.search(xq, most, widest) if subset is None else search_subset(index, xq, most, widest, subset)
        found.append((one[0][0], one[1][0]))
    return Candidates.of([partition.name for partition, _ in within], found).ranked()
