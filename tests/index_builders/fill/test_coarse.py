"""Coarse training: two levels find as good centroids as one, and every share of them adds up."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.metric import Metric
from index_builders.fill.coarse import _shares, kmeans, two_level
from index_builders.fill.threads import in_order, threads
from index_builders.types.ivf_pq import _principal
from tests.support.partitions import DIM, clustered

pytestmark = pytest.mark.usefixtures("one_faiss_thread")


def error(xb: np.ndarray, centroids: np.ndarray) -> float:
    """Mean squared distance of rows to their nearest centroid, in float64."""
    apart = ((xb[:, None, :].astype(np.float64) - centroids[None, :, :]) ** 2).sum(axis=2)
    return float(apart.min(axis=1).mean())


@pytest.mark.parametrize("metric", [Metric.INNER_PRODUCT, Metric.L2])
def test_two_levels_are_as_good_as_one(metric: Metric) -> None:
    """As many centroids, each near rows: the error is within a tenth of flat k-means, and far below random rows'."""
    xb = clustered(6000)
    flat, two = kmeans(xb, 100, metric, 1), two_level(xb, 100, metric, 1)
    assert two.shape == flat.shape == (100, DIM)
    assert error(xb, two) <= 1.1 * error(xb, flat)
    assert error(xb, two) < 0.8 * error(xb, xb[:100])


def test_two_levels_do_not_depend_on_threads() -> None:
    """The same centroids, bit by bit, with 1 and 2 threads."""
    xb, found = clustered(3000), []
    for number in (1, 2):
        with threads(number):
            found.append(two_level(xb, 64, Metric.INNER_PRODUCT, 1))
    np.testing.assert_array_equal(found[0], found[1])


def test_two_levels_stand_equal_rows() -> None:
    """Rows that are all equal still give as many centroids as were asked for."""
    assert two_level(np.tile(clustered(1), (300, 1)), 64, Metric.INNER_PRODUCT, 1).shape == (64, DIM)


def test_components_keep_inner_products() -> None:
    """Rows that span few directions, far from the origin, keep lengths and inner products, and so do their distances;
    of other rows as much is kept as numpy's eigenvectors of the same products keep.
    """
    rng = np.random.default_rng(2)
    axes = np.linalg.qr(rng.standard_normal((32, 9)))[0]
    rows = 5 * axes[:, 0] + rng.standard_normal((800, 8)) @ axes[:, 1:].T
    few = rows.astype(np.float32)
    turned = _principal(few, 9).apply(few)
    np.testing.assert_allclose(turned @ turned.T, rows @ rows.T, atol=1e-3)
    noisy = (rows + 0.3 * rng.standard_normal((800, 32))).astype(np.float32)
    kept = (_principal(noisy, 9).apply(noisy).astype(np.float64) ** 2).sum()
    values = np.linalg.eigvalsh(noisy.astype(np.float64).T @ noisy)
    assert kept == pytest.approx(values[-9:].sum(), rel=1e-5)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=40), st.integers(1, 400))
@settings(max_examples=200, deadline=None)
def test_shares_add_up(sizes: list[int], k: int) -> None:
    """Shares of k add up to k, none exceeds its rows, none is off its proportion by one or more."""
    total = sum(sizes)
    if total < k:
        return
    shares = _shares(np.array(sizes), k)
    assert sum(shares) == k
    for size, share in zip(sizes, shares, strict=True):
        assert share <= size
        assert abs(share - k * size / total) < 1


def test_work_in_order_uses_one_thread_each() -> None:
    """Results come in the order of the parts, each made with one FAISS thread, whatever the caller has."""
    with threads(2):
        found = list(in_order(lambda part: (part, faiss.omp_get_max_threads()), range(7)))
        assert faiss.omp_get_max_threads() == 2
    assert found == [(part, 1) for part in range(7)]
