"""Iceberg tables in a folder, by pyiceberg: a catalog without a database, and deletes that only others write."""

from __future__ import annotations

import itertools
import json
import struct
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.table import CommitTableResponse, StaticTable, Table
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, SetSnapshotRefUpdate
from pyiceberg.typedef import Record
from pyroaring import BitMap

_NUMBERS = itertools.count(1)


class FolderCatalog(MetastoreCatalog):
    """Tables below the folder `warehouse`, by their newest metadata."""

    def _load(self, identifier: Any) -> Table:
        name = self.identifier_to_tuple(identifier)
        folder = Path(self.properties["warehouse"]).joinpath(*name) / "metadata"
        newest = str(max(folder.glob("*.metadata.json"), key=lambda path: path.name))
        made = StaticTable.from_metadata(newest)
        return Table(name, made.metadata, newest, made.io, self)

    def create_table(self, identifier: Any, schema: Any, *more: Any, **named: Any) -> Table:
        """See the base."""
        staged = self._create_staged_table(identifier, schema, *more, **named)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        return self._load(identifier)

    def load_table(self, identifier: Any) -> Table:
        """See the base."""
        return self._load(identifier)

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        """See the base."""
        staged = self._update_and_stage_table(self._load(table.name()), table.name(), requirements, updates)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        return CommitTableResponse(metadata=staged.metadata, metadata_location=staged.metadata_location)

    def load_namespace_properties(self, namespace: Any) -> dict[str, str]:
        """None."""
        return {}


FolderCatalog.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]  # the rest is not asked for


def new_table(folder: Path, schema: Any, spec: Any = UNPARTITIONED_PARTITION_SPEC, **properties: str) -> Table:
    """An empty table at `folder`/db/products."""
    catalog = FolderCatalog("shop", warehouse=str(folder))
    return catalog.create_table(("db", "products"), schema, partition_spec=spec, properties=properties)


class _Deletes(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def puffin(positions: dict[str, Sequence[int]]) -> bytes:
    """A file of deletion vectors (https://iceberg.apache.org/puffin-spec), data file -> rows."""
    whole, blobs = b"PFA1", []
    for name, rows in positions.items():
        vector = struct.pack("<IqI", 1681511377, 1, 0) + BitMap(rows).serialize()
        blob = struct.pack(">I", len(vector)) + vector + struct.pack(">I", zlib.crc32(vector))
        place = {"offset": len(whole), "length": len(blob), "fields": [], "snapshot-id": -1, "sequence-number": -1}
        referenced = {"referenced-data-file": name, "cardinality": str(len(rows))}
        blobs.append({"type": "deletion-vector-v1", **place, "properties": referenced})
        whole += blob
    footer = json.dumps({"blobs": blobs, "properties": {}}).encode()
    return whole + b"PFA1" + footer + struct.pack("<iI", len(footer), 0) + b"PFA1"


def take_away(table: Table, positions: dict[str, Sequence[int]], equality: bool = False, vectors: bool = False) -> None:
    """Delete rows of an unpartitioned table by position, data file -> rows, as Spark does with merge-on-read; with
    `equality` by a delete file of the other kind, with `vectors` by deletion vectors.
    """
    folder, snapshot_id = Path(table.location().removeprefix("file://")), next(_NUMBERS) + 10**12
    path = str(folder / "data" / f"{uuid.uuid4()}-deletes.{'puffin' if vectors else 'parquet'}")
    pairs = [(name, row) for name, rows in sorted(positions.items()) for row in sorted(rows)]
    deleted = {"file_path": [name for name, _ in pairs], "pos": pa.array([row for _, row in pairs], pa.int64())}
    if vectors:
        Path(path).write_bytes(puffin(positions))
    else:
        pq.write_table(pa.table(deleted), path)
    kind = DataFileContent.EQUALITY_DELETES if equality else DataFileContent.POSITION_DELETES
    file = DataFile.from_args(
        content=kind,
        file_path=path,
        file_format=FileFormat.PUFFIN if vectors else FileFormat.PARQUET,
        partition=Record(),
        record_count=len(pairs),
        file_size_in_bytes=Path(path).stat().st_size,
        equality_ids=[1] if equality else None,
    )
    file.spec_id = 0
    before = table.metadata.current_snapshot()
    assert before is not None
    number = table.metadata.next_sequence_number()
    manifest = table.io.new_output(str(folder / "metadata" / f"{uuid.uuid4()}-m0.avro"))
    with _Deletes(table.spec(), table.schema(), manifest, snapshot_id, "null") as writer:
        numbers = {"snapshot_id": snapshot_id, "sequence_number": None, "file_sequence_number": None}
        writer.add_entry(ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, data_file=file, **numbers))
    listed = str(folder / "metadata" / f"snap-{snapshot_id}.avro")
    with write_manifest_list(2, table.io.new_output(listed), snapshot_id, before.snapshot_id, number, "null") as lists:
        lists.add_manifests([*before.manifests(table.io), writer.to_manifest_file()])
    snapshot = Snapshot(
        snapshot_id=snapshot_id,
        parent_snapshot_id=before.snapshot_id,
        sequence_number=number,
        timestamp_ms=before.timestamp_ms + 1,
        manifest_list=listed,
        summary=Summary(Operation.DELETE),
        schema_id=table.metadata.current_schema_id,
    )
    head = SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=snapshot_id)
    table.catalog.commit_table(table, (), (AddSnapshotUpdate(snapshot=snapshot), head))
    table.refresh()
