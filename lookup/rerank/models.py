"""The models of re-rankers: features into a score, bigger is better. A file each, no pickle.

trees       boosted trees, learned by LambdaMART; LightGBM's own text, `model.txt`
logistic    weights of standardised features, `model.json`: what is absent counts as its mean, and has a weight too
"""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from foundation.extras import absent

Matrix = npt.NDArray[np.float64]  # (n, m), NaN where a feature says nothing
Scores = npt.NDArray[np.float64]  # (n,)
VERSION = 1
FILES = {"trees": "model.txt", "logistic": "model.json"}


class Model(Protocol):
    """What scores candidates. Threads may share it."""

    def score(self, features: Matrix) -> Scores:
        """The score of each row; the same row has the same score beside any others."""

    def importance(self) -> Scores:
        """(m,) float64 of 0 and more: how much each feature decides."""


class Trees:
    """Boosted trees."""

    def __init__(self, text: str) -> None:
        """`text` is the model as LightGBM writes it. InputError where LightGBM is not installed."""
        try:
            import lightgbm  # a second to load, and an extra's
        except ModuleNotFoundError as err:
            raise absent(err) or err from err

        self._booster = lightgbm.Booster(model_str=text)

    def score(self, features: Matrix) -> Scores:
        """See `Model`."""
        # One thread: to wake others takes longer than 100 rows do.
        return np.asarray(self._booster.predict(features, raw_score=True, num_threads=1), np.float64)

    def importance(self) -> Scores:
        """See `Model`: what splits by a feature gained."""
        return np.asarray(self._booster.feature_importance("gain"), np.float64)


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


def open_model(kind: Literal["trees", "logistic"], text: str) -> Model:
    """The model of a file whose digest was checked."""
    return Trees(text) if kind == "trees" else Logistic.model_validate_json(text)
