"""The best of many scored rows, exactly, without sorting them all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundation.arrays import Mask, Vectors

_CHUNKS = 4  # maxima looked at for each hit wanted
_DENSE = 8  # rows of the index for each row found, below which an array of all rows adds fastest


@dataclass(frozen=True)
class Found:
    """Rows and their scores."""

    rows: npt.NDArray[np.int32]  # (n,) ascending
    scores: Vectors  # (n,) float32, above zero

    @classmethod
    def none(cls) -> Found:
        """No row."""
        return cls(np.empty(0, np.int32), np.empty(0, np.float32))

    def take(self, which: Mask | npt.NDArray[np.int64]) -> Found:
        """Those of a mask or at some places."""
        return Found(self.rows[which], self.scores[which])


def add(one: Found, two: Found, rows: int) -> Found:
    """The rows of both, of an index of `rows`; what a row scores in both is added."""
    if not len(one.rows) or not len(two.rows):
        return one if len(one.rows) else two
    if (len(one.rows) + len(two.rows)) * _DENSE > rows:
        sums = np.zeros(rows, np.float32)
        sums[one.rows] = one.scores
        sums[two.rows] += two.scores
        found = np.flatnonzero(sums).astype(np.int32)
        return Found(found, sums[found])
    both, scores = np.concatenate([one.rows, two.rows]), np.concatenate([one.scores, two.scores])
    order = np.argsort(both, kind="stable")  # two sorted runs, which it merges
    both, scores = both[order], scores[order]
    starts = np.flatnonzero(np.diff(both, prepend=-1))
    return Found(both[starts], np.add.reduceat(scores, starts))


def highest_kth(scores: Vectors, k: int) -> np.float32:
    """A number that at least k of `scores` reach, near the greatest such; minus infinity where there are fewer."""
    if len(scores) < k:
        return np.float32(-np.inf)
    width = len(scores) // (_CHUNKS * k)
    if width > 1:  # of the maxima of chunks, k reach the k-th
        scores = scores[: len(scores) // width * width].reshape(-1, width).max(axis=1)
    return np.float32(np.partition(scores, len(scores) - k)[len(scores) - k])


def best(found: Found, k: int) -> Found:
    """The k best, best first, equal ones by row; all where there are fewer."""
    found = found.take(found.scores >= highest_kth(found.scores, k))
    if len(found.rows) > k:
        least = np.partition(found.scores, len(found.scores) - k)[len(found.scores) - k]
        above, equal = np.flatnonzero(found.scores > least), np.flatnonzero(found.scores == least)
        found = found.take(np.sort(np.concatenate([above, equal[: k - len(above)]])))
    return found.take(np.argsort(-found.scores, kind="stable"))
