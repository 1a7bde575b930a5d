"""A weight for each feature, by logistic regression on pairs of candidates of a query (RankNet without a network), for
few queries: weights of standardised features, in JSON; what is absent counts as its mean, and has a weight too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from lookup.rerank.models import Lesson, Matrix, Model, RankerSpec, Scores

_RIDGE = 0.3  # pulls weights to 0, in lessons
_STEPS, _STOP = 30, 1e-9


class Logistic(BaseModel):
    """Weights of features: `weights` of (value - mean) / scale, `absent` where there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    absent: tuple[float, ...]

    def score(self, features: Matrix) -> Scores:
        """See `Model`."""
        return np.asarray((self.standardised(features) * np.array([*self.weights, *self.absent])).sum(axis=1))

    def importance(self) -> Scores:
        """See `Model`: absolute weights."""
        return np.abs(self.weights) + np.abs(self.absent)

    def standardised(self, features: Matrix) -> Matrix:
        """(n, 2 m): each feature in standard deviations from its mean, then 1 where it is absent."""
        absent = np.isnan(features)
        values = (features - np.array(self.means)) / np.array(self.scales)
        return np.hstack([np.where(absent, 0.0, values), absent.astype(np.float64)])


class Spec(RankerSpec):
    """See the module."""

    file: ClassVar[str] = "model.json"
    linear: ClassVar[bool] = True

    def learn(self, lessons: Sequence[Lesson], seed: int) -> str:
        """See RankerSpec: weights by which, of two candidates of a query, the one that is worth more comes first; by
        Newton's steps, which draw nothing.
        """
        rows = np.concatenate([one.features for one in lessons])
        model = _standard(rows)
        seen = [(model.standardised(one.features), one.gains) for one in lessons]
        weights = np.zeros(2 * rows.shape[1])
        for _ in range(_STEPS):
            gradient, curvature = _RIDGE * weights, _RIDGE * np.eye(len(weights))
            for features, gains in seen:
                first, second = np.nonzero(gains[:, None] > gains[None, :])
                pairs = features[first] - features[second]
                wrong = 1 / (1 + np.exp(np.clip(pairs @ weights, -30, 30)))  # how likely the second is put first
                gradient -= pairs.T @ wrong / len(pairs)
                curvature += (pairs * (wrong * (1 - wrong))[:, None]).T @ pairs / len(pairs)
            step = np.linalg.solve(curvature, gradient)
            weights -= step
            if float(np.abs(step).max()) < _STOP:
                break
        half = rows.shape[1]
        found = {"weights": tuple(weights[:half].tolist()), "absent": tuple(weights[half:].tolist())}
        return model.model_copy(update=found).model_dump_json(indent=1) + "\n"

    def open(self, text: str) -> Model:
        """See RankerSpec."""
        return Logistic.model_validate_json(text)


def _standard(rows: Matrix) -> Logistic:
    """What standardises features: their means and deviations over all rows that have them."""
    deviations = np.nanstd(rows, axis=0)
    scales = np.where(deviations > 0, deviations, 1.0)
    none = (0.0,) * rows.shape[1]
    return Logistic(
        means=tuple(np.nanmean(rows, axis=0).tolist()), scales=tuple(scales.tolist()), weights=none, absent=none
    )
