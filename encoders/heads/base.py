"""What every kind of head is: which towers it reads, and how it is learned from sums over their vectors.

To add a kind, add `encoders/heads/<type>.py` with a class `Spec(HeadSpec)`; `--type <type>` of `vitrine train head`
names the file, and all that is to be known of the kind stands there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import encoders.heads
from encoders.base import Modality
from encoders.heads.sums import Matrix, Sums
from foundation.arrays import Vectors
from foundation.errors import InputError
from foundation.named_types import spec_class, types_in

_TINY = 1e-12


@dataclass(frozen=True)
class Map:
    """x @ matrix + offset for rows x: (d_in, d_out) and (d_out,) float64, the coordinates that say most first."""

    matrix: Matrix
    offset: Matrix

    def cut(self, dim: int) -> Map:
        """The first `dim` coordinates."""
        return Map(self.matrix[:, :dim], self.offset[:dim])

    def rows(self, vectors: Vectors) -> Vectors:
        """(n, d_out) float32, unit rows, of (n, d_in) float32: summed in float64, so that a row comes out the same
        whatever stands beside it. What lies at the middle of everything stays zeros.
        """
        mapped = vectors.astype(np.float64) @ self.matrix + self.offset
        lengths = np.sqrt((mapped * mapped).sum(axis=1, keepdims=True))
        return np.asarray(mapped / np.maximum(lengths, _TINY), np.float32)


class HeadSpec(ABC):
    """A kind of head, for one tower, by default that of photos, or for both."""

    version: ClassVar[int] = 1  # raised when the same sums make another head
    both: ClassVar[bool] = False  # whether it is learned from products that have a text and a photo, and is for both
    ridges: ClassVar[tuple[float, ...]]  # tried where none is given, of the mean variance of what is inverted

    type: ClassVar[str]

    def __init__(self, tower: Modality | None) -> None:
        if self.both and tower is not None:
            raise InputError(f"no --tower for {self.type}, which is for both", tower, "leave --tower out")
        self._tower: Modality = tower or "image"

    @property
    def reads(self) -> tuple[Modality, ...]:
        """The towers whose vectors stand beside one another in the rows that sums are over."""
        return ("text", "image") if self.both else (self._tower,)

    @property
    def asks(self) -> tuple[Modality, Modality]:
        """By what held-out products are asked for, and by what they are found."""
        return self.reads[0], self.reads[-1]

    def rank(self, sums: Sums, dims: Mapping[Modality, int]) -> int:
        """How many coordinates `fit` can give at most."""
        return min(sums.dim, sums.groups - 1)

    @abstractmethod
    def fit(self, sums: Sums, dims: Mapping[Modality, int], ridge: float) -> dict[Modality, Map]:
        """The map of each tower that it is for, of as many coordinates as there are to tell apart.

        `sums` are over rows of the vectors of `reads`, of lengths `dims`. InputError where they tell nothing apart.
        """


class PairSpec(HeadSpec):
    """A kind that brings two towers into one space, learned from products that have both."""

    both: ClassVar[bool] = True
    ridges: ClassVar[tuple[float, ...]] = (0.1, 0.3, 1.0)

    def rank(self, sums: Sums, dims: Mapping[Modality, int]) -> int:
        """No more than the shorter tower has."""
        return min(*dims.values(), sums.rows - 1)

    @staticmethod
    def about_means(sums: Sums, cut: int, text: Matrix, image: Matrix) -> dict[Modality, Map]:
        """(dt, k) and (di, k) matrices as maps that take the means of all texts, and of all photos, to zero."""
        means = sums.mean
        return {"text": Map(text, -means[:cut] @ text), "image": Map(image, -means[cut:] @ image)}


def head_types() -> list[str]:
    """The names that `--type` can have."""
    return types_in(encoders.heads.__path__)


def head_class(name: Any) -> type[HeadSpec]:
    """The class `Spec` of the module that `name` names; InputError for an unknown one."""
    spec: type[HeadSpec] = spec_class(encoders.heads, name)
    return spec


def damped(scatter: Matrix, ridge: float) -> Matrix:
    """`scatter` (d, d) with `ridge` times its mean variance added to each variance: invertible also of fewer rows than
    dimensions (Hoerl, Kennard 1970; Friedman 1989, "Regularized discriminant analysis").
    """
    d = len(scatter)
    found: Matrix = scatter + np.eye(d) * max(_TINY, ridge * float(np.trace(scatter)) / d)
    return found
