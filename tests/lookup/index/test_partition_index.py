"""PartitionIndex: answers equal brute force, files that do not fit are refused, files are mapped and not loaded."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from foundation.errors import InputError, IntegrityError
from lookup.index.partition_index import PartitionIndex
from tests.support.bounded import at_once
from tests.support.partitions import write_ids

N, DIM = 1200, 16


pytestmark = pytest.mark.usefixtures("one_faiss_thread")


@dataclass(frozen=True)
class Record:
    name: str = "dresses"
    dim: int = DIM
    rows: int = N
    metric: str = "inner_product"
    nprobe: int = 0
    refine_factor: int = 0


def unit_rows(n: int, seed: int) -> np.ndarray:
    xb = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
    return (xb / np.linalg.norm(xb, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


XB, XQ = unit_rows(N, 0), unit_rows(20, 1)


def brute_force(xq: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best of XB in float64, ties by position."""
    scores = xq.astype(np.float64) @ XB.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), order


@pytest.fixture
def flat(tmp_path: Path) -> dict[str, Path]:
    index = faiss.IndexFlatIP(DIM)
    index.add(XB)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    return {"index": tmp_path / "index.faiss", "ids": write_ids(tmp_path, N)}


@pytest.fixture
def coded(tmp_path: Path) -> dict[str, Path]:
    """An IVF-PQ index of 4-bit codes, far too coarse to rank by, beside exact refine vectors."""
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(DIM), DIM, 8, 4, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(XB)
    index.add(XB)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    np.save(tmp_path / "refine.npy", XB.astype(np.float16))
    return {"index": tmp_path / "index.faiss", "ids": write_ids(tmp_path, N), "refine": tmp_path / "refine.npy"}


CODED = Record(nprobe=8, refine_factor=N // 10)


def test_exact_answers_equal_brute_force(flat: dict[str, Path]) -> None:
    """A flat index gives the positions and inner products of brute force, one query or many."""
    index = PartitionIndex.open(flat, Record())
    D, at = index.search(XQ, 10)
    expected, positions = brute_force(XQ, 10)
    np.testing.assert_array_equal(at, positions)
    np.testing.assert_allclose(D, expected, atol=1e-6)
    assert (D.dtype, at.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(index.search(XQ[3:4], 10)[1][0], at[3])


def test_refined_scores_are_true(coded: dict[str, Path]) -> None:
    """With candidates enough, coarse codes and refine vectors give the positions and inner products of brute force."""
    D, at = PartitionIndex.open(coded, CODED).search(XQ, 10)
    expected, positions = brute_force(XQ, 10)
    np.testing.assert_array_equal(at, positions)
    np.testing.assert_allclose(D, expected, atol=1e-6)


def test_scores_are_true_when_candidates_are_few(coded: dict[str, Path]) -> None:
    """Each score is the inner product with the row at its position, descending, whatever was missed."""
    index = PartitionIndex.open(coded, replace(CODED, refine_factor=2))
    D, at = index.search(XQ, 10, nprobe=2)
    np.testing.assert_allclose(D, np.einsum("qd,qkd->qk", XQ, XB[at]), atol=1e-6)
    assert (np.diff(D, axis=1) <= 0).all()
    assert (at != brute_force(XQ, 10)[1]).any()
    np.testing.assert_array_equal(index.search(XQ, 1, nprobe=2)[1], at[:, :1])


def test_more_hits_than_rows_are_padded(flat: dict[str, Path], coded: dict[str, Path]) -> None:
    """Missing hits are position -1 and score -inf; what is there comes first, whatever nprobe is."""
    D, at = PartitionIndex.open(coded, CODED).search(XQ, N + 5)
    assert (at[:, N:] == -1).all()
    assert np.isneginf(D[:, N:]).all()
    np.testing.assert_array_equal(np.sort(at[:, :N]), np.tile(np.arange(N), (len(XQ), 1)))
    D, at = PartitionIndex.open(coded, CODED).search(XQ, N, nprobe=1)
    assert not np.isneginf(D).any()
    np.testing.assert_array_equal(np.sort(at), np.tile(np.arange(N), (len(XQ), 1)))


def test_ties_are_in_order_of_position(tmp_path: Path) -> None:
    """Equal rows come lowest position first."""
    index = faiss.IndexFlatIP(DIM)
    index.add(np.tile(XB[:3], (4, 1)))
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    paths = {"index": tmp_path / "index.faiss", "ids": write_ids(tmp_path, 12)}
    _, at = PartitionIndex.open(paths, Record(rows=12)).search(XB[:1], 12)
    assert at[0, :4].tolist() == [0, 3, 6, 9]


def test_ids_of_positions(flat: dict[str, Path]) -> None:
    """Positions become ids in the order given; a missing hit's -1 is refused, not wrapped around."""
    index = PartitionIndex.open(flat, Record())
    assert index.ids([5, 0, 1199]) == ["商品 5", "商品 0", "商品 1199"]
    assert index.ids(np.array([], dtype=np.int64)) == []
    for wrong in ([-1], [N]):
        with pytest.raises(InputError, match="positions from 0 to 1199"):
            index.ids(wrong)


@pytest.mark.parametrize(
    ("xq", "message"),
    [
        (np.zeros((2, DIM + 1), np.float32), "shape"),
        (np.zeros(DIM, np.float32), "shape"),
        (np.full((1, DIM), np.nan, np.float32), "NaN"),
        (np.full((1, DIM), np.inf, np.float32), "NaN"),
    ],
)
def test_queries_that_mean_nothing_are_refused(flat: dict[str, Path], xq: np.ndarray, message: str) -> None:
    """Wrong lengths and numbers that are not finite, which FAISS would answer, are errors in three parts."""
    with pytest.raises(InputError, match=message):
        PartitionIndex.open(flat, Record()).search(xq, 3)


def test_layout_of_the_query_does_not_matter(flat: dict[str, Path]) -> None:
    """float64 and Fortran order give the same answer as float32 in C order."""
    index = PartitionIndex.open(flat, Record())
    expected = index.search(XQ, 5)[1]
    np.testing.assert_array_equal(index.search(np.asfortranarray(XQ.astype(np.float64)), 5)[1], expected)


def test_impossible_requests_are_refused(flat: dict[str, Path], coded: dict[str, Path]) -> None:
    """k under 1 and nprobe outside the lists are errors, not silently cut."""
    index = PartitionIndex.open(coded, CODED)
    for k, nprobe in ((0, None), (3, 0), (3, 9)):
        with pytest.raises(InputError):
            index.search(XQ, k, nprobe)


@pytest.mark.parametrize("change", [{"rows": N - 1}, {"dim": DIM + 1}, {"refine_factor": 4}])
def test_files_that_do_not_fit_the_record_are_refused(flat: dict[str, Path], change: dict[str, int]) -> None:
    """Rows, dim and refine vectors are compared with the record on open."""
    with pytest.raises(IntegrityError, match="hold"):
        PartitionIndex.open(flat, replace(Record(), **change))


def test_files_of_two_indexes_are_refused(flat: dict[str, Path], tmp_path: Path) -> None:
    """Ids of another index do not open beside this one."""
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(IntegrityError, match="ids: 1100"):
        PartitionIndex.open({**flat, "ids": write_ids(other, 1100)}, Record())


def test_dropped_rows_and_other_metrics_are_refused(tmp_path: Path) -> None:
    """A NaN row that FAISS dropped on add but counted, and an L2 index, do not open."""
    xb = XB.copy()
    xb[9] = np.nan
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, 4, faiss.METRIC_INNER_PRODUCT)
    index.train(XB)
    index.add(xb)
    assert index.ntotal == N
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    with pytest.raises(IntegrityError, match="vectors in lists: 1199"):
        PartitionIndex.open({"index": tmp_path / "index.faiss", "ids": write_ids(tmp_path, N)}, Record())
    distances = faiss.IndexFlatL2(DIM)
    distances.add(XB)
    faiss.write_index(distances, str(tmp_path / "l2.faiss"))
    with pytest.raises(IntegrityError, match="metric"):
        PartitionIndex.open({"index": tmp_path / "l2.faiss", "ids": write_ids(tmp_path, N)}, Record())


def test_files_that_are_no_index_are_refused(flat: dict[str, Path]) -> None:
    """A cut FAISS file and a broken id file are named."""
    whole = flat["index"].read_bytes()
    flat["index"].write_bytes(whole[:1000])
    with pytest.raises(IntegrityError, match=r"index\.faiss"):
        PartitionIndex.open(flat, Record())
    flat["index"].write_bytes(whole)
    flat["ids"].write_bytes(b"no parquet")
    with pytest.raises(IntegrityError, match=r"ids\.parquet"):
        PartitionIndex.open(flat, Record())


def test_threads_do_not_disturb_each_other(coded: dict[str, Path]) -> None:
    """Concurrent searches with unequal nprobe give each the answer it gets alone."""
    index = PartitionIndex.open(coded, replace(CODED, refine_factor=3))
    alone = {nprobe: index.search(XQ, 5, nprobe)[1] for nprobe in (1, 8)}
    assert (alone[1] != alone[8]).any()
    wrong: list[int] = []

    def ask(nprobe: int) -> None:
        for _ in range(60):
            if (index.search(XQ, 5, nprobe)[1] != alone[nprobe]).any():
                wrong.append(nprobe)

    at_once(ask, (1, 8, 1, 8))
    assert not wrong


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_vectors_and_codes_are_mapped(tmp_path: Path, kind: str) -> None:
    """Opening and searching a 64 MB index adds less than half of that as memory that is not backed by its file."""
    rng = np.random.default_rng(0)
    dim, n = 256, 62_500
    if kind == "flat":
        index = faiss.IndexFlatIP(dim)
    else:
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, 4, faiss.METRIC_INNER_PRODUCT)
        index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = 64, 1
    xb = rng.standard_normal((n, dim), dtype=np.float32)
    index.train(xb[:256])
    index.add(xb)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    write_ids(tmp_path, n)
    command = [sys.executable, "-c", _MEMORY, str(tmp_path), str(n), kind]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(child.stdout) < 32_000  # kB


_MEMORY = """
import sys, numpy as np, pyarrow.parquet as pq
from pathlib import Path
from tests.lookup.index.test_partition_index import Record, PartitionIndex
def anonymous():
    return int(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])
folder, n = Path(sys.argv[1]), int(sys.argv[2])
pq.read_table(folder / "ids.parquet")  # pyarrow's own pools are not what is measured
before = anonymous()
record = Record(dim=256, rows=n, nprobe=4 if sys.argv[3] == "ivf" else 0)
index = PartitionIndex.open({"index": folder / "index.faiss", "ids": folder / "ids.parquet"}, record)
index.search(np.ones((1, 256), np.float32), 10)
sys.stdout.write(str(anonymous() - before))
"""
