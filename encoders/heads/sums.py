"""What heads are learned from: sums over rows of vectors and their groups. They add up, and can be taken from each
other, so that any part of the rows can be held out without reading them again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors

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

    def add(self, rows: Vectors, deviations: Vectors) -> None:
        """Add (n, d) float32 rows, and (m, d) float32 of those in groups of two or more, less the mean of their
        group.
        """
        self.rows += len(rows)
        self.sum += rows.sum(axis=0, dtype=np.float64)
        _add_outer(self.outer, rows)
        _add_outer(self.within, deviations)

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


def _add_outer(to: Matrix, rows: Vectors) -> None:
    for start in range(0, len(rows), _ROWS):
        block = rows[start : start + _ROWS]
        to += block.T @ block
