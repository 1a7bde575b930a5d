"""A dirty catalog through the whole pipeline: every row of outcomes.parquet ends as it says there, none gets lost."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lookup.store.manifest import Manifest
from lookup.store.store import Store
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.run import Request, run
from tests.support.command import config_for

LOOSE = ("gates.max_reject_share=1", "gates.max_degraded_share=1", "gates.min_recall=0")
BYTES = ("catalog.image=image", "catalog.attributes=[title,price]")


@pytest.fixture(scope="module", params=["files", "bytes"])
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store, Any]:
    """(folder of a dirty catalog, store, report of its run), with photos as files and with photos as bytes."""
    folder = tmp_path_factory.mktemp(request.param)
    options = DemoOptions(products=60, row_group_rows=25, file_rows=70, dirty=True, photos=request.param)
    catalog = write_demo_catalog(folder / "demo", options)
    more = BYTES if request.param == "bytes" else ()
    report = run(Request(config_for(catalog, folder / "store", *LOOSE, *more)))
    return catalog, Store.open(str(folder / "store")), report


def manifest_of(store: Store) -> Manifest:
    snapshot = store.current()
    assert snapshot is not None
    return store.manifest(snapshot)


def landed(catalog: Path, store: Store) -> dict[int, tuple[str, str | None, str | None]]:
    """Row of the whole catalog -> (embedded, degraded or rejected; its reason; its id), read from the files alone."""
    files = sorted((catalog / "catalog").iterdir())
    starts: dict[tuple[str, int], int] = {}
    at = 0
    for file in files:
        metadata = pq.ParquetFile(file).metadata
        for group in range(metadata.num_row_groups):
            starts[file.name, group] = at
            at += metadata.row_group(group).num_rows
    found: dict[int, tuple[str, str | None, str | None]] = {}
    for shard in manifest_of(store).shards.entries:
        start = starts[Path(shard.source).name, shard.row_groups[0]]
        rows: list[tuple[int, tuple[str, str | None, str | None]]] = []
        if shard.file is not None:
            good = pq.read_table(store.backend.local(shard.file.path), columns=["row", "id", "degraded"]).to_pylist()
            rows += [(r["row"], ("degraded" if r["degraded"] else "embedded", r["degraded"], r["id"])) for r in good]
        if shard.rejects is not None:
            bad = pq.read_table(store.backend.local(shard.rejects.path)).to_pylist()
            rows += [(r["row"], ("rejected", r["reason"], r["id"])) for r in bad]
        for row, what in rows:
            assert start + row not in found, "a row stands twice"
            found[start + row] = what
    return found


def catalog_rows(catalog: Path) -> int:
    return sum(pq.ParquetFile(file).metadata.num_rows for file in (catalog / "catalog").iterdir())


def test_every_row_ends_as_outcomes_say(ended: tuple[Path, Store, Any]) -> None:
    """Each faulty row is embedded, degraded or rejected for exactly its reason, and all others are embedded."""
    catalog, store, _ = ended
    found = landed(catalog, store)
    outcomes = pq.read_table(catalog / "outcomes.parquet").to_pylist()
    assert len(outcomes) > 20
    came = {one["what"]: found[one["row"]] for one in outcomes}
    assert came == {one["what"]: (one["outcome"], one["reason"], one["id"] or None) for one in outcomes}
    faulty = {one["row"] for one in outcomes}
    assert {found[row][:2] for row in found if row not in faulty} == {("embedded", None)}
    assert sorted(found) == list(range(catalog_rows(catalog)))


def test_totals_are_exact(ended: tuple[Path, Store, Any]) -> None:
    """Rows in are rows embedded and rejected, in the report, the manifest, its segments and its partitions alike."""
    catalog, store, report = ended
    outcomes = pq.read_table(catalog / "outcomes.parquet")
    reasons = {kind: Counter() for kind in ("embedded", "degraded", "rejected")}
    for one in outcomes.to_pylist():
        reasons[one["outcome"]][one["reason"]] += 1
    rejected = reasons["rejected"].total()
    manifest, rows = manifest_of(store), catalog_rows(catalog)
    assert (report.rows_in, report.rows_embedded, report.rows_rejected) == (rows, rows - rejected, rejected)
    assert report.rejects == manifest.rejects() == dict(reasons["rejected"])
    assert report.degraded == dict(reasons["degraded"])
    assert manifest.shards.segments.rows_of().total() == rows - rejected
    assert sum(partition.rows for partition in manifest.partitions) == rows - rejected == manifest.rows


def test_what_is_embedded_has_its_vectors(ended: tuple[Path, Store, Any]) -> None:
    """Every embedded row has finite values that are float16 numbers, and a tower vector for what it has; none else."""
    _, store, _ = ended
    for shard in manifest_of(store).shards.entries:
        assert shard.file is not None
        table = pq.read_table(store.backend.local(shard.file.path))
        values = table.column("embedding").combine_chunks().flatten().to_numpy()
        assert (values == values.astype("float16")).all()
        for row in table.select(
            ["degraded", "photo_fingerprint", "text_fingerprint", "image_vector", "text_vector"]
        ).to_pylist():
            assert (row["text_vector"] is None) == (row["text_fingerprint"] is None)
            lost = row["degraded"] is not None or row["photo_fingerprint"] is None
            assert (row["image_vector"] is None) == lost
