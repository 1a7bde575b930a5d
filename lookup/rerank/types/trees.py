"""Boosted trees by LambdaMART (Burges 2010, "From RankNet to LambdaRank to LambdaMART"): LightGBM's own text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from foundation.extras import absent
from lookup.rerank.models import Lesson, Matrix, Model, RankerSpec, Scores

_ROUNDS = 150
_SETTINGS = {
    "objective": "lambdarank",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "lambdarank_truncation_level": 20,
    "deterministic": True,  # with one thread and rows first: the same sums in the same order
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
_LEAF = 20  # rows of a leaf at least; fewer of small lessons


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


class Spec(RankerSpec):
    """See the module."""

    file: ClassVar[str] = "model.txt"

    def learn(self, lessons: Sequence[Lesson], seed: int) -> str:
        """See RankerSpec."""
        import lightgbm

        rows = np.concatenate([one.features for one in lessons])
        gains = np.concatenate([one.gains for one in lessons])
        values, labels = np.unique(gains, return_inverse=True)
        leaf = max(1, min(_LEAF, len(rows) // 50))
        settings = {**_SETTINGS, "seed": seed, "min_data_in_leaf": leaf, "label_gain": values.tolist()}
        groups = [len(one.gains) for one in lessons]
        learned = lightgbm.train(settings, lightgbm.Dataset(rows, labels, group=groups, params=settings), _ROUNDS)
        return str(learned.model_to_string())

    def open(self, text: str) -> Model:
        """See RankerSpec."""
        return Trees(text)
