"""Canonical correlation analysis: texts and photos of two towers that know nothing of one another are turned into one
space, on the pairs of a catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from encoders.base import Modality
from encoders.heads.base import Map, PairSpec, damped
from encoders.heads.sums import Sums


class Spec(PairSpec):
    """Hotelling 1936, "Relations between two sets of variates", with a ridge on both (Vinod 1976); the coordinates are
    weighed by their correlations, as Gong et al. 2014 (arXiv 1212.4522) do to find photos by words.
    """

    type: ClassVar[str] = "cca"

    def fit(self, sums: Sums, dims: Mapping[Modality, int], ridge: float) -> dict[Modality, Map]:
        """See HeadSpec.fit: of both towers."""
        both, cut = sums.scatter, dims["text"]
        text, image = (np.linalg.cholesky(damped(one, ridge)) for one in (both[:cut, :cut], both[cut:, cut:]))
        crossed = np.linalg.solve(image, np.linalg.solve(text, both[:cut, cut:]).T).T  # Lt^-1 C Li^-1'
        left, correlations, right = np.linalg.svd(crossed, full_matrices=False)
        kept = self.rank(sums, dims)
        weights = np.sqrt(correlations[:kept])
        maps = np.linalg.solve(text.T, left[:, :kept]) * weights, np.linalg.solve(image.T, right[:kept].T) * weights
        return self.about_means(sums, cut, *maps)
