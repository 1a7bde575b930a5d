"""Manifests that cost nothing: of each partition which reading of the catalog it is of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lookup.store.entries.index_record import IndexRecord
from lookup.store.fields import FileRef
from lookup.store.manifest import CatalogEntry, Manifest, PartitionEntry, Provenance
from lookup.store.shard_record import Segment, ShardRecord
from lookup.store.shards import Shards
from pipeline.publish.snapshot import content_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def reading(number: int, minutes: float | None = None) -> Provenance:
    """Of run `number`, by a clock that says so many minutes (by default its number) after midnight."""
    at = START + timedelta(minutes=number if minutes is None else minutes)
    return Provenance(run=f"run-{number}", catalog=f"{number:064x}", read_at=at)


def manifest_of_readings(
    read: Provenance,
    partitions: Mapping[str, Provenance],
    parent: str | None = None,
    whole: Provenance | None = None,
) -> Manifest:
    """A snapshot of run `read` with a row, in a shard of its own, in each of `partitions`, of that reading."""
    records = [_shard(name, one) for name, one in sorted(partitions.items())]
    manifest = Manifest(
        parent=parent,
        run=read.run,
        created_at=read.read_at,
        content="",
        catalog=CatalogEntry(path="c.parquet", image_root=None, image_column=None, identity=read.catalog, rows=1),
        config={},
        text=None,
        image=None,
        fusion={},
        dim=2,
        metric="ip",
        attributes=(),
        shards=Shards.of((record, "c.parquet", (0, 1)) for record in records),
        partitions=tuple(_partition(name, one) for name, one in sorted(partitions.items())),
        whole=whole,
    )
    return manifest.model_copy(update={"content": content_of(manifest)})


def readings(manifest: Manifest) -> dict[str, str]:
    """Partition -> the run that read it. Entry, index and shard say the same."""
    found = {}
    for one in manifest.partitions:
        assert one.provenance is not None
        (segment,) = manifest.shards.located(one.name)
        assert segment.shard.name == one.index.name == _name(one.name, one.provenance)
        found[one.name] = one.provenance.run
    assert set(found) == set(manifest.shards.segments.partitions)
    return found


def _name(partition: str, read: Provenance) -> str:
    return f"{partition} of {read.run}"


def _shard(name: str, read: Provenance) -> ShardRecord:
    segment = Segment(partition=name, row_group=0, rows=1, digest="")
    file = FileRef(path=f"shards/{_name(name, read)}.parquet", bytes=1, rows=1, blake3="0" * 64)
    return ShardRecord(name=_name(name, read), rows_in=1, file=file, rejects=None, segments=(segment,), rejected=())


def _partition(name: str, read: Provenance) -> PartitionEntry:
    index = flat_index(_name(name, read), inputs="")
    return PartitionEntry(name=name, rows=1, index=index, provenance=read)


def flat_index(name: str, **changes: Any) -> IndexRecord:
    """The record of an exact index of one row, of a name; with other fields than these where they are named."""
    fields: dict[str, Any] = {
        "name": name,
        "inputs": name,
        "type": "flat",
        "parameters": {},
        "metric": "ip",
        "dim": 2,
        "rows": 1,
        "files": {},
        "nprobe": 0,
        "refine_factor": 0,
        "k": 10,
        "recall": 1.0,
        "recall_queries": 0,
        "curve": (),
        "p50_ms": 0.0,
        "p99_ms": 0.0,
        "train_rows": 0,
        "build_seconds": 0.0,
    }
    return IndexRecord(**fields | changes)
