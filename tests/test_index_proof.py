"""The checks and figures of an index mean something: vectors in wrong places are found, wrong answers score nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index_builders.evaluate import held_out
from index_builders.sizing import IndexSettings
from index_builders.threads import threads
from index_builders.verify import check_finds_itself
from lookup.errors import VitrineError
from lookup.index import PartitionIndex
from tests.test_index_builders import built, clustered, kept, record_of


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """FAISS with one thread: on small rows, threads that wait for each other take most of the time."""
    with threads(1):
        yield


def test_swapped_refine_codes_are_found_beside_a_constant_dimension(tmp_path: Path) -> None:
    """A column of zeros, as fusions pad with, does not hide that refine rows lie at each other's positions."""
    xb = clustered(900)
    xb[:, 3] = 0
    large = {"type": "ivf_pq", "nlist": 8, "refine": "sq8"}
    result, _ = built(tmp_path, xb, IndexSettings(exact_below=512, held_out_queries=60, large=large))
    paths = {role: tmp_path / "out" / name for role, name in result.files.items()}
    queries = held_out(xb[:50], np.arange(50), kept(xb), 10)
    assert check_finds_itself(PartitionIndex.open(paths, record_of(result)), queries) == 50
    codes = np.load(paths["refine"])
    other = int(np.argsort(-xb @ xb[7])[40])  # not so far that the row would not be among the hits at all
    codes[[7, other]] = codes[[other, 7]]
    np.save(paths["refine"], codes)
    with pytest.raises(VitrineError, match="find itself"):
        check_finds_itself(PartitionIndex.open(paths, record_of(result)), queries)
