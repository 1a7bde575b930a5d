"""The figures, equal to those of ir-measures (trec_eval) on the same runs, and to what is worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation import ranking_metrics as metrics

Query = tuple[dict[str, int], list[str]]  # judgments, and the ids found, best first

ids = st.sampled_from([f"P{number}" for number in range(30)])
queries = st.tuples(
    st.dictionaries(ids, st.integers(0, 3), min_size=1).filter(lambda gains: any(gains.values())),
    st.lists(ids, unique=True, min_size=1, max_size=25),
)


def ours(asked: list[Query], k: int) -> dict[str, list[float]]:
    """Our figures of each query."""
    depth = max(len(found) for _, found in asked)
    gains = np.array([([judged.get(one, 0) for one in found] + [0] * depth)[:depth] for judged, found in asked])
    relevant = np.array([sum(gain > 0 for gain in judged.values()) for judged, _ in asked])
    most = max(len(judged) for judged, _ in asked)
    judgments = np.array([([*judged.values()] + [0] * most)[:most] for judged, _ in asked])
    precision, recall = metrics.precision(gains, k), metrics.recall(gains, relevant, k)
    figures = {
        "P": precision,
        "R": recall,
        "F1": metrics.f1(precision, recall),
        "RR": metrics.reciprocal_rank(gains, k),
        "nDCG": metrics.ndcg(gains, judgments, k),
    }
    return {name: rows.tolist() for name, rows in figures.items()}


@settings(max_examples=200, deadline=None)
@given(asked=st.lists(queries, min_size=1, max_size=6), k=st.integers(1, 12))
def test_figures_equal_ir_measures(asked: list[Query], k: int) -> None:
    """P@k, R@k, RR@k and nDCG@k of each query; F1@k is the set F1 of a run of exactly k hits."""
    ir: Any = pytest.importorskip("ir_measures", reason="needs ir-measures (pip install ir-measures)")
    qrels = [ir.Qrel(str(i), one, gain) for i, (judged, _) in enumerate(asked) for one, gain in judged.items()]
    hits = [(i, rank, one) for i, (_, found) in enumerate(asked) for rank, one in enumerate(found)]
    run = [ir.ScoredDoc(str(i), one, float(-rank)) for i, rank, one in hits]
    cut = [ir.ScoredDoc(str(i), one, float(-rank)) for i, rank, one in hits if rank < k]
    mine = ours(asked, k)
    for name, measure, given_run in [
        ("P", ir.P @ k, run),
        ("R", ir.R @ k, run),
        ("RR", ir.RR @ k, run),
        ("nDCG", ir.nDCG @ k, run),
        ("F1", ir.SetF, cut),
    ]:
        theirs = {one.query_id: one.value for one in ir.iter_calc([measure], qrels, given_run)}
        assert len(theirs) == len(asked)
        for i, (_, found) in enumerate(asked):
            if name != "F1" or len(found) >= k:
                assert mine[name][i] == pytest.approx(theirs[str(i)], abs=1e-9), (name, i)


def test_figures_worked_out_by_hand() -> None:
    """Two of three relevant products at ranks 2 and 4, with gains 3 and 1; the third, with gain 2, is not found."""
    found = ours([({"a": 3, "b": 1, "c": 2, "d": 0}, ["d", "a", "x", "b", "y"])], 4)
    best = 3 + 2 / math.log2(3) + 1 / 2
    expected = {"P": 2 / 4, "R": 2 / 3, "F1": 4 / 7, "RR": 1 / 2, "nDCG": (3 / math.log2(3) + 1 / math.log2(5)) / best}
    assert {name: rows[0] for name, rows in found.items()} == pytest.approx(expected)


def test_nothing_found_is_zero() -> None:
    """Neither wrong hits nor none divide by zero."""
    assert set(map(tuple, ours([({"a": 1}, ["b"]), ({"a": 1}, [])], 10).values())) == {(0.0, 0.0)}


def test_intervals_cover_the_mean_of_the_population() -> None:
    """Of 200 samples of 60 queries, 95% intervals hold the true mean about as often as they say; seeds decide them."""
    rng = np.random.default_rng(3)
    samples = rng.beta(2, 5, size=(200, 60))
    low, high = metrics.intervals(samples.T, seed=1)
    covered = np.mean((low <= 2 / 7) & (high >= 2 / 7))
    assert 0.9 <= covered <= 0.985
    alone = samples[:1].T
    assert np.ravel(metrics.intervals(alone, seed=1)) == pytest.approx([low[0], high[0]], abs=1e-12)
    assert np.ravel(metrics.intervals(alone, seed=2)) != pytest.approx([low[0], high[0]], abs=1e-6)
    assert metrics.intervals(np.full((9, 1), 0.25), seed=1) == (0.25, 0.25)


def test_what_has_no_figure_is_refused() -> None:
    """A query without a relevant product has no recall and no nDCG; no query has no interval."""
    gains = np.zeros((2, 3), dtype=np.int64)
    with pytest.raises(ValueError, match="above 0"):
        metrics.recall(gains, np.array([1, 0]), 3)
    with pytest.raises(ValueError, match="above 0"):
        metrics.ndcg(gains, np.array([[1], [0]]), 3)
    with pytest.raises(ValueError, match="k >= 1"):
        metrics.precision(gains, 0)
    with pytest.raises(ValueError, match="one query or more"):
        metrics.intervals(np.zeros((0, 2)), seed=1)
