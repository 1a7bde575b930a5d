"""The scores of rows that are named, for every index type and metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foundation.errors import InputError
from foundation.metric import Metric
from index_builders.measure.trial import drawn_by, trial
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from lookup.index.scores import scores_of
from tests.support.examples import index_examples, named, with_lists
from tests.support.partitions import DIM, clustered, write_ids

N, K = 2000, 20
XB = clustered(N)
XQ = clustered(N + 7)[N:]
SPECS = {named(spec): with_lists(spec, 16) for spec in index_examples(DIM)}

pytestmark = pytest.mark.usefixtures("one_faiss_thread")


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("name", SPECS)
def test_named_rows_score_as_a_search_scores_them(name: str, metric: Metric, tmp_path: Path) -> None:
    """In any order, each row has the score with which a search finds it."""
    (tmp_path / "made").mkdir()
    vectors = VectorsFile(XB.astype(np.float16), metric)
    rows = drawn_by(IndexSettings(exact_below=512, held_out_queries=50), vectors, write_ids(tmp_path, N))
    index = trial(SPECS[name], rows, 0.9, tmp_path / "made").index
    for query in XQ:
        scores, positions = index.search(query[None], K, index.widest or None)
        order = np.random.default_rng(5).permutation(K)
        found = scores_of(index, query[None], positions[0][order])
        assert np.allclose(found[0], scores[0][order], atol=1e-5, rtol=1e-5)


def test_a_row_that_is_none_is_refused(tmp_path: Path) -> None:
    """The -1 of a missing hit has no score."""
    (tmp_path / "made").mkdir()
    rows = drawn_by(IndexSettings(), VectorsFile(XB.astype(np.float16), Metric.L2), write_ids(tmp_path, N))
    index = trial(SPECS["flat"], rows, 0.9, tmp_path / "made").index
    with pytest.raises(InputError, match="positions from 0 to 1999"):
        scores_of(index, XQ[:1], np.array([3, -1]))
