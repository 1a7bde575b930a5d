"""How good rankings are, query by query, and how far a mean of queries can be trusted.

The definitions are those of trec_eval, which ir-measures gives: a product is relevant when its gain is above 0,
precision divides by k also where fewer products were found, and nDCG takes gains as they are.
The tests compare with it.

`gains` are (nq, depth) numbers: the judged gain of the product at each rank, best first; 0 where it was not judged, and
where there is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Gains = npt.NDArray[Any]  # integers or floats of 0 and more
Figures = npt.NDArray[np.float64]

# Enough for 95% intervals by percentiles (Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3).
RESAMPLES = 1000
LEVEL = 0.95
FEWEST = 10  # queries below which no interval decides: that of one query is a point, whatever it is


def precision(gains: Gains, k: int) -> Figures:
    """precision@k, (nq,) float64 in 0..1: the share of the first k ranks that hold a relevant product."""
    _check(gains, k)
    return np.asarray((gains[:, :k] > 0).sum(axis=1) / k, dtype=np.float64)


def recall(gains: Gains, relevant: npt.NDArray[np.int64], k: int) -> Figures:
    """recall@k, (nq,) float64 in 0..1: the share of the `relevant`, (nq,) int64 above 0, in the first k ranks."""
    _check(gains, k)
    if len(relevant) != len(gains) or (relevant < 1).any():
        raise ValueError(f"expected {len(gains)} counts of relevant products, each above 0, got {relevant}")
    return np.asarray((gains[:, :k] > 0).sum(axis=1) / relevant, dtype=np.float64)


def f1(precisions: Figures, recalls: Figures) -> Figures:
    """F1@k, (nq,) float64 in 0..1: the harmonic mean of precision@k and recall@k; 0 where both are."""
    total = precisions + recalls
    return np.asarray(2 * precisions * recalls / np.where(total > 0, total, 1), dtype=np.float64)


def reciprocal_rank(gains: Gains, k: int) -> Figures:
    """RR@k, (nq,) float64 in 0..1: 1 / rank of the first relevant product, 0 where the first k ranks have none."""
    _check(gains, k)
    good = gains[:, :k] > 0
    return np.where(good.any(axis=1), 1.0 / (1 + good.argmax(axis=1)), 0.0)


def ndcg(gains: Gains, judged: Gains, k: int) -> Figures:
    """nDCG@k, (nq,) float64 in 0..1, with gains as they are and log2(1 + rank) (Järvelin and Kekäläinen 2002).

    `judged` is (nq, m): all gains judged for a query, in any order, filled with 0; each row has one above 0.
    """
    _check(gains, k)
    if len(judged) != len(gains) or (judged.max(axis=1, initial=0) <= 0).any():
        raise ValueError(f"expected {len(gains)} rows of judged gains, each with one above 0")
    best = -np.sort(-judged, axis=1)
    return np.asarray(_dcg(gains, k) / _dcg(best, k), dtype=np.float64)


def intervals(values: Figures, seed: int) -> tuple[Figures, Figures]:
    """The bounds of the means of `values`, (n, m) float64 with a row per query: two (m,) between which the means of 95%
    of the resampled sets of queries lie.

    The percentile bootstrap. All columns, and all calls with the same seed and n, are resampled alike.
    """
    if values.ndim != 2 or not len(values):
        raise ValueError(f"expected (n, m) values of one query or more, got shape {values.shape}")
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean(axis=0) for _ in range(RESAMPLES)]
    low, high = np.percentile(means, (50 * (1 - LEVEL), 50 * (1 + LEVEL)), axis=0)
    return low, high


def _dcg(gains: Gains, k: int) -> Figures:
    shown = gains[:, :k].astype(np.float64)
    return np.asarray(shown @ (1 / np.log2(np.arange(2, 2 + shown.shape[1]))), dtype=np.float64)


def _check(gains: Gains, k: int) -> None:
    if gains.ndim != 2 or k < 1 or (gains < 0).any():
        raise ValueError(f"expected (nq, depth) gains of 0 and more and k >= 1, got shape {gains.shape} and k {k}")
