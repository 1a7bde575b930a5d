"""How far values are from what they were: two distances between samples, both 0..1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint64]

TOLERANCE = 2.0  # a sale of half the price shifts nothing, another unit or a lost decimal mark does


def number_distance(before: Numbers, now: Numbers) -> float:
    """How far the distribution of `now`, (n,), is from that of `before`, (m,), none of them NaN; 0 where one is empty.

    It is Kolmogorov's and Smirnov's distance, the most that two distribution functions differ, after each value may
    have become up to TOLERANCE times as large or small: with logarithms, Lévy's metric with its two bounds taken apart
    (P. Lévy, Calcul des probabilités, 1925; Zolotarev, Probability Metrics, 1983).
    """
    if not len(before) or not len(now):
        return 0.0
    before, now = np.sort(before), np.sort(now)
    return max(0.0, _ahead(before, now), _ahead(now, before))


def word_distance(before: Codes, now: Codes) -> float:
    """The total variation between the shares of values in `before`, (m,), and in `now`, (n,): half of the sum of what
    each differs; 0 where one is empty.
    """
    if not len(before) or not len(now):
        return 0.0
    values, places = np.unique(np.concatenate([before, now]), return_inverse=True)
    shares = [
        np.bincount(part, minlength=len(values)) / len(part) for part in (places[: len(before)], places[len(before) :])
    ]
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def _ahead(some: Numbers, others: Numbers) -> float:
    """The most by which the distribution function of sorted `some` is above that of `others` a tolerance further up."""
    up = np.where(some > 0, some * TOLERANCE, some / TOLERANCE)
    mine = np.searchsorted(some, some, side="right") / len(some)
    theirs: npt.NDArray[Any] = np.searchsorted(others, up, side="right") / len(others)
    return float((mine - theirs).max())
