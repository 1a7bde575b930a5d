"""Gates on manifests that are right, and on manifests with one thing wrong."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookup.store.entries.index_record import IndexRecord
from lookup.store.fields import FileRef
from lookup.store.manifest import CatalogEntry, Manifest, PartitionEntry
from lookup.store.shard_record import RejectCount, Segment, ShardRecord
from lookup.store.shards import Shards, chained
from lookup.store.store import Store
from pipeline.config.sections import GatesConfig
from pipeline.publish.gates import check
from pipeline.publish.gates import ids_unique as ids_gate
from pipeline.publish.gates.against_parent import DriftGate
from pipeline.publish.gates.base import Comparison, PlanGate, SnapshotGate
from pipeline.publish.gates.check import plan_gates, snapshot_gates
from pipeline.report.run_report import GateResult
from tests.support.manifests import flat_index


class Bounds(GatesConfig):
    """Tighter than by default but for growth and rises, and every lost row counts."""

    max_reject_share: float = 0.1
    max_degraded_share: float = 0.1
    min_recall: float = 0.9
    max_row_drop: float = 0.2
    max_row_growth: float = 1000
    max_partition_growth: float = 1000
    max_reject_rise: float = 1
    max_degraded_rise: float = 1
    max_photos_lost_rise: float = 1
    least_rows: int = 1


def bounds_of(reject: float, degraded: float, recall: float, drop: float) -> Bounds:
    return Bounds(max_reject_share=reject, max_degraded_share=degraded, min_recall=recall, max_row_drop=drop)


LOOSE = Bounds(max_reject_share=1, max_degraded_share=1, min_recall=0, max_row_drop=1)
OPEN_FILES = {"ids_unique", "index_rows", "nonfinite"}
INVARIANTS = {"rows_accounted", "rows_indexed", "index_files"}


def file(rows: int, name: str = "file") -> FileRef:
    return FileRef(path=name, bytes=1, rows=rows, blake3="0" * 64)


def shard(rows: dict[str, int], rejected: dict[str, int] | None = None, degraded: int = 0, name: str = "s") -> Shards:
    """A shard of rows and rejects (missing_id) per partition, used whole."""
    lost_photos = (("image_not_found", degraded),) if degraded else ()  # all in the first partition
    segments = tuple(
        Segment(partition=one, row_group=group, rows=n, digest="", degraded=() if group else lost_photos)
        for group, (one, n) in enumerate(rows.items())
    )
    rejects = tuple(RejectCount(partition=one, reason="missing_id", rows=n) for one, n in (rejected or {}).items())
    embedded, lost = sum(rows.values()), sum((rejected or {}).values())
    record = ShardRecord(
        name=name,
        rows_in=embedded + lost,
        file=file(embedded) if embedded else None,
        rejects=file(lost) if lost else None,
        segments=segments,
        rejected=rejects,
    )
    return Shards.of([(record, "catalog.parquet", (0, 1))])


def index(rows: int, **changes: Any) -> IndexRecord:
    files = {"index": file(rows), "ids": file(rows)}
    figures = {"recall": 0.95, "recall_queries": 100, "p50_ms": 1.0, "p99_ms": 2.0, "build_seconds": 1.0}
    return flat_index("i", **{"inputs": "j", "dim": 8, "rows": rows, "files": files, **figures, **changes})


def manifest(*shards: Shards, recalls: dict[str, float] | None = None) -> Manifest:
    """The right manifest of these shards; recall 0.95 unless told."""
    rows = chained(shards).segments.rows_of()
    partitions = [
        PartitionEntry(name=name, rows=n, index=index(n, recall=(recalls or {}).get(name, 0.95)))
        for name, n in sorted(rows.items())
    ]
    return Manifest(
        parent=None,
        run="r",
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
        content="",
        catalog=CatalogEntry(path="c", image_root=None, image_column=None, identity="", rows=0),
        config={},
        text=None,
        image=None,
        fusion={},
        dim=8,
        metric="ip",
        attributes=(),
        shards=chained(shards),
        partitions=tuple(partitions),
    )


def results(
    new: Manifest, parent: Manifest | None = None, bounds: Bounds = LOOSE, *scope: str
) -> dict[str, GateResult]:
    store = Store.at("nowhere")  # none of these gates opens a file
    comparison = Comparison(store, new, parent, frozenset(scope) if scope else None, bounds)
    gates = [gate for gate in snapshot_gates() if gate.name not in OPEN_FILES and not isinstance(gate, DriftGate)]
    found = [one for gate in gates for one in gate.check(comparison)]
    assert len({one.place for one in found}) == len(found), "two results of one gate and partition"
    return {one.name: one for one in reversed(found)}  # of a gate the first: of the whole, or of the worst partition


def failed(found: dict[str, GateResult]) -> set[str]:
    return {name for name, one in found.items() if not one.passed}


per_partition = st.dictionaries(st.sampled_from("abcd"), st.integers(1, 50), max_size=4)
shards = st.lists(st.tuples(per_partition, per_partition), min_size=1, max_size=4)


@given(shards, shards)
@settings(deadline=None)
def test_shares_and_drops_are_those_of_a_plain_count(
    now: list[tuple[dict[str, int], dict[str, int]]], before: list[tuple[dict[str, int], dict[str, int]]]
) -> None:
    """On any right manifest no invariant fails, and each share equals what counting the rows one by one gives."""
    new, parent = (manifest(*(shard(*one) for one in shards)) for shards in (now, before))
    found = results(new, parent)
    kept, old = ([one for rows, _ in side for one, n in rows.items() for _ in range(n)] for side in (now, before))
    lost = [one for _, rejected in now for one, n in rejected.items() for _ in range(n)]
    assert not failed(found) & INVARIANTS
    assert found["products"].passed is bool(kept)
    assert found["reject_share"].value == (len(lost) / len(kept + lost) if kept + lost else 0)
    assert found["row_drop"].value == pytest.approx(max(0, 1 - len(kept) / len(old)) if old else 0)
    drops = [max(0, 1 - kept.count(one) / old.count(one)) for one in set(old)]
    assert ("partition_row_drop" in found) is bool(drops)
    if drops:
        assert found["partition_row_drop"].value == pytest.approx(max(drops))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_a_figure_at_its_bound_passes_and_beyond_it_fails(
    rejects: float, degraded: float, recall: float, drop: float
) -> None:
    """Each verdict is figure against bound, the bound itself allowed."""
    new = manifest(shard({"a": 800}, {"a": 200}, degraded=80))
    found = results(new, manifest(shard({"a": 1000})), bounds_of(rejects, degraded, recall, drop))
    assert found["reject_share"].passed is (rejects >= 0.2)
    assert found["degraded_share"].passed is (degraded >= 0.1)
    assert found["recall"].passed is (recall <= 0.95)
    assert found["row_drop"].passed is found["partition_row_drop"].passed is (drop >= 0.2)
    exact = results(new, manifest(shard({"a": 1000})), bounds_of(0.2, 0.1, 0.95, 0.2))
    assert not failed(exact)


RIGHT = manifest(shard({"a": 6, "b": 4}, {"a": 2}, name="one"), shard({"a": 3}, name="two"))


def with_entry(**changes: Any) -> Manifest:
    first, second = RIGHT.shards.entries
    wrong = first.model_copy(update=changes)
    return RIGHT.model_copy(update={"shards": RIGHT.shards.model_copy(update={"entries": (wrong, second)})})


def with_index(**changes: Any) -> Manifest:
    a, b = RIGHT.partitions
    return RIGHT.model_copy(
        update={"partitions": (a.model_copy(update={"index": a.index.model_copy(update=changes)}), b)}
    )


def with_partitions(*partitions: PartitionEntry) -> Manifest:
    return RIGHT.model_copy(update={"partitions": partitions})


A, B = RIGHT.partitions


@pytest.mark.parametrize(
    ("wrong", "gate", "named"),
    [
        (with_entry(rows_in=13), "rows_accounted", "one"),
        (with_entry(file=file(9)), "rows_accounted", "one"),
        (with_entry(rejects=None), "rows_accounted", "one"),
        (with_entry(file=file(11), rejects=file(1)), "rows_accounted", "one"),
        (with_entry(file=file(9), rejects=file(3)), "rows_accounted", "one"),
        (with_partitions(A.model_copy(update={"rows": 10}), B), "rows_indexed", "a"),
        (with_index(rows=8, files={"index": file(8), "ids": file(8)}), "rows_indexed", "a"),
        (with_partitions(A), "rows_indexed", "b"),
        (with_partitions(A, B, B), "rows_indexed", "b"),
        (with_partitions(A, B, PartitionEntry(name="c", rows=1, index=index(1))), "rows_indexed", "c"),
        (with_index(files={"index": file(8), "ids": file(9)}), "index_files", "a"),
        (with_index(files={"index": file(9), "ids": file(10)}), "index_files", "a"),
        (with_index(files={}), "index_files", "a"),
        (with_index(dim=16), "index_files", "a"),
        (with_index(metric="l2"), "index_files", "a"),
    ],
)
def test_each_broken_invariant_fails_its_own_gate_alone(wrong: Manifest, gate: str, named: str) -> None:
    """One count that does not agree fails one invariant, which names where; no setting can allow it."""
    found = results(wrong)
    assert failed(found) == {gate}
    assert found[gate].value == 1
    assert found[gate].bound == 0
    assert f": {named};" in found[gate].advice
    assert not failed(results(RIGHT))


def test_a_shard_replaced_in_part_still_adds_up() -> None:
    """After a re-index the old shard's live segments are fewer than its file's; that is no error, more of them are."""
    rest = RIGHT.shards.without(frozenset("a"))
    new = manifest(rest, shard({"a": 7}, {"a": 1}, name="again"))
    found = results(new, RIGHT, LOOSE, "a")
    assert not failed(found)
    assert found["reject_share"].value == 1 / 8  # the old shard's two rejects went with their segment
    assert failed(results(new)) == {"rows_accounted"}  # of a run of the whole catalog
    (less,) = (one.model_copy(update={"file": file(3), "rows_in": 5}) for one in rest.entries)
    wrong = rest.model_copy(update={"entries": (less,)})
    assert "rows_accounted" in failed(results(manifest(wrong, shard({"a": 7}, name="again")), RIGHT, LOOSE, "a"))


def test_nothing_embedded_is_never_published() -> None:
    """Loosest settings or not, a snapshot without a product fails."""
    assert failed(results(manifest(shard({}, {"a": 5})))) == {"products"}


def test_the_worst_partition_is_named() -> None:
    """Recall and drop are those of the worst partition, by name, with how many fail."""
    new = manifest(shard({"a": 10, "b": 5, "c": 10}), recalls={"a": 0.8, "b": 0.85, "c": 1.0})
    found = results(new, manifest(shard({"a": 10, "b": 10, "c": 5})), Bounds())
    assert failed(found) == {"recall", "row_drop", "partition_row_drop"} - {"row_drop"}
    assert found["recall"].value == 0.8
    assert "worst partition: a, recall@10 of 100 queries; 2 of 3 below the bound; " in found["recall"].advice
    assert "worst partition: b, 5 rows, 10 in the parent; " in found["partition_row_drop"].advice


def test_a_recall_that_was_not_measured_fails() -> None:
    """NaN is the worst recall there is, even for a bound of zero."""
    found = results(manifest(shard({"a": 10, "b": 10, "c": 10}), recalls={"a": 0.5, "b": math.nan}))
    assert failed(found) == {"recall"}
    assert "worst partition: b" in found["recall"].advice


def test_a_partition_that_vanished_is_a_whole_drop() -> None:
    """A category gone from the catalog is named, even where others have grown."""
    found = results(manifest(shard({"a": 100})), manifest(shard({"a": 10, "b": 1})), Bounds(max_row_drop=0.99))
    assert failed(found) == {"partition_row_drop"}
    assert found["partition_row_drop"].value == 1
    assert "worst partition: b, vanished, 1 in the parent" in found["partition_row_drop"].advice


def test_a_drop_of_few_rows_stops_nothing() -> None:
    """A share over its bound refuses only where so many rows are lost; the partition that refuses is the one named."""
    bounds = Bounds(max_row_drop=0.1, least_rows=20)
    parent = manifest(shard({"large": 200, "tiny": 1}))
    found = results(manifest(shard({"large": 200})), parent, bounds)
    assert not failed(found)
    assert found["partition_row_drop"].value == 1
    assert found["partition_row_drop"].advice == (
        "worst partition: tiny, vanished, 1 in the parent; "
        "1 rows are fewer than gates.least_rows=20, so nothing is stopped"
    )
    assert not failed(results(manifest(shard({"large": 181})), parent, bounds))
    found = results(manifest(shard({"large": 179})), parent, bounds)
    assert failed(found) == {"row_drop", "partition_row_drop"}
    assert "worst partition: large, 179 rows, 200 in the parent; look" in found["partition_row_drop"].advice
    vanished = manifest(shard({"large": 200, "b": 20})), manifest(shard({"large": 200, "b": 19}))
    now = manifest(shard({"large": 200}))
    assert failed(results(now, vanished[0], bounds)) == {"partition_row_drop"}
    assert not failed(results(now, vanished[1], bounds))
    found = results(manifest(shard({"a": 8})), manifest(shard({"a": 10})), bounds)
    assert (failed(found), found["row_drop"].value) == (set(), 0.2)
    assert "2 rows are fewer than gates.least_rows=20" in found["row_drop"].advice


def test_a_reject_of_few_rows_stops_nothing() -> None:
    """One row of three is an accident, as is one of three without its photo; most of them are not, however few."""
    bounds = Bounds(max_reject_share=0.05, max_degraded_share=0.3, least_rows=20)
    found = results(manifest(shard({"a": 2}, {"a": 1}, degraded=1)), None, bounds)
    assert not failed(found)
    for name in ("reject_share", "degraded_share"):
        assert "1 rows are fewer than gates.least_rows=20, so nothing is stopped" in found[name].advice
    assert failed(results(manifest(shard({"a": 2}, {"a": 3}, degraded=2)), None, bounds)) == {
        "reject_share",
        "degraded_share",
    }
    assert not failed(results(manifest(shard({"a": 200}, {"a": 19})), None, bounds))
    assert failed(results(manifest(shard({"a": 200}, {"a": 20})), None, bounds)) == {"reject_share"}


def test_the_first_snapshot_has_no_drop() -> None:
    """Without a parent there is nothing to have shrunk from, and no figure is made up."""
    assert not {"row_drop", "partition_row_drop", "untouched_partitions"} & set(results(RIGHT))


def test_a_re_index_is_judged_by_what_it_touched() -> None:
    """Rejects, degraded rows and recall of other categories do not count; those of the touched one do."""
    bad = shard({"a": 50}, {"a": 50}, degraded=50, name="bad")
    new = manifest(bad, shard({"b": 90}, {"b": 10}, degraded=9, name="good"), recalls={"a": 0.1})
    bounds = bounds_of(0.1, 0.1, 0.9, 0.2)
    shares = {"reject_share", "degraded_share", "recall"}
    assert failed(results(new, new, bounds)) == shares
    assert failed(results(new, new, bounds, "a")) == shares
    assert not failed(results(new, new, bounds, "b"))
    assert "recall" not in results(new, new, bounds, "c")


@pytest.mark.parametrize("changed", [{"a": 10, "b": 11}, {"a": 10}, {"a": 10, "b": 10, "c": 1}])
def test_a_re_index_leaves_the_others_alone(changed: dict[str, int]) -> None:
    """A partition outside the scope that changed, vanished or appeared fails the run; inside it may."""
    parent = manifest(shard({"a": 10, "b": 10}))
    found = results(manifest(shard(changed)), parent, LOOSE, "a")
    assert failed(found) == {"untouched_partitions"}
    assert not failed(results(manifest(shard(changed)), parent, LOOSE, "a", "b", "c"))
    assert not failed(results(manifest(shard(changed)), parent))


def ids_unique(store: Store, manifest: Manifest) -> GateResult:
    (found,) = ids_gate.Gate().check(Comparison(store, manifest, None, None, LOOSE))
    return found


def test_every_file_is_a_gate() -> None:
    """A file whose class had another name would be found by nobody; two gates of one rank would have no order."""
    files = {path.stem for path in Path(check.__file__).parent.glob("*.py")} - {
        "__init__",
        "base",
        "against_parent",
        "check",
    }
    gates: list[list[SnapshotGate] | list[PlanGate]] = [snapshot_gates(), plan_gates()]
    assert len(files) > 10
    assert {type(gate).__module__.rpartition(".")[2] for some in gates for gate in some} == files
    assert all(len({gate.rank for gate in some}) == len(some) for some in gates)


def with_ids(folder: Path, **ids: list[str]) -> tuple[Store, Manifest]:
    """A store of partitions with these ids, and the manifest that names their files."""
    folder.mkdir(exist_ok=True)
    store = Store.create(str(folder / "store"))
    partitions = []
    for name, listed in ids.items():
        pq.write_table(pa.table({"id": listed}), folder / "ids")
        put = store.put(folder / "ids", f"indexes/{name}/ids.parquet", len(listed))
        partitions.append(PartitionEntry(name=name, rows=len(listed), index=index(len(listed), files={"ids": put})))
    return store, RIGHT.model_copy(update={"partitions": tuple(partitions)})


def test_a_product_in_two_partitions_fails(tmp_path: Path) -> None:
    """Ids that stand in two partitions are counted, one is named, and the advice is a run of the whole catalog."""
    found = ids_unique(*with_ids(tmp_path, a=["p1", "p2", "p3"], b=["p4"], c=["p3", "p5", "p2"]))
    assert (found.name, found.passed, found.value, found.bound) == ("ids_unique", False, 2, 0)
    assert (
        found.advice
        == "2 ids in more than one place, such as 'p2' in 'a', 'c'; run the whole catalog (without --category)"
    )
    few = ids_unique(*with_ids(tmp_path / "few", a=["p1", "p2"], b=["p3"]))
    assert (few.passed, few.value, few.advice) == (True, 0, "0 ids in more than one place")


def test_ids_with_an_equal_hash_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all ids have one hash, only those that are equal count."""
    monkeypatch.setattr(ids_gate, "id_hashes", lambda ids: np.zeros(len(ids), np.uint64))
    monkeypatch.setattr(ids_gate, "_READ_IDS", 2)
    assert ids_unique(*with_ids(tmp_path, a=["p1", "p2", "p3"], b=["p4"])).passed
    assert ids_unique(*with_ids(tmp_path / "more", a=["p1", "p2", "p3"], b=["p3"])).value == 1


def test_of_many_ids_only_some_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many stand twice, memory is bounded, and the message says that there may be more."""
    monkeypatch.setattr(ids_gate, "_COMPARED", 2)
    found = ids_unique(*with_ids(tmp_path, a=["p1", "p2", "p3", "p4"], b=["p4", "p3", "p2", "p1"]))
    assert (found.passed, found.value) == (False, 2)
    assert found.advice.startswith("at least 2 ids in more than one place, such as 'p")


def test_the_ids_of_one_partition_are_not_read_again(tmp_path: Path) -> None:
    """The build has compared them: a snapshot of one partition costs no reading."""
    store, alone = with_ids(tmp_path, a=["p1", "p2"])
    store.backend.local("indexes/a/ids.parquet").unlink()
    assert ids_unique(store, alone).passed
