"""Choosing an index: the cheapest within the bounds, the same one every time, and a refusal that says what to move."""

from __future__ import annotations

import re
import weakref
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from foundation.errors import GateError, InputError
from foundation.metric import Metric
from index_builders.base import builder_spec
from index_builders.build import build
from index_builders.choose import choice as choose
from index_builders.measure import tune as tuning
from index_builders.measure.cost import cost_of
from index_builders.measure.recall import held_out
from index_builders.measure.trial import Rows
from index_builders.measure.tune import settled, tune
from index_builders.settings import IndexSettings
from lookup.index.partition_index import PartitionIndex
from lookup.index.refine import Refine, codes, ranges, widened
from tests.support.partitions import (
    AUTO,
    DIM,
    brute_force,
    built,
    clustered,
    segments_of,
    true_recall,
    vectors_file,
    within,
)

pytestmark = pytest.mark.usefixtures("one_faiss_thread")


# --- the choice ---


def test_the_cheapest_that_reaches_the_target_is_taken(tmp_path: Path) -> None:
    """Of all that were weighed, the chosen one has the least cost among those that reach the target recall."""
    result, _ = built(tmp_path, clustered(2000, dim=32), AUTO)
    assert len(result.considered) == 8
    chosen = [one for one in result.considered if one.verdict == "chosen"]
    assert [(one.type, one.parameters) for one in chosen] == [(result.type, result.parameters)]
    reaching = [one for one in result.considered if one.recall >= 0.95]
    assert chosen[0].cost_us == min(one.cost_us for one in reaching)
    assert result.recall >= 0.95
    assert result.proof.recall_low <= result.recall <= result.proof.recall_high


def test_the_choice_does_not_look_at_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that goes wild and another number of threads, the same index with the same settings and bytes."""
    one, _ = built(tmp_path / "one", clustered(1500), AUTO)
    ticks = iter(np.random.default_rng(0).random(10**6).cumsum().tolist())
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    faiss.omp_set_num_threads(2)
    two, _ = built(tmp_path / "two", clustered(1500), AUTO)
    assert (one.type, one.parameters, one.nprobe, one.refine_factor) == (
        two.type,
        two.parameters,
        two.nprobe,
        two.refine_factor,
    )
    assert one.considered == two.considered
    for name in (file.path for file in one.files.values()):
        assert (tmp_path / "one" / "out" / name).read_bytes() == (tmp_path / "two" / "out" / name).read_bytes()


def test_large_partitions_are_judged_by_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond CHOOSE_ROWS candidates are built of a sample, and the winner of all rows, and measured again."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    result, index = built(tmp_path, clustered(3000), within(max_bytes_per_vector=24))
    assert [one.rows for one in result.considered] == [1000] * 5 + [3000]  # three are known to be larger
    assert result.considered[-1].verdict == "chosen"
    kind = {**result.parameters, "nlist": None}  # fewer rows have fewer lists
    [judged] = [one for one in result.considered[:4] if {**one.parameters, "nlist": None} == kind]
    assert judged.memory_bytes == pytest.approx(result.proof.memory_bytes, rel=0.05)  # reckoned for all rows
    assert (result.rows, index.rows) == (3000, 3000)
    assert result.recall >= 0.95


def test_a_sample_that_flatters_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the sample's winner falls short on all rows, the next one is built, and both are recorded."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    made = choose.trial
    seen: list[str] = []
    samples: list[weakref.ref[np.ndarray]] = []

    def poorer(*given: object) -> choose.Trial:
        rows, folder = given[1], given[3]
        assert isinstance(rows, Rows)
        assert isinstance(folder, Path)
        if len(rows.vectors) == 1000:
            samples.extend((weakref.ref(rows.learned_from.xt), weakref.ref(rows.vectors.rows)))
        else:  # neither the sample's rows nor what fell short is still held, in memory or on disk
            assert not [sample for sample in samples if sample() is not None]
            assert [path for path in folder.parent.iterdir() if path.is_dir()] == [folder]
        one = made(*given)  # type: ignore[arg-type]  # handed on as they came
        if one.promised.rows == 3000:
            seen.append(one.spec.type)
            if len(seen) == 1:
                worse = one.tuned.point.model_copy(update={"recall": 0.5})
                return replace(one, tuned=replace(one.tuned, point=worse))
        return one

    monkeypatch.setattr(choose, "trial", poorer)
    result, _ = built(tmp_path, clustered(3000), AUTO)
    assert [one.verdict for one in result.considered[8:]] == ["short on all rows: recall 0.500", "chosen"]
    assert result.type == seen[1]


def test_what_readers_do_not_get_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the curve reaches the target but a reader's searches do not, nothing is published: a refusal."""
    monkeypatch.setattr(tuning, "recalls", lambda index, queries: np.full(len(queries.xq), 0.9))
    with pytest.raises(GateError, match=r"recall 0\.900[\s\S]*lower index\.target_recall to 0\.9 "):
        built(tmp_path, clustered(900), AUTO)


def test_a_named_type_beyond_the_bounds_is_refused(tmp_path: Path) -> None:
    """Bounds hold for a type that the config names too; a partition so small that it is exact is exempt."""
    chosen = IndexSettings(exact_below=512, large={"type": "ivf_flat"}, max_bytes_per_vector=40)
    with pytest.raises(GateError) as refused:
        built(tmp_path / "large", clustered(900), chosen)
    assert refused.value.expected == "an index in at most 40 bytes a vector"  # recall was no condition
    assert re.fullmatch(r"raise index\.max_bytes_per_vector to \d+", refused.value.fix)
    assert built(tmp_path / "small", clustered(300), chosen)[0].type == "flat"


def test_a_query_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    """A bound on milliseconds that no machine keeps is a refusal with the measured time, not another choice."""
    with pytest.raises(GateError, match=r"at most 1e-06 ms[\s\S]*raise index.max_query_ms to"):
        built(tmp_path, clustered(900), within(max_query_ms=1e-6))


def test_keys_beside_auto_are_refused() -> None:
    """What auto would ignore is an error."""
    with pytest.raises(InputError, match="nlist"):
        IndexSettings(large={"type": "auto", "nlist": 5}).choose(10**6, 64)


def test_tuning_takes_what_costs_least(tmp_path: Path) -> None:
    """A low target costs less than a high one, each reaches its own, and recalls are those of brute force."""
    xb = np.random.default_rng(3).standard_normal((2500, DIM)).astype(np.float32).astype(np.float16).astype(np.float32)
    large = {"type": "ivf_pq", "nlist": 32}
    chosen = IndexSettings(exact_below=512, held_out_queries=60, large=large)
    _, index = built(tmp_path, xb, chosen)
    queries, spec = held_out(xb[:200], np.arange(200), vectors_file(xb), 10), chosen.choose(2500, DIM)
    assert spec is not None
    low, high = tune(index, spec, queries, 0.5), tune(index, spec, queries, 0.93)
    assert low.point.cost_us < high.point.cost_us
    for tuned, target in ((low, 0.5), (high, 0.93)):
        cheaper = [point for point in tuned.curve if point.cost_us < tuned.point.cost_us]
        assert all(point.recall < target for point in cheaper)
        point = settled(index, queries, tuned, target).point
        assert point.recall >= target
        asked = replace(index, nprobe=point.nprobe, refine_factor=point.refine_factor)
        assert abs(point.recall - true_recall(asked, xb, np.arange(200), 10)) < 1e-9
    assert [p.recall for p in high.curve] == sorted(p.recall for p in high.curve)
    assert low.point.nprobe < 32


# --- metrics and refine vectors ---


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize(
    ("large", "off"),
    [
        ({"type": "flat"}, 2e-5),
        ({"type": "ivf_flat", "nlist": 4}, 2e-5),
        ({"type": "hnsw"}, 2e-5),
        ({"type": "ivf_pq", "nlist": 4, "nbits": 4, "refine": "fp16"}, 2e-5),
        ({"type": "ivf_pq", "nlist": 4, "fast_scan": True, "refine": "sq8"}, 0.1),
        ({"type": "ivf_rabitq", "nlist": 4, "refine": "sq8"}, 0.1),
        ({"type": "ivf_sq8", "nlist": 4}, 0.2),  # numbers beyond the range of the training rows are cut
    ],
)
def test_every_metric_equals_brute_force(tmp_path: Path, metric: Metric, large: dict[str, object], off: float) -> None:
    """Rows of unequal length, a zero row among them: scores are those of brute force, and so is recall."""
    rng = np.random.default_rng(0)
    xb = (clustered(800) * rng.uniform(0.5, 2, (800, 1))).astype(np.float16).astype(np.float32)
    xb[17] = 0
    chosen = IndexSettings(exact_below=512, held_out_queries=200, metric=metric, large=large, target_recall=0.97)
    result, index = built(tmp_path, xb, chosen)
    assert (result.metric, index.faiss_index.metric_type) == (metric.value, metric.faiss)
    xq = xb[100:140] + 0.1 * rng.standard_normal((40, DIM)).astype(np.float32)
    truth = brute_force(metric, xq, xb)
    scores, positions = index.search(xq, 10)
    np.testing.assert_allclose(scores, np.take_along_axis(truth, positions, 1), atol=off)
    assert (np.diff(scores, axis=1) <= 0).all()
    kth = -np.sort(-truth, axis=1)[:, 9:10]
    assert (np.take_along_axis(truth, positions, 1) >= kth - 1e-6).mean() >= 0.93
    assert result.recall >= 0.97


@pytest.mark.parametrize("metric", list(Metric))
def test_codes_of_refine_vectors_are_off_by_half_a_step(metric: Metric) -> None:
    """Decoded codes are within half a step of each number; a dimension that never changes is exact."""
    xb = metric.stored(clustered(300))
    xb[:, 3] = 0.25
    span = ranges(np.split(xb, 3), DIM)
    decoded = codes(xb, span) * span[1] + span[0]
    assert (np.abs(decoded - xb) <= span[1] / 2 + 1e-6).all()
    assert (decoded[:, 3] == np.float32(0.25)).all()
    refine = Refine(metric, codes(xb, span), span)
    asked, positions = metric.stored(clustered(5, seed=3)), np.tile(np.arange(300), (5, 1))
    positions[0, 0] = -1
    found = refine.scores(asked, positions)
    expected = metric.scores(asked, decoded[np.maximum(positions, 0)].astype(np.float32))
    assert np.isneginf(found[0, 0])
    np.testing.assert_allclose(found[1:], expected[1:], atol=1e-5)


def test_float16_becomes_the_equal_float32() -> None:
    """Each of the finite float16 numbers, subnormal ones and both zeros too, whatever the shape."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)].reshape(2, -1, 8)
    found = widened(finite)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, finite.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(found), np.signbit(finite))


def test_codes_scanned_fast_get_a_quarter_of_the_lists() -> None:
    """Of 200,000 rows: sqrt(rows) lists for one or two bits a dimension, 4 sqrt(rows) for the others, named or not."""
    lists = {
        str(fields): IndexSettings(large=fields).choose(200_000, 256).model_dump()["nlist"]  # type: ignore[union-attr]
        for fields in (
            {"type": "ivf_pq", "fast_scan": True},
            {"type": "ivf_rabitq"},
            {"type": "ivf_pq"},
            {"type": "ivf_rabitq", "nbits": 4},
            {"type": "ivf_sq8"},
        )
    }
    assert list(lists.values()) == [512, 512, 2048, 2048, 2048]
    weighed = [one.model_dump() for one in IndexSettings().candidates(200_000, 256)]
    assert [(one["type"], one.get("m"), one["nlist"]) for one in weighed[:7]] == [
        ("ivf_pq", 64, 512),
        *2 * [("ivf_pq", 128, 512)],
        *2 * [("ivf_pq", 96, 512)],
        ("ivf_pq", 64, 2048),
        ("ivf_rabitq", None, 512),
    ]


def test_a_price_counts_lists_codes_and_candidates() -> None:
    """More of any of them costs more, and whole vectors cost more than codes."""
    fast, flat = (
        cost_of(builder_spec({"type": name, "nlist": 8, **more}), 64)
        for name, more in (("ivf_pq", {"m": 16, "nbits": 4, "fast_scan": True}), ("ivf_flat", {}))
    )
    least = (8, 1, 100.0, 10)
    for cost in (fast, flat):
        for more in ((16, 1, 100.0, 10), (8, 2, 100.0, 10), (8, 1, 200.0, 10), (8, 1, 100.0, 20)):
            assert cost.microseconds(*more, "sq8") > cost.microseconds(*least, "sq8")
        assert cost.microseconds(*least, "fp16") > cost.microseconds(*least, "sq8") > cost.microseconds(*least, "none")
    assert flat.microseconds(*least, "none") > fast.microseconds(*least, "none")


# --- rows that are not what one hopes for ---


@pytest.mark.parametrize("kind", ["equal", "duplicates", "prime dim", "zeros"])
def test_awkward_rows_are_built(tmp_path: Path, kind: str) -> None:
    """All rows equal, few distinct rows, a dim that nothing divides, zero rows: built, checked and found."""
    xb = {
        "equal": lambda: np.tile(clustered(1), (700, 1)),
        "duplicates": lambda: clustered(20)[np.random.default_rng(0).integers(0, 20, 1500)],
        "prime dim": lambda: clustered(1500, dim=13),
        "zeros": lambda: np.vstack([clustered(600), np.zeros((100, DIM), np.float32)]),
    }[kind]()
    chosen = IndexSettings(exact_below=512, held_out_queries=60)
    result, index = built(tmp_path, xb, chosen)
    assert len(result.considered) == (6 if kind == "prime dim" else 8)  # 13 has no half for codes of two dimensions
    assert result.recall >= 0.95
    best = (xb[:50].astype(np.float64) @ xb.astype(np.float64).T).max(axis=1)
    found = np.isclose(index.search(xb[:50], 5)[0][:, 0], best, atol=0.01)  # ivf_sq8 rounds each number
    assert found.mean() > 0.95


@pytest.mark.parametrize("large", [{"type": "hnsw"}, {"type": "ivf_rabitq"}, {"type": "ivf_pq", "fast_scan": True}])
def test_equal_rows_are_found_by_every_type(tmp_path: Path, large: dict[str, object]) -> None:
    """700 equal rows: any of them is a right answer."""
    chosen = IndexSettings(exact_below=512, held_out_queries=60, large=large)
    result, index = built(tmp_path, np.tile(clustered(1), (700, 1)), chosen)
    assert result.recall == 1
    assert len(set(index.search(clustered(1), 10)[1][0].tolist())) == 10


def test_more_lists_than_rows_are_refused(tmp_path: Path) -> None:
    """nlist beyond the training rows is named for every type that has lists."""
    for name in ("ivf_flat", "ivf_sq8", "ivf_rabitq"):
        (tmp_path / name).mkdir()
        with pytest.raises(InputError, match="at least 900 training rows"):
            build(
                segments_of(tmp_path / "shards", clustered(600)),
                DIM,
                IndexSettings(exact_below=512, large={"type": name, "nlist": 900}),
                tmp_path / name,
            )


def test_what_was_proved_is_in_the_record(tmp_path: Path) -> None:
    """Interval, imbalance, errors and bytes of the files as they lie there, by independent counts."""
    xb = clustered(1500)
    chosen = IndexSettings(exact_below=512, held_out_queries=100, large={"type": "ivf_sq8", "nlist": 8})
    result, index = built(tmp_path, xb, chosen)
    proof = result.proof
    assert proof is not None
    sizes = np.array([index.ivf.invlists.list_size(i) for i in range(8)])
    assert proof.imbalance == pytest.approx(index.ivf.invlists.imbalance_factor(), rel=1e-5)
    assert sizes.sum() == 1500
    assert 0 < proof.reconstruction_error < 0.001
    assert 0 < proof.score_error < 0.01
    assert proof.found_itself == 100
    assert 0.9 < proof.recall_low <= result.recall <= proof.recall_high <= 1
    assert isinstance(index, PartitionIndex)


@pytest.mark.parametrize("kind", ["fp16", "sq8"])
def test_missing_candidates_score_minus_infinity(kind: str) -> None:
    """Wherever a position is -1, also in every place of a query, or of all: the others' scores do not change."""
    rng = np.random.default_rng(8)
    xb = rng.standard_normal((50, DIM)).astype(np.float16).astype(np.float32)
    span = ranges([xb], DIM) if kind == "sq8" else None
    refine = Refine(Metric.INNER_PRODUCT, xb.astype(np.float16) if span is None else codes(xb, span), span)
    truth = xb if span is None else codes(xb, span) * span[1] + span[0]
    positions = rng.integers(0, 50, (6, 9))
    positions[:, 7:], positions[2, 3], positions[4] = -1, -1, -1
    scores = refine.scores(xb[:6], positions)
    assert np.isneginf(scores[positions < 0]).all()
    expected = np.einsum("qd,qcd->qc", xb[:6], truth[np.maximum(positions, 0)])
    np.testing.assert_allclose(scores[positions >= 0], expected[positions >= 0], atol=1e-4)
    assert np.isneginf(refine.scores(xb[:6], np.full((6, 3), -1))).all()
