"""How re-rankers are learned: boosted trees by LambdaMART (Burges 2010, "From RankNet to LambdaRank to LambdaMART"), or
logistic regression on pairs of candidates of a query (RankNet without a network). Equal lessons give equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookup.rerank.models import Logistic, Matrix, Scores
from pipeline.train.rank_lessons import Lesson

_ROUNDS = 150
_TREES = {
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
_RIDGE = 0.3  # pulls weights to 0, in lessons
_STEPS, _STOP = 30, 1e-9


def learn_trees(lessons: Sequence[Lesson], seed: int) -> str:
    """LightGBM's text of trees, which order candidates by `lessons`."""
    import lightgbm

    rows = np.concatenate([one.features for one in lessons])
    gains = np.concatenate([one.gains for one in lessons])
    values, labels = np.unique(gains, return_inverse=True)
    leaf = max(1, min(_LEAF, len(rows) // 50))
    settings = {**_TREES, "seed": seed, "min_data_in_leaf": leaf, "label_gain": values.tolist()}
    groups = [len(one.gains) for one in lessons]
    learned = lightgbm.train(settings, lightgbm.Dataset(rows, labels, group=groups, params=settings), _ROUNDS)
    return str(learned.model_to_string())


def learn_logistic(lessons: Sequence[Lesson]) -> Logistic:
    """Weights by which, of two candidates of a query, the one that is worth more comes first; by Newton's steps."""
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
    return model.model_copy(
        update={"weights": tuple(weights[:half].tolist()), "absent": tuple(weights[half:].tolist())}
    )


def _standard(rows: Matrix) -> Logistic:
    """What standardises features: their means and deviations over all rows that have them."""
    deviations = np.nanstd(rows, axis=0)
    scales = np.where(deviations > 0, deviations, 1.0)
    none = (0.0,) * rows.shape[1]
    return Logistic(
        means=tuple(np.nanmean(rows, axis=0).tolist()), scales=tuple(scales.tolist()), weights=none, absent=none
    )


def order_of(scores: Scores) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """(n,): candidates by score, best first; equal ones as they were."""
    return np.argsort(-scores, kind="stable")
