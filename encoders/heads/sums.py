"""What heads are learned from: sums over rows of vectors and their groups. They add up, and can be taken from each
other, so that any part of the rows can be held out without reading them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foundation.arrays import Positions, Vectors

Matrix = npt.NDArray[np.float64]
_ROWS = 8192  # multiplied at once in float32: their sum is exact to 1e-6 of itself


@dataclass
class Sums:
    """Of n rows (n, d) in groups: how many of both, how many groups have two rows or more, the sum of the rows (d,), of
    their outer products (d, d), and of those of rows less the mean of their group (d, d).
    """

    dim: int
    rows: int = 0
    groups: int = 0
    shared: int = 0
    sum: Matrix = field(init=False)
    outer: Matrix = field(init=False)
    within: Matrix = field(init=False)

    def __post_init__(self) -> None:
        self.sum = np.zeros(self.dim)
        self.outer, self.within = (np.zeros((self.dim, self.dim)) for _ in range(2))

    def add(self, means: Vectors, sizes: Positions, deviations: Vectors) -> None:
        """Add (g, d) float32 means of groups of (g,) rows each, a row alone being its own mean, and (m, d) float32 rows
        less the mean of their group. The deviations of a group can be added before its mean, and in pieces.

        The outer products of rows are those of their deviations and, once for each row, of their mean: fewer products
        than rows and deviations have, and none is taken from another, which would leave little of what is small.
        """
        self.rows += int(sizes.sum())
        self.sum += sizes.astype(np.float64) @ means
        _add_outer(means * np.sqrt(sizes, dtype=np.float32)[:, None], self.outer)
        _add_outer(deviations, self.outer, self.within)

    def without(self, other: Sums) -> Sums:
        """These less those of `other`, whose rows and groups are among them."""
        return self._with(other, -1)

    def plus(self, other: Sums) -> Sums:
        """Both together; no group is in both."""
        return self._with(other, 1)

    @property
    def mean(self) -> Matrix:
        """(d,) of all rows."""
        return self.sum / max(1, self.rows)

    @property
    def scatter(self) -> Matrix:
        """(d, d): of all rows about their mean."""
        return self.outer - self.rows * np.outer(self.mean, self.mean)

    def _with(self, other: Sums, sign: int) -> Sums:
        counts = (self.rows + sign * other.rows, self.groups + sign * other.groups, self.shared + sign * other.shared)
        found = Sums(self.dim, *counts)
        found.sum, found.outer = self.sum + sign * other.sum, self.outer + sign * other.outer
        found.within = self.within + sign * other.within
        return found


def _add_outer(rows: Vectors, *to: Matrix) -> None:
    for start in range(0, len(rows), _ROWS):
        block = rows[start : start + _ROWS]
        product = block.T @ block
        for one in to:
            one += product
