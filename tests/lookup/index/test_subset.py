"""Search among some rows of an index: true hits for filters that keep few rows, for every index type and metric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import InputError
from foundation.metric import Metric
from index_builders.measure.trial import Rows, Trial, drawn_by, trial
from index_builders.rows.vectors_file import VectorsFile
from index_builders.settings import IndexSettings
from lookup.index import subset as onlys
from lookup.index.partition_index import PartitionIndex
from lookup.index.subset import reach, search_subset, subset_of
from tests.support.bounded import at_once
from tests.support.examples import index_examples, named, with_lists
from tests.support.partitions import DIM, clustered, write_ids

N, K, TARGET = 8000, 10, 0.95
SPECS = {named(spec): with_lists(spec, 64) for spec in index_examples(DIM)}
XB = clustered(N)
XQ = clustered(N + 60)[N:] + np.float32(0.05)
FIRST = {spec.type: name for name, spec in reversed(SPECS.items())}  # type -> the name of its first example


pytestmark = pytest.mark.usefixtures("one_faiss_thread")


def rows_of(folder: Path, metric: Metric = Metric.INNER_PRODUCT) -> Rows:
    kept = VectorsFile(XB.astype(np.float16), metric)
    return drawn_by(IndexSettings(exact_below=512, held_out_queries=200), kept, write_ids(folder, N))


def made(name: str, rows: Rows, folder: Path) -> Trial:
    folder.mkdir()
    return trial(SPECS[name], rows, TARGET, folder)


def by_codes_alone(name: str) -> bool:
    """Whether nothing ranks candidates but what codes say of them."""
    return SPECS[name].refined[0] == "none" and SPECS[name].decoding != "vector"


def rounded(name: str) -> bool:
    """Whether candidates are ranked by refine vectors of a byte a dimension."""
    return SPECS[name].refined[0] == "sq8"


def least(index: PartitionIndex, name: str, kept: np.ndarray) -> float:
    """The recall that there must be with every kept row looked at: of codes alone what is found by the decoded rows,
    or where FAISS decodes none of them 0.85.
    """
    if not by_codes_alone(name):
        return 1
    if SPECS[name].decoding == "nothing":
        return 0.85
    faiss_index = index.faiss_index
    decoded = faiss_index.sa_decode(faiss_index.sa_encode(XB))
    order = np.argsort(-np.where(kept, XQ @ decoded.T, -np.inf), axis=1)[:, : min(K, int(kept.sum()))]
    return recall(np.pad(order, ((0, 0), (0, K - order.shape[1])), constant_values=-1), kept, true_scores()) - 0.01


class Indexes(dict[str, PartitionIndex]):
    """The same rows in an index of every type, tuned when it is asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.rows, self.folder = rows_of(folder), folder

    def __missing__(self, name: str) -> PartitionIndex:
        one = made(name, self.rows, self.folder / name)
        point = one.tuned.point
        self[name] = replace(one.index, nprobe=point.nprobe, refine_factor=point.refine_factor)
        return self[name]


@pytest.fixture(scope="module")
def indexes(tmp_path_factory: pytest.TempPathFactory) -> Indexes:
    """See Indexes."""
    return Indexes(tmp_path_factory.mktemp("indexes"))


def at_random(share: float, seed: int = 3) -> np.ndarray:
    """A mask that keeps so large a share of the rows, wherever they lie."""
    mask = np.zeros(N, np.bool_)
    mask[np.random.default_rng(seed).choice(N, round(share * N), replace=False)] = True
    return mask


def region(share: float, seed: int = 3) -> np.ndarray:
    """A mask that keeps the rows nearest to one of them, far from most queries."""
    mask = np.zeros(N, np.bool_)
    mask[np.argsort(-(XB @ XB[seed]))[: round(share * N)]] = True
    return mask


def true_scores(metric: Metric = Metric.INNER_PRODUCT) -> np.ndarray:
    """(nq, n) float64 scores by their definitions."""
    xq, xb = XQ.astype(np.float64), XB.astype(np.float64)
    if metric is Metric.L2:
        return -(np.square(xq).sum(1)[:, None] + np.square(xb).sum(1)[None] - 2 * xq @ xb.T)
    if metric is Metric.COSINE:
        xq, xb = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (xq, xb))
    return np.asarray(xq @ xb.T)


def recall(positions: np.ndarray, mask: np.ndarray, scores: np.ndarray, rounding: float = 1e-6) -> float:
    """recall@k against exact search over the kept rows; every row that came is kept, and as many came as there are."""
    wanted = min(positions.shape[1], int(mask.sum()))
    assert (positions[:, wanted:] == -1).all()
    found = positions[:, :wanted]
    assert (found >= 0).all(), "fewer hits than there are"
    assert mask[found].all(), "a row that the filter leaves out"
    assert all(len(set(row)) == wanted for row in found.tolist())
    least = np.sort(scores[:, mask], axis=1)[:, -wanted]
    return float((np.take_along_axis(scores, found, 1) >= least[:, None] - rounding).mean())


def test_every_way_to_rank_is_held_against_brute_force() -> None:
    """The tests below have types whose hits are exact, rounded, and ranked by codes alone, decoded and not."""
    alone = [spec.decoding for name, spec in SPECS.items() if by_codes_alone(name)]
    assert set(alone) >= {"code", "nothing"}
    assert 0 < sum(map(rounded, SPECS)) < len(SPECS) - len(alone)


@pytest.mark.parametrize("kept", [at_random(0.01), at_random(0.001), region(0.01), region(0.001)])
@pytest.mark.parametrize("name", SPECS)
def test_rare_values_have_true_hits(indexes: dict[str, PartitionIndex], name: str, kept: np.ndarray) -> None:
    """With 1% and 0.1% of the rows, all over and in one region: the true k best, but for what codes round."""
    index, scores = indexes[name], true_scores()
    found, positions = search_subset(index, XQ, K, None, subset_of(index, kept))
    exact = not by_codes_alone(name) and not rounded(name)
    assert recall(positions, kept, scores, 1e-6 if exact else 0.004) >= least(index, name, kept)
    there = positions >= 0
    assert (found[:, 1:] <= found[:, :-1]).all()
    if exact:
        true = np.take_along_axis(scores, np.maximum(positions, 0), 1)
        np.testing.assert_allclose(found[there], true[there], atol=2e-6)


@pytest.mark.parametrize("kept", [at_random(0.01), at_random(0.001), region(0.01), region(0.001)])
def test_codes_of_a_byte_are_good_enough_alone(indexes: dict[str, PartitionIndex], kept: np.ndarray) -> None:
    """`ivf_sq8` is weighed without refine vectors for what it finds: whatever its codes decode to, 0.97 at least."""
    index = indexes[FIRST["ivf_sq8"]]
    positions = search_subset(index, XQ, K, None, subset_of(index, kept))[1]
    assert recall(positions, kept, true_scores(), 0.004) >= 0.97


@pytest.mark.parametrize("kept", [at_random(0.5), at_random(0.1), region(0.5), region(0.1)])
@pytest.mark.parametrize("name", SPECS)
def test_many_rows_reach_the_recall_that_all_have(
    indexes: dict[str, PartitionIndex], name: str, kept: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where FAISS looks at some lists only, recall is within 0.05 of the target, or of what codes can tell."""
    for constant in ("_SQ8", "_FP16"):
        monkeypatch.setattr(onlys, constant, (1e9, 0.0))  # so dear that refine vectors do not score every kept row
    index = indexes[name]
    only = subset_of(index, kept)
    if index.nlist and len(only) > 1000:  # 800 are fewer than the candidates of coarse codes: all are scored anyway
        assert reach(index, only, K, index.nprobe).lists > 0
    positions = search_subset(index, XQ, K, None, only)[1]
    assert recall(positions, kept, true_scores(), 1e-6) >= min(TARGET, least(index, name, kept)) - 0.05


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("name", [name for name in FIRST.values() if not by_codes_alone(name)])
def test_every_metric_has_true_hits(name: str, metric: Metric, tmp_path: Path) -> None:
    """Inner product, cosine and squared distance, of rows of unequal length too."""
    index = made(name, rows_of(tmp_path, metric), tmp_path / "index").index
    index = replace(index, nprobe=min(4, index.widest), refine_factor=index.refine_factor and 4)
    kept = at_random(0.01)
    found, positions = search_subset(index, XQ, K, None, subset_of(index, kept))
    scores, rounding = true_scores(metric), 0.01 if rounded(name) else 1e-5  # one has codes of a byte
    assert recall(positions, kept, scores, rounding) == 1
    np.testing.assert_allclose(found, np.take_along_axis(scores, positions, 1), atol=2 * rounding)


@pytest.mark.parametrize("name", SPECS)
def test_all_rows_none_and_few(indexes: dict[str, PartitionIndex], name: str) -> None:
    """A filter that keeps all changes nothing; of one that keeps none nothing comes; of three, three."""
    index = indexes[name]
    plain, filtered = index.search(XQ, K), search_subset(index, XQ, K, None, subset_of(index, np.ones(N, np.bool_)))
    np.testing.assert_array_equal(plain[0], filtered[0])
    np.testing.assert_array_equal(plain[1], filtered[1])
    scores, positions = search_subset(index, XQ, K, None, subset_of(index, np.zeros(N, np.bool_)))
    assert (positions == -1).all()
    assert np.isneginf(scores).all()
    three = np.zeros(N, np.bool_)
    three[[0, 7, N - 1]] = True
    scores, positions = search_subset(index, XQ, K, None, subset_of(index, three))
    assert (np.sort(positions[:, :3]) == [0, 7, N - 1]).all()
    assert (positions[:, 3:] == -1).all()
    assert np.isneginf(scores[:, 3:]).all()


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.lists])
def test_as_many_hits_as_there_are_come_whatever_nprobe_says(indexes: dict[str, PartitionIndex], name: str) -> None:
    """With nprobe 1 and k as large as what is kept, every kept row comes."""
    index, kept = indexes[name], at_random(0.02)
    m = int(kept.sum())
    for k in (m // 2, m, m + 5):
        positions = search_subset(index, XQ, k, 1, subset_of(index, kept))[1]
        assert (positions >= 0).sum(axis=1).tolist() == [min(k, m)] * len(XQ)
        assert kept[positions[positions >= 0]].all()


def test_how_far_a_search_goes_is_counted(indexes: dict[str, PartitionIndex], monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are all scored; of many, as many are looked at as tuned; where they crowd, four times as many."""
    refined, codes = indexes[FIRST["ivf_rabitq"]], indexes[FIRST["ivf_sq8"]]
    assert reach(refined, subset_of(refined, at_random(0.001)), K, 8).lists == 0
    monkeypatch.setattr(onlys, "_SQ8", (1e9, 0.0))
    every = np.ones(N, np.bool_)
    every[0] = False
    for index in (refined, codes):
        assert reach(index, subset_of(index, every), K, 8).lists == 9  # 8 * N / (N - 1), rounded up
        half, near = subset_of(index, at_random(0.5)), subset_of(index, region(0.5))
        assert reach(index, half, K, 8).lists == pytest.approx(16, abs=2)
        assert half.crowding == pytest.approx(1, abs=0.05)
        assert near.crowding > 1.3
        wider = reach(index, near, K, 8)
        assert wider.lists > 1.5 * 8 * len(near.lists) / index.nlist
        assert (wider.candidates > index.candidates_for(K, index.refine_factor)) == (index is refined)
    assert len(subset_of(codes, region(0.001)).lists) < 10


def test_a_mask_of_other_rows_is_refused(indexes: dict[str, PartitionIndex]) -> None:
    """Its length is that of the index; k and nprobe are held to the same bounds as without a filter."""
    index = indexes[FIRST["ivf_flat"]]
    with pytest.raises(InputError, match=f"shape \\({N},\\)"):
        subset_of(index, np.ones(N - 1, np.bool_))
    for k, nprobe in ((0, None), (3, 0), (3, 65)):
        with pytest.raises(InputError):
            search_subset(index, XQ, k, nprobe, subset_of(index, at_random(0.1)))
    with pytest.raises(InputError, match="NaN"):
        search_subset(index, np.full((1, DIM), np.nan, np.float32), 3, None, subset_of(index, at_random(0.1)))


def test_threads_do_not_disturb_each_other(indexes: dict[str, PartitionIndex]) -> None:
    """Concurrent searches with unequal filters give each the answer it gets alone, whoever made the filter."""
    index = indexes[FIRST["ivf_pq"]]
    filters = [subset_of(index, at_random(share)) for share in (0.001, 0.3)]
    alone = [search_subset(index, XQ, K, None, only)[1] for only in filters]
    wrong: list[int] = []

    def ask(number: int) -> None:
        for _ in range(20):
            own = subset_of(index, at_random((0.001, 0.3)[number]))
            for only in (filters[number], own):
                if (search_subset(index, XQ, K, None, only)[1] != alone[number]).any():
                    wrong.append(number)

    at_once(ask, (0, 1, 0, 1))
    assert not wrong
