"""The checks and figures of an index mean something: vectors in wrong places are found, wrong answers score nothing."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from foundation.errors import VitrineError
from foundation.metric import Metric
from index_builders.fill.threads import threads
from index_builders.measure.proof import check_finds_itself, prove
from index_builders.measure.queries import recalls_of_kinds
from index_builders.measure.recall import held_out, recalls
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from lookup.index.partition_index import PartitionIndex
from tests.support.partitions import brute_force, built, clustered, vectors_file

pytestmark = pytest.mark.usefixtures("one_faiss_thread")


def test_swapped_refine_codes_are_found_beside_a_constant_dimension(tmp_path: Path) -> None:
    """A column of zeros, as fusions pad with, does not hide that refine rows lie at each other's positions."""
    xb = clustered(900)
    xb[:, 3] = 0
    large = {"type": "ivf_pq", "nlist": 8, "refine": "sq8"}
    result, _ = built(tmp_path, xb, IndexSettings(exact_below=512, held_out_queries=60, large=large))
    paths = {role: tmp_path / "out" / file.path for role, file in result.files.items()}
    queries = held_out(xb[:50], np.arange(50), vectors_file(xb), 10)
    assert check_finds_itself(PartitionIndex.open(paths, result), queries) == 50
    codes = np.load(paths["refine"])
    other = int(np.argsort(-xb @ xb[7])[40])  # not so far that the row would not be among the hits at all
    codes[[7, other]] = codes[[other, 7]]
    np.save(paths["refine"], codes)
    with pytest.raises(VitrineError, match="find itself"):
        check_finds_itself(PartitionIndex.open(paths, result), queries)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("scale", [0.001, 1, 100])
def test_random_answers_score_nothing_at_any_scale(metric: Metric, scale: float) -> None:
    """What passes for a tie follows the length of rows: random positions get no recall, the right ones all of it."""
    rng, n, nq, k = np.random.default_rng(0), 3000, 60, 10
    rows = VectorsFile((scale * clustered(n, dim=64)).astype(np.float16), metric)
    xq = rows.rows[:nq].astype(np.float32)
    queries = held_out(xq, np.arange(nq), rows, k)
    right = np.argsort(-brute_force(metric, xq, rows.rows), axis=1, kind="stable")[:, : k + 1]
    assert queries.recalls(right).mean() == 1
    assert queries.recalls(rng.integers(nq, n, (nq, k))).mean() < 0.05


def test_one_long_row_excuses_no_wrong_answers() -> None:
    """A row ten thousand times as long as the others does not widen what passes for a tie among these."""
    xb = clustered(3000, dim=64)
    xb[2999] = -10_000 * xb[:60].mean(axis=0)
    queries = held_out(xb[:60], np.arange(60), vectors_file(xb), 10)
    assert queries.recalls(np.random.default_rng(0).integers(60, 2999, (60, 10))).mean() < 0.05


@pytest.mark.parametrize("large", [{"type": "ivf_flat", "nlist": 8}, {"type": "ivf_rabitq", "nlist": 8}])
def test_searches_that_prove_are_of_a_fixed_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: dict[str, object]
) -> None:
    """No search of the proof asks for more than 64 queries or runs on more than one thread, whatever there is."""
    xb, asked = clustered(900), list[tuple[int, int]]()
    chosen = IndexSettings(exact_below=512, held_out_queries=200, large=large)
    _, index = built(tmp_path, xb, chosen)
    spec = chosen.choose(900, 16)
    assert spec is not None
    queries = held_out(xb[:200], np.arange(200), vectors_file(xb), 10)
    search = PartitionIndex.candidates

    def seen(self: PartitionIndex, xq: np.ndarray, *more: int, **named: int) -> object:
        asked.append((len(xq), faiss.omp_get_max_threads()))
        return search(self, xq, *more, **named)

    monkeypatch.setattr(PartitionIndex, "candidates", seen)
    with threads(2):
        least = recalls_of_kinds(queries, recalls(index, queries))[0]
        two = prove(index, spec, queries, least, (0, 0))
    assert sum(size for size, _ in asked) == 3 * 200  # recall, its own score, errors of scores
    assert max(size for size, _ in asked) <= 64
    assert {number for _, number in asked} == {1}
    with threads(1):
        assert recalls_of_kinds(queries, recalls(index, queries))[0] == least
        assert prove(index, spec, queries, least, (0, 0)) == two


@pytest.mark.parametrize("large", [{"type": "ivf_pq", "nlist": 8, "refine": "sq8"}, {"type": "ivf_flat", "nlist": 8}])
def test_few_rows_may_stand_behind_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: dict[str, object]
) -> None:
    """Of a hundred rows five that codes rank too low are no damage, as long as each is found alone; six are too many,
    and one that is not there is one too many.
    """
    xb = clustered(900)
    _, index = built(tmp_path, xb, IndexSettings(exact_below=512, held_out_queries=100, large=large))
    queries, real = held_out(xb[:100], np.arange(100), vectors_file(xb), 10), PartitionIndex.search
    behind = 0

    def search(
        self: PartitionIndex, xq: np.ndarray, k: int, nprobe: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        scores, positions = real(self, xq, k + 1, nprobe)
        lost = (xq[:, None] == xb[None, :behind]).all(axis=2).any(axis=1)
        cut = np.where(lost[:, None], scores[:, 1:], scores[:, :-1])
        return cut, np.where(lost[:, None], positions[:, 1:], positions[:, :-1])

    monkeypatch.setattr(PartitionIndex, "search", search)
    for behind in (0, 1, 5):
        assert check_finds_itself(index, queries) == 100 - behind
    behind = 6
    with pytest.raises(VitrineError, match="6 of 100 do not"):
        check_finds_itself(index, queries)
    behind = 1
    monkeypatch.setattr(
        "index_builders.measure.proof.search_subset", lambda *_: (np.zeros((1, 1)), np.full((1, 1), -1))
    )
    with pytest.raises(VitrineError, match="1 of 100 do not"):
        check_finds_itself(index, queries)
