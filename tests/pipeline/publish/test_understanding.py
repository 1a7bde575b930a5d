"""The calibration of categories, held against computations of its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lookup.understood.categories import softmax
from pipeline.publish.understanding import calibration_error, fitted, measured


def test_the_temperature_is_the_one_under_which_the_truth_is_likeliest() -> None:
    """Classes drawn from a softmax of a known temperature give it back, and no neighbour is better, by plain loops."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(4000, 6)).astype(np.float32)
    raised = np.exp(scores.astype(np.float64) / 0.3)
    truth = np.array([rng.choice(6, p=row / row.sum()) for row in raised])
    found = fitted(scores, truth)
    assert found == pytest.approx(0.3, rel=0.08)

    def loss(temperature: float) -> float:
        total = 0.0
        for row, right in zip(scores.tolist(), truth.tolist(), strict=True):
            total -= row[right] / temperature - math.log(sum(math.exp(one / temperature) for one in row))
        return total

    assert loss(found) <= min(loss(found * 0.93), loss(found * 1.07))


def test_the_calibration_error_is_that_of_the_formula() -> None:
    """By tenths, weighed, in plain loops; of calibrated probabilities it is near 0, of boastful ones it is not."""
    rng = np.random.default_rng(5)
    likely = rng.uniform(0.3, 1, 5000)
    right = rng.uniform(size=5000) < likely
    total = 0.0
    for tenth in range(10):
        inside = [at for at, one in enumerate(likely) if min(int(one * 10), 9) == tenth]
        if inside:
            gap = sum(right[at] for at in inside) / len(inside) - sum(likely[at] for at in inside) / len(inside)
            total += len(inside) / len(likely) * abs(gap)
    assert calibration_error(likely, right) == pytest.approx(total)
    assert total < 0.03
    assert calibration_error(np.minimum(likely + 0.3, 1), right) > 0.15


def test_loss_is_counted_on_hits() -> None:
    """A query whose hits lie in a category that is left out keeps those of the others."""
    scores = np.tile(np.array([[9.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 9, 0]], np.float32), (100, 1))
    truth = np.tile([0, 0, 1, 1], 100)
    every = np.arange(10)
    best = [
        (np.tile(np.linspace(1, 0.9, 10, dtype=np.float32), (400, 1)), np.tile(every, (400, 1))),
        (np.tile(np.linspace(0.995, 0.8, 10, dtype=np.float32), (400, 1)), np.tile(every, (400, 1))),
        (np.full((400, 10), -1, np.float32), np.full((400, 10), -1)),
    ]
    found = measured(scores, truth, best, np.array([500, 500, 500]), 0.02)
    assert found.right == 1
    assert found.searched == pytest.approx(1 / 3)
    both = sorted([*((-s, 0) for s in best[0][0][0]), *((-s, 1) for s in best[1][0][0])])[:10]
    first = sum(place == 0 for _, place in both) / 10
    assert found.kept == pytest.approx((2 * first + 2 * (1 - first)) / 4)
    assert found.same == 0
    assert softmax(scores, 1.0).sum(axis=1) == pytest.approx(1)
