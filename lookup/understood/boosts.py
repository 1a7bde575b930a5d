"""Boosts: what candidates gain that meet a condition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foundation.arrays import Mask, Positions
from lookup.candidates import Candidates
from lookup.filters.rows import Filters
from lookup.index.partition_index import STEADY
from lookup.segments import Partition
from lookup.understood.meaning import Boost


def depth_of(k: int, boosts: Sequence[Boost]) -> int:
    """How many candidates of each partition the boosts choose `k` from: as many for every k up to 100."""
    return max(k, STEADY) if boosts else k


def add_boosts(
    found: Candidates, partitions: Sequence[Partition], filters: Filters, boosts: Sequence[Boost], k: int
) -> Candidates:
    """The candidates with what they gain added to their scores, best first; `found` is best first too.

    Attributes are read of those partitions alone that have a candidate which all that there is to gain would bring
    among the first 100, or the first `k`: what no boost brings there keeps its score.
    """
    if not boosts or not len(found):
        return found
    last = found.score[min(max(k, STEADY), len(found)) - 1]
    near = found.score >= last - sum(boost.amount for boost in boosts)
    gain = np.zeros(len(found), np.float32)
    opened = {partition.name: partition for partition in partitions}
    for part in np.unique(found.part[near]):
        here = np.flatnonzero(near & (found.part == part))
        for boost in boosts:
            for _, subset in filters.matching([opened[found.partitions[part]]], [boost.condition]):
                met = True if subset is None else _among(found.positions[here], subset.positions)
                gain[here] += np.float32(boost.amount) * met
    return found.ranked((found.score + gain).astype(np.float32))


def _among(positions: Positions, rising: Positions) -> Mask:
    """(n,) bool: which positions are some of others, which rise."""
    if not len(rising):
        return np.zeros(len(positions), np.bool_)
    at = np.minimum(np.searchsorted(rising, positions), len(rising) - 1)
    return np.asarray(rising[at] == positions)
