"""The linear algebra of heads, against another implementation, on groups that are made to be told apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import eigh, subspace_angles

from encoders.heads.lda import Spec
from encoders.heads.sums import Sums
from foundation.errors import InputError

Floats = npt.NDArray[np.float32]


def grouped(groups: int, each: int, dim: int, seed: int = 0) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Rows of groups that differ in few directions and are noisy in others, and the group of each."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), each)
    noise = rng.standard_normal((groups * each, dim)) * np.linspace(0.1, 2, dim)
    rows = rng.standard_normal((groups, dim))[group] + noise + 3
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), group


def sums_of(rows: Floats, group: npt.NDArray[np.int64]) -> Sums:
    """The sums over rows, groups beside one another."""
    sizes = np.bincount(group).astype(np.int64)
    means = np.stack([rows[group == one].mean(axis=0) for one in range(len(sizes))])
    found = Sums(rows.shape[1], 0, len(sizes), int((sizes > 1).sum()))
    found.add(means, sizes, rows - means[group])
    return found


def test_the_axes_are_those_of_the_generalised_eigenproblem() -> None:
    """B v = l (W + ridge) v, as scipy solves it: the same space, and the same angles between rows."""
    rows, group = grouped(30, 6, 24)
    means = np.stack([rows[group == one].mean(axis=0) for one in range(30)]).astype(np.float64)
    centred = rows - means[group]
    within = centred.T @ centred
    between = 6 * (means - means.mean(axis=0)).T @ (means - means.mean(axis=0))
    ridge = 0.3 * np.trace(within) / 24 * np.eye(24)
    _, axes = eigh(between, within + ridge)
    theirs = axes[:, ::-1][:, :8]
    mine = Spec(None).fit(sums_of(rows, group), {"image": 24}, 0.3)["image"].cut(8)
    assert np.rad2deg(subspace_angles(mine.matrix, theirs)).max() < 0.1
    expected = (rows - rows.mean(axis=0)) @ theirs
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = mine.rows(rows)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_row_comes_out_the_same_whatever_stands_beside_it() -> None:
    """Alone, or among others: to the last bit."""
    rows, group = grouped(30, 6, 24)
    found = Spec(None).fit(sums_of(rows, group), {"image": 24}, 0.3)["image"]
    assert all((found.rows(rows[at : at + 1]) == found.rows(rows)[at]).all() for at in range(20))


def test_sums_add_up_and_are_taken_from_each_other() -> None:
    """What is held out and what is left are the whole."""
    rows, group = grouped(12, 5, 8)
    parts = [sums_of(rows[group < 4], group[group < 4]), sums_of(rows[group >= 4], group[group >= 4] - 4)]
    whole = parts[0].plus(parts[1])
    assert (whole.rows, whole.groups, whole.shared) == (60, 12, 12)
    left = whole.without(parts[0])
    for name in ("sum", "outer", "within"):
        np.testing.assert_allclose(getattr(whole, name), getattr(sums_of(rows, group), name), atol=1e-4)
        np.testing.assert_allclose(getattr(left, name), getattr(parts[1], name), atol=1e-9)


def test_fewer_rows_than_dimensions_are_enough() -> None:
    """The ridge makes the scatter invertible; there are as many axes as groups can span."""
    rows, group = grouped(5, 3, 40)
    found = Spec(None).fit(sums_of(rows, group), {"image": 40}, 0.1)["image"]
    assert found.matrix.shape == (40, 4)
    assert np.isfinite(found.matrix).all()


def test_groups_that_do_not_differ_inside_are_refused() -> None:
    """Of equal members nothing is learned about how members differ."""
    rows, group = grouped(10, 1, 8)
    with pytest.raises(InputError, match="whose members differ"):
        Spec(None).fit(sums_of(np.repeat(rows, 3, axis=0), np.repeat(group, 3)), {"image": 8}, 0.1)
