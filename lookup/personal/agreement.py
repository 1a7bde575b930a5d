"""Whether a shopper's history says a taste: how well its products find one another.

Each product is scored by the mean of the others, and its score is counted in standard deviations above what products of
its partition score that were drawn evenly over it. With m products (of weights: the square of their sum over the sum of
their squares, Kish 1965), the weighted mean of these is multiplied by sqrt(m / 2): that has a mean of 0 and a standard
deviation of 1 for products that have nothing in common, however many they are, as docs/explanation/personal.md has it
measured. (The 2 is there because every two products are counted in both directions.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions, Vectors
from lookup.index.scores import scores_of
from lookup.personal.places import Place
from lookup.segments import Partition

DRAWN = 512  # products of a partition: their mean is off by 0.04 of their standard deviation
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """Of histories of an open snapshot. Threads may share it."""

    partitions: Mapping[str, Partition]

    def share(self, places: Sequence[Place], vectors: Vectors, weights: Vectors) -> float:
        """How much of a history counts, 0 to 1: nothing up to 1 standard deviation beyond chance, all from 2 on.

        `vectors` are the (n, dim) float32 queries of the products at `places`, `weights` (n,) positive. One product
        that comes twice is one of the weight of both; a single one agrees with nothing.
        """
        return float(np.clip(self.beyond_chance(places, vectors, weights) - 1, 0, 1))

    def beyond_chance(self, places: Sequence[Place], vectors: Vectors, weights: Vectors) -> float:
        """The same in standard deviations."""
        first: dict[Place, int] = {}
        shares = np.zeros(len(places))
        for at, place in enumerate(places):
            shares[first.setdefault(place, at)] += weights[at]
        kept = list(first.values())
        if len(kept) < 2:
            return 0.0
        shares = shares[kept] / shares.sum()
        found = self._standard_scores(list(first), _means_of_others(vectors[kept], shares))
        return float(shares @ found) / math.sqrt(2 * float(shares @ shares))

    def _standard_scores(self, places: Sequence[Place], asked: Vectors) -> Numbers:
        """(n,): what the product at each place scores by its own row of `asked`, (n, dim) float32."""
        found = np.zeros(len(places))
        for name in {place.partition for place in places}:
            index = self.partitions[name].index
            mine = [at for at, place in enumerate(places) if place.partition == name]
            own = np.array([places[at].position for at in mine], np.int64)
            drawn = drawn_of(index.rows)
            rows = np.union1d(own, drawn)
            scores = scores_of(index, asked[mine], rows).astype(np.float64)
            usual = scores[:, np.searchsorted(rows, drawn)]
            spread = usual.std(axis=1)
            above = scores[np.arange(len(mine)), np.searchsorted(rows, own)] - usual.mean(axis=1)
            found[mine] = np.divide(above, spread, out=np.zeros(len(mine)), where=spread > 0)
        return found


def drawn_of(rows: int) -> Positions:
    """`DRAWN` positions evenly over so many rows, or all, rising, each once."""
    return np.unique(np.linspace(0, rows - 1, min(rows, DRAWN)).astype(np.int64))


def _means_of_others(vectors: Vectors, shares: Numbers) -> Vectors:
    """(n, dim) float32: for each of (n, dim) float32 vectors the mean of the others, by (n,) shares that sum to 1."""
    weighed = vectors.astype(np.float64) * shares[:, None]
    return np.asarray((weighed.sum(axis=0) - weighed) / (1 - shares)[:, None], np.float32)
