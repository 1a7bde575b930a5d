"""Linear discriminant analysis: what differs inside groups of products that are the same is pressed together, what
differs between them is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from encoders.base import Modality
from encoders.heads.base import HeadSpec, Map, damped
from encoders.heads.sums import Sums
from foundation.errors import InputError


class Spec(HeadSpec):
    """Fisher 1936, "The use of multiple measurements in taxonomic problems", for many groups as Rao 1948 has it.

    Rows are whitened by the scatter inside groups, with a ridge, and turned to the principal axes of the groups' means
    in that space: the directions v of greatest v'Bv / v'(W + ridge)v. A row alone in its group says where groups lie,
    and nothing of what they look like inside.
    """

    type: ClassVar[str] = "lda"
    ridges: ClassVar[tuple[float, ...]] = (0.1, 0.3, 1.0)

    def fit(self, sums: Sums, dims: Mapping[Modality, int], ridge: float) -> dict[Modality, Map]:
        """See HeadSpec.fit: of one tower."""
        if float(np.trace(sums.within)) <= 1e-9 * max(1, sums.rows):
            raise InputError(
                "groups whose members differ: how they do is what a head learns to look past",
                f"{sums.shared:,} groups of two or more whose vectors are all equal",
                "group by another column (--groups), or do without a head",
            )
        whitener = np.linalg.inv(np.linalg.cholesky(damped(sums.within, ridge)))  # L^-1 of L L'
        turned = whitener @ (sums.scatter - sums.within) @ whitener.T
        _, axes = np.linalg.eigh((turned + turned.T) / 2)
        kept = axes[:, ::-1][:, : self.rank(sums, dims)]
        kept = kept * np.where(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])] < 0, -1, 1)  # one sign
        matrix = whitener.T @ kept
        return {self.reads[0]: Map(matrix, -sums.mean @ matrix)}
