"""Types of re-rankers: what every file of lookup/rerank/types/ keeps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from lookup.rerank.models import Matrix, Scores, ranker_spec, ranker_types

EVERY = pytest.mark.parametrize("kind", ranker_types())


@dataclass(frozen=True)
class Query:
    """A query's candidates."""

    features: Matrix
    gains: Scores


def queries(seed: int) -> list[Query]:
    """Queries of 12 candidates each; the first of three features says what is worth more, and is absent of some."""
    rng = np.random.default_rng(seed)
    found = list[Query]()
    for _ in range(80):
        features = rng.standard_normal((12, 3))
        gains = (features[:, 0] > np.sort(features[:, 0])[-3]).astype(np.float64)
        features[rng.random((12, 3)) < 0.1] = np.nan
        found.append(Query(features, gains))
    return found


def test_the_folder_has_types_each_with_its_own_file() -> None:
    """The contract below runs over every module of the folder, of which there are some; no model is a pickle."""
    assert {"logistic", "trees"} <= set(ranker_types())
    files = [ranker_spec(kind).file for kind in ranker_types()]
    assert len(set(files)) == len(files)
    assert {name.rpartition(".")[2] for name in files} <= {"txt", "json"}


@EVERY
def test_equal_lessons_give_equal_text_that_orders_others(kind: str) -> None:
    """Of queries that nothing was learned from, what is worth more stands first; the deciding feature weighs most."""
    spec = ranker_spec(kind)
    text = spec.learn(queries(0), 1234)
    assert spec.learn(queries(0), 1234) == text
    model = spec.open(text)
    firsts = [one.gains[int(np.argmax(model.score(one.features)))] for one in queries(1)]
    assert np.mean(firsts) > 0.75
    importance = model.importance()
    assert importance.shape == (3,)
    assert importance.min() >= 0
    assert importance.argmax() == 0


@EVERY
def test_a_row_has_one_score_beside_any_others(kind: str) -> None:
    """Scores are (n,) float64, finite also of rows that say nothing, and each is its row's alone."""
    spec = ranker_spec(kind)
    model = spec.open(spec.learn(queries(0), 1234))
    rows = np.concatenate([one.features for one in queries(2)] + [np.full((1, 3), np.nan)])
    scores = model.score(rows)
    assert (scores.shape, scores.dtype) == ((len(rows),), np.float64)
    assert np.isfinite(scores).all()
    assert np.array_equal(scores, np.concatenate([model.score(rows[at : at + 1]) for at in range(len(rows))]))
