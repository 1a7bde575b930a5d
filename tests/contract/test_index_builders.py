"""Index builders: sizes chosen, every type honest on any rows, files deterministic, figures equal to brute force."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from foundation.errors import InputError, IntegrityError, VitrineError
from foundation.metric import Metric
from index_builders.base import BuilderSpec, builder_spec, builder_types
from index_builders.build import build, index_inputs
from index_builders.fill.fill import fill_index
from index_builders.fill.threads import threads
from index_builders.measure.proof import check_finds_itself
from index_builders.measure.recall import held_out, recalls
from index_builders.rows.training_set import TrainingSet
from index_builders.rows.vectors_file import exact_neighbours
from index_builders.settings import IndexSettings
from index_builders.sizes import PartitionSize, nlist_for
from index_builders.types.ivf_pq import m_for
from lookup.index.partition_index import PartitionIndex
from tests.support.examples import index_examples, named
from tests.support.partitions import DIM, SMALL, built, clustered, segments_of, true_recall, vectors_file

pytestmark = pytest.mark.usefixtures("one_faiss_thread")


# --- every index type ---


def test_the_folder_has_index_types() -> None:
    """The contract below runs over every module of the folder, of which there are some, each under its own name."""
    assert {"flat", "hnsw", "ivf_flat", "ivf_pq", "ivf_rabitq", "ivf_sq8"} <= set(builder_types())
    assert {spec.type for spec in index_examples(DIM)} == set(builder_types())


@pytest.mark.parametrize("spec", index_examples(DIM), ids=named)
def test_contract(spec: BuilderSpec, tmp_path: Path) -> None:
    """Any type: same rows, same bytes, with 1 and 2 threads; every row finds itself; a recall floor; YAML."""
    fields = spec.model_dump(mode="json")
    assert builder_spec(fields) == spec
    assert len(spec.identity) == 64
    with pytest.raises(ValidationError):
        builder_spec({**fields, "nonsense": 1})
    xb = clustered(900)
    made = []
    for number in (1, 2):
        with threads(number):
            made.append(
                fill_index(
                    spec.empty(TrainingSet(xb[:400], Metric.INNER_PRODUCT), DIM, Metric.INNER_PRODUCT), iter([xb])
                )
            )
    assert faiss.serialize_index(made[0]).tobytes() == faiss.serialize_index(made[1]).tobytes()
    assert (made[0].ntotal, made[0].d, made[0].metric_type) == (900, DIM, faiss.METRIC_INNER_PRODUCT)
    chosen = IndexSettings(exact_below=512, large=fields, held_out_queries=100)
    result, opened = built(tmp_path, xb, chosen)
    assert result.type == spec.type
    assert result.recall >= 0.9
    assert (opened.search(xb, 1)[1][:, 0] == np.arange(900)).mean() > 0.99


@pytest.mark.parametrize("spec", index_examples(DIM), ids=named)
def test_what_a_type_says_of_itself_is_so(spec: BuilderSpec) -> None:
    """Its prices are above 0, its rules make a spec of its name alone, and rows are decoded to what it says."""
    assert spec.nanoseconds(DIM)[0] > 0
    assert (spec.nanoseconds(DIM)[1] > 0) == (spec.lists > 0)
    assert 0 < spec.compared(900, 16) <= 900
    assert 0 <= spec.build_seconds(900, 400, DIM) < spec.build_seconds(1800, 800, DIM) + 1e-12
    assert type(spec).sized(PartitionSize(20_000, DIM, 19_000, 5), {}).model_dump().get("seed", 5) == 5
    xb = clustered(900)
    index = fill_index(spec.empty(TrainingSet(xb[:400], Metric.INNER_PRODUCT), DIM, Metric.INNER_PRODUCT), [xb])
    if spec.decoding == "vector":
        if spec.lists:
            faiss.extract_index_ivf(index).make_direct_map()
        np.testing.assert_array_equal(index.reconstruct_n(0, 900), xb)
    elif spec.decoding == "code":
        error = float(((index.sa_decode(index.sa_encode(xb)) - xb) ** 2).sum(axis=1).mean())
        assert 0 < error < 0.2


def test_unknown_type_is_named() -> None:
    """A type without a module lists those there are."""
    with pytest.raises(InputError, match=r"flat, hnsw, ivf_flat, ivf_pq[\s\S]*annoy"):
        builder_spec({"type": "annoy"})


def test_settings_are_read_without_faiss() -> None:
    """The config imports every index type's spec; that must cost neither FAISS, numpy nor pyarrow."""
    code = (
        "import sys, index_builders.settings as s; s.IndexSettings().choose(10**6, 64);"
        "sys.exit(str({'faiss', 'numpy', 'pyarrow'} & set(sys.modules) or '') or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr == ""


# --- sizes ---


@given(st.integers(1, 10**9), st.integers(1, 2048))
@settings(max_examples=300, deadline=None)
def test_sizes_keep_the_rules(rows: int, dim: int) -> None:
    """For any rows and dim: 39 training points a centroid, at most 8 * sqrt(n) lists, m divides dim; repeatable."""
    chosen = IndexSettings(large={"type": "ivf_pq"})
    spec = chosen.choose(rows, dim)
    assert spec == chosen.choose(rows, dim)
    assert spec is not None
    if rows < chosen.exact_below:
        assert spec.type == "flat"
        return
    fields = spec.model_dump()
    assert 39 * fields["nlist"] <= chosen.train_rows(rows, dim)
    assert chosen.train_rows(rows, dim) >= 39 * 256
    assert 1 <= fields["nlist"] <= 8 * math.sqrt(rows)
    assert math.log2(fields["nlist"]).is_integer()
    assert dim % fields["m"] == 0
    assert 4 * fields["m"] >= dim


def test_sizes_by_name() -> None:
    """A few sizes, worked out by hand."""
    assert nlist_for(1_000_000, 262_144) == 4096  # 4 * 1000 = 4000
    assert nlist_for(1_000_000, 262_144, 1) == 1024  # 1 * 1000
    assert nlist_for(10_500, 10_000) == 256  # 4 * 102 = 410 asks for 512, 10,000 / 39 = 256.4 allows 256
    assert [m_for(dim) for dim in (16, 64, 96, 384, 768, 10, 97, 1)] == [4, 16, 24, 96, 192, 5, 97, 1]


def test_given_keys_override_the_rules() -> None:
    """What `large` says replaces the rule for that key only."""
    spec = IndexSettings(large={"type": "ivf_pq", "nlist": 64}).choose(100_000, 64)
    assert spec is not None
    fields = spec.model_dump()
    assert (fields["nlist"], fields["m"]) == (64, 16)


def test_names_follow_content_and_settings() -> None:
    """Another segment, order or target is another name; a setting that changes nothing here is not."""
    base = IndexSettings()
    names = [
        index_inputs(["a", "b"], base.identity(1000, 64)),
        index_inputs(["b", "a"], base.identity(1000, 64)),
        index_inputs(["a"], base.identity(1000, 64)),
        index_inputs(["a", "b"], IndexSettings(target_recall=0.9).identity(1000, 64)),
        index_inputs(["a", "b"], IndexSettings(seed=5).identity(1000, 64)),
        index_inputs(["a", "b"], IndexSettings(exact_below=600).identity(1000, 64)),
    ]
    assert len(set(names)) == 6
    same = IndexSettings(exact_below=20_000, large={"type": "flat"}, max_train_rows=1000, max_bytes_per_vector=9)
    assert names[0] == index_inputs(["a", "b"], same.identity(1000, 64))
    trained = [IndexSettings(max_train_rows=n).identity(20_000, 64) for n in (10_000, 30_000, 90_000)]
    assert trained[0] != trained[1] == trained[2]
    assert all(len(name) == 64 for name in names)


# --- building ---


def test_built_index_equals_brute_force(tmp_path: Path) -> None:
    """IVF-PQ over several shards: recall is that of brute force, nprobe reaches the target."""
    xb = clustered(3000)
    result, index = built(tmp_path, xb)
    assert (result.type, result.rows, result.train_rows, result.recall_queries) == ("ivf_pq", 3000, 2940, 60)
    assert result.recall >= 0.95
    chosen = [p for p in result.curve if (p.nprobe, p.refine_factor) == (result.nprobe, result.refine_factor)]
    assert [p.recall for p in chosen] == [result.recall]
    assert all(point.recall < 0.95 for point in result.curve if point.cost_us < chosen[0].cost_us)
    everywhere = true_recall(index, xb, np.arange(0, 3000, 5), 10)
    assert abs(everywhere - result.recall) < 0.05  # 600 samples against 60 held-out queries
    assert index.ids(range(3000)) == [f"p{i}" for i in range(3000)]
    assert 0 < result.p50_ms <= result.p99_ms


def test_same_rows_same_files_with_one_and_two_threads(tmp_path: Path) -> None:
    """Two builds, one with 1 and one with 2 OpenMP threads, write equal bytes."""
    refs = segments_of(tmp_path / "shards", clustered(3000, dim=64), per=1250)
    before = faiss.omp_get_max_threads()
    try:
        for number in (1, 2):
            faiss.omp_set_num_threads(number)
            (tmp_path / str(number)).mkdir()
            large = {"type": "ivf_pq", "fast_scan": True, "opq": True, "refine": "sq8"}
            build(refs, 64, IndexSettings(exact_below=512, large=large), tmp_path / str(number))
    finally:
        faiss.omp_set_num_threads(before)
    for name in ("index.faiss", "ids.parquet", "refine.npy", "refine_range.npy"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("rows", [1, 2, 9, 39, 511])
def test_few_rows_are_exact(tmp_path: Path, rows: int) -> None:
    """Down to one row, a small partition is searched exactly: recall 1 and every row finds itself."""
    xb = clustered(rows)
    result, index = built(tmp_path, xb)
    assert (result.type, result.nprobe, result.recall, result.train_rows) == ("flat", 0, 1.0, 0)
    np.testing.assert_allclose(index.search(xb, 1)[0][:, 0], (xb**2).sum(axis=1), atol=1e-6)


def test_no_rows_are_refused(tmp_path: Path) -> None:
    """An empty partition is an error, not an empty index."""
    with pytest.raises(InputError, match="partition with rows"):
        build([], DIM, SMALL, tmp_path)


def test_a_target_out_of_reach_is_reported(tmp_path: Path) -> None:
    """Where no nprobe reaches the target, the best that was measured comes back and nothing is raised."""
    large = {"type": "ivf_pq", "nlist": 16, "m": 1, "nbits": 4, "refine_factor": 1}
    chosen = IndexSettings(exact_below=512, held_out_queries=60, large=large, target_recall=1.0)
    xb = np.vstack([clustered(400, seed=s) for s in range(4)])
    result, _ = built(tmp_path, xb, chosen)
    assert result.recall < 1
    assert result.recall == max(point.recall for point in result.curve)
    assert {one.nprobe for one in result.curve} <= set(range(1, 17))


@pytest.mark.parametrize(
    ("large", "message"),
    [
        ({"m": 5}, "m that divides 16"),
        ({"pca": 17}, "pca of at most 16"),
        ({"pca": 12, "m": 8}, "m that divides 12, pca"),
        ({"nlist": 900}, "at least 900 training rows"),
        ({"nbits": 8, "nlist": 4}, None),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, large: dict[str, int], message: str | None) -> None:
    """An m that does not divide dim, or more centroids than rows, is named before FAISS runs."""
    chosen = IndexSettings(exact_below=512, large={"type": "ivf_pq", **large})
    if message is None:
        built(tmp_path, clustered(600), chosen)
        return
    with pytest.raises(InputError, match=message):
        built(tmp_path, clustered(600), chosen)


# --- what FAISS does silently ---


@pytest.mark.parametrize("rows", [300, 900])
def test_an_id_twice_is_found(tmp_path: Path, rows: int) -> None:
    """A duplicate id, here in two shards, is named."""
    ids = [f"p{i}" for i in range(rows)]
    ids[rows - 1] = "p7"
    refs = segments_of(tmp_path / "shards", clustered(rows), ids, per=200)
    with pytest.raises(IntegrityError, match="1 ids more than once, 'p7'"):
        build(refs, DIM, SMALL, tmp_path)


def test_altered_segments_are_found(tmp_path: Path) -> None:
    """A segment that is not the one that was recorded stops the build."""
    refs = segments_of(tmp_path / "shards", clustered(900))
    with pytest.raises(IntegrityError, match="recorded as"):
        build([refs[0], replace(refs[1], digest=refs[0].digest)], DIM, SMALL, tmp_path)


def test_embeddings_that_refine_vectors_cannot_hold_are_refused(tmp_path: Path) -> None:
    """float32 values that float16 would round stop a build that keeps float16 refine vectors."""
    xb = clustered(900)
    xb[5, 2] += 1e-5
    with pytest.raises(IntegrityError, match="float16"):
        build(segments_of(tmp_path / "shards", xb), DIM, SMALL, tmp_path)


def test_an_index_of_other_rows_does_not_find_them(tmp_path: Path) -> None:
    """The self check fails when refine vectors lie at other positions than the codes, which every count would pass."""
    xb = clustered(900)
    result, _ = built(tmp_path, xb)
    np.save(tmp_path / "out" / "refine.npy", clustered(900, seed=8).astype(np.float16))
    paths = {role: tmp_path / "out" / file.path for role, file in result.files.items()}
    index = PartitionIndex.open(paths, result)
    queries = held_out(xb[:50], np.arange(50), vectors_file(xb), 10)
    with pytest.raises(VitrineError, match="find itself", check=lambda err: err.exit_code == 1):  # no damage
        check_finds_itself(index, queries)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [0.5, 0.999])
@pytest.mark.parametrize("kind", ["flat", "ivf_pq"])
def test_a_full_disk_is_an_error(tmp_path: Path, kind: str, limit: float) -> None:
    """A file that cannot grow to its size, even by its last bytes, ends in a VitrineError that names the folder."""
    xb = clustered(900 if kind == "ivf_pq" else 400)
    refs = segments_of(tmp_path / "shards", xb)
    build(refs, DIM, SMALL, tmp_path)
    largest = max(
        (tmp_path / name).stat().st_size for name in ("index.faiss", "refine.npy") if (tmp_path / name).exists()
    )
    out = tmp_path / "again"
    out.mkdir(parents=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest * limit), hard))
        with pytest.raises(VitrineError, match="again"):
            build(refs, DIM, SMALL, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- figures ---


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 12), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_exact_neighbours_equal_brute_force(sizes: list[int], k: int, seed: int) -> None:
    """Whatever the blocks, ground truth equals brute force in float64; ties, of which there are many, by position."""
    rng = np.random.default_rng(seed)
    xb = rng.integers(-2, 3, (sum(sizes), 3)).astype(np.float32)  # small integers: products are exact, ties are real
    xq = rng.integers(-2, 3, (5, 3)).astype(np.float32)
    D, at = exact_neighbours(xq, np.split(xb, np.cumsum(sizes)[:-1]), k, Metric.INNER_PRODUCT)
    scores = xq.astype(np.float64) @ xb.astype(np.float64).T
    n = min(k, len(xb))
    best = -np.sort(-scores, axis=1)[:, :n]
    np.testing.assert_array_equal(D[:, :n], best)
    np.testing.assert_array_equal(np.take_along_axis(scores, at[:, :n], 1), best)
    assert all(len(set(row)) == n for row in at[:, :n].tolist())
    assert (at[:, n:] == -1).all()


def test_recall_leaves_the_query_itself_out(tmp_path: Path) -> None:
    """An index that returns nothing but the row that asks has recall 0, not 1/k."""
    xb = clustered(600)
    _, index = built(tmp_path, xb)
    queries = held_out(xb[:40], np.arange(40), vectors_file(xb), 10)
    positions = np.full((40, 11), -1)
    positions[:, 0] = np.arange(40)
    assert queries.recalls(positions).max() == 0
    equal = held_out(xb[:1].repeat(40, axis=0), np.arange(40), vectors_file(xb[:1].repeat(600, axis=0)), 10)
    assert not equal.known.any()
    assert equal.recalls(positions).max() == 0
    assert equal.recalls(np.arange(100, 111)[None, :].repeat(40, axis=0)).min() == 1
    assert recalls(index, queries, index.nlist).mean() > 0.9
