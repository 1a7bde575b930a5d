"""The best of many scored rows, exactly, without sorting them all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from foundation.arrays import Mask, Vectors

_CHUNKS = 4  # maxima looked at for each hit wanted
_ALMOST = np.float32(1 - 1e-5)  # roundings of sums in two orders, with room
_FEWER = 16  # rows beside each of fewer rows, from which these are looked up among them
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

    def above(self, least: np.float32, rest: np.float32) -> Found:
        """Those that may reach `least` if up to `rest` is added to each."""
        return self.take(self.scores + rest >= least * _ALMOST)

    def within(self, rest: np.float32, k: int) -> Found:
        """Those that may be among the k best if up to `rest` is added to each."""
        return self.above(highest_kth(self.scores, k), rest)


def add(one: Found, two: Found, rest: np.float32, k: int, rows: int) -> tuple[Found, bool]:
    """The rows of both, of an index of `rows`; what a row scores in both is added. And whether the `k` best of all are
    among them, whatever up to `rest` is added to any row: then those that cannot be are left out.
    """
    if (len(one.rows) + len(two.rows)) * _DENSE > rows and min(len(one.rows), len(two.rows)) * _FEWER > rows // _FEWER:
        sums = np.zeros(rows, np.float32)
        sums[one.rows] = one.scores
        sums[two.rows] += two.scores
        least = highest_kth(sums, k)
        floor = least * _ALMOST - rest
        found = np.flatnonzero(sums >= floor if least > rest and floor > 0 else sums).astype(np.int32)
        return Found(found, sums[found]), bool(least > rest)
    few, many = sorted((one, two), key=lambda each: len(each.rows))
    places = np.searchsorted(many.rows, few.rows)
    there = np.zeros(len(few.rows), np.bool_)
    inside = places < len(many.rows)
    there[inside] = many.rows[places[inside]] == few.rows[inside]
    scores = many.scores.copy()
    scores[places[there]] += few.scores[there]
    many, few = Found(many.rows, scores), few.take(~there)
    least = highest_kth(many.scores, k)
    if least > rest:
        many, few = (each.above(least, rest) for each in (many, few))
    places = np.searchsorted(many.rows, few.rows)
    both = Found(np.insert(many.rows, places, few.rows), np.insert(many.scores, places, few.scores))
    return both, bool(least > rest)


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
