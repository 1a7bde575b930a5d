"""Ridge regression: texts are mapped to where the photos of their products lie, on the pairs of a catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from encoders.base import Modality
from encoders.heads.base import Map, PairSpec, damped
from encoders.heads.sums import Sums


class Spec(PairSpec):
    """Hoerl, Kennard 1970, of reduced rank (Izenman 1975): photos keep the principal axes of what texts tell of them,
    less their mean, so that no photo is near to every text.
    """

    type: ClassVar[str] = "ridge"

    def fit(self, sums: Sums, dims: Mapping[Modality, int], ridge: float) -> dict[Modality, Map]:
        """See HeadSpec.fit: of both towers."""
        both, cut = sums.scatter, dims["text"]
        slopes = np.linalg.solve(damped(both[:cut, :cut], ridge), both[:cut, cut:])
        told = slopes.T @ both[:cut, :cut] @ slopes  # scatter of the photos that texts tell
        _, axes = np.linalg.eigh((told + told.T) / 2)
        kept = axes[:, ::-1][:, : self.rank(sums, dims)]
        return self.about_means(sums, cut, slopes @ kept, kept)
