"""What counts as a miss when recall is measured."""

from __future__ import annotations

import numpy as np
import pytest

from index_builders.measure.recall import held_out
from tests.support.partitions import clustered, vectors_file


def test_an_answer_that_is_too_short_misses_what_it_lacks() -> None:
    """Of ten rows that there are, each -1 in place of one is a miss, in whichever place: recall is not of what came."""
    xb = clustered(60)
    vectors, own = vectors_file(xb), np.arange(5)
    queries = held_out(xb[own], own, vectors, 10)
    whole = vectors.nearest(xb[own], 11)[1]
    assert queries.recalls(whole).tolist() == [1.0] * 5
    for lacking in (1, 4, 10):
        short = whole.copy()
        short[:, 11 - lacking :] = -1
        assert queries.recalls(short) == pytest.approx(1 - lacking / 10)
    assert queries.recalls(np.full((5, 11), -1)).tolist() == [0.0] * 5
