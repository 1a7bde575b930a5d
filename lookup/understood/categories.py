"""The category of a query: how likely each partition is, by the centers of its products that are nearest.

A partition's score is that of its best center, and its probability the softmax of scores over a temperature, which was
fitted on held-out products asked for by their own text or photo (pipeline/publish/understanding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors
from foundation.metric import Metric
from lookup.index.subset import RowSubset
from lookup.segments import Partition
from lookup.store.entries.understanding_record import UnderstandingRecord
from lookup.store.store import Store

Probabilities = npt.NDArray[np.float64]
Within = Sequence[tuple[Partition, RowSubset | None]]  # and the rows that a filter keeps; None: all

LEAST = 16  # categories from which on it pays to leave some out
KEPT = 0.98  # of the first 10 hits, measured: where less are kept, all are searched


@dataclass(frozen=True)
class Categories:
    """The centers of the partitions `names`: rows `starts[i]` to before `starts[i + 1]` of `centers`, (n, dim) float32
    as the metric stores them.
    """

    names: tuple[str, ...]
    starts: npt.NDArray[np.int64]
    centers: Vectors
    metric: Metric
    temperature: float

    @classmethod
    def open(cls, store: Store, record: UnderstandingRecord, metric: Metric) -> Categories:
        """Those of a snapshot, from its checked file, mapped."""
        path = store.verified(record.files["centers"])
        return cls.of(
            {one.name: one.centers for one in record.categories},
            np.load(path, mmap_mode="r", allow_pickle=False),
            metric,
            record.temperature,
        )

    @classmethod
    def of(cls, counts: Mapping[str, int], centers: Vectors, metric: Metric, temperature: float) -> Categories:
        """So many `centers`, (n, dim) float32, of each partition, one behind the other."""
        kept = {name: count for name, count in counts.items() if count}
        starts = np.cumsum([0, *kept.values()], dtype=np.int64)
        return cls(tuple(kept), starts, metric.stored(np.asarray(centers)), metric, temperature)

    def scores(self, xq: Vectors) -> Vectors:
        """(nq, categories) float32: of each category the score of its best center for (nq, dim) float32 queries."""
        stored = self.metric.stored(xq)
        by_center = stored @ self.centers.T
        if self.metric is Metric.L2:
            lengths = np.einsum("ij,ij->i", stored, stored)[:, None] + np.einsum("ij,ij->i", self.centers, self.centers)
            by_center = 2 * by_center - lengths
        return np.asarray(np.maximum.reduceat(by_center, self.starts[:-1], axis=1), np.float32)

    def probabilities(self, xq: Vectors) -> Probabilities:
        """(nq, categories): how likely each is; rows sum to 1."""
        return softmax(self.scores(xq), self.temperature)


def softmax(scores: Vectors, temperature: float) -> Probabilities:
    """(n, c) of (n, c) float32 scores, bigger is likelier; rows sum to 1."""
    scaled = scores.astype(np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def likely_ones(
    probabilities: Probabilities, rows: npt.NDArray[np.int64], unsearched: float, need: int, fewest: int = 1
) -> list[int]:
    """The places of those to search, rising: of (c,) probabilities the likeliest, until all others together are less
    than `unsearched` likely, there are `need` of their (c,) `rows`, and these are `fewest`; or all.
    """
    order = np.argsort(-probabilities, kind="stable")
    whole = float(probabilities.sum())
    left = 1 - np.cumsum(probabilities[order]) / whole if whole > 0 else np.ones(len(order))
    enough = (left < unsearched) & (np.cumsum(rows[order]) >= need)
    enough[: fewest - 1] = False
    count = int(np.argmax(enough)) + 1 if enough.any() else len(order)
    return sorted(order[:count].tolist())


@dataclass(frozen=True)
class LikelyFirst:
    """What leaves unlikely partitions out of a search."""

    categories: Categories
    unsearched: float
    fewest: int = 1

    def chosen(self, xq: Vectors, within: Within, need: int) -> Within:
        """Those of the partitions that are searched for `xq`, (1, dim) float32, in their order: the likeliest, and more
        where these have fewer than `need` rows that meet the filter. One without centers is always searched.
        """
        places = {name: at for at, name in enumerate(self.categories.names)}
        known = [place for place, (partition, _) in enumerate(within) if partition.name in places]
        if len(known) < LEAST:
            return within
        found = self.categories.probabilities(xq)[0][[places[within[place][0].name] for place in known]]
        rows = np.array([_rows(*within[place]) for place in known], np.int64)
        likely = {known[at] for at in likely_ones(found, rows, self.unsearched, need, self.fewest)}
        return [one for place, one in enumerate(within) if place in likely or place not in known]


def _rows(partition: Partition, subset: RowSubset | None) -> int:
    return partition.index.rows if subset is None else len(subset)
