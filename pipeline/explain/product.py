"""Where the rows of an id are in a snapshot: indexed, rejected, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation.liveness import beat
from foundation.reasons import fix_of
from lookup.hit import value_of
from lookup.near_ids import NearIds
from lookup.segments import locate, of_other_rows
from lookup.store.checked_files import CheckedFiles
from lookup.store.manifest import Manifest, PartitionEntry
from lookup.store.shards import file_of

_READ = 65_536  # ids in memory at a time
_COLUMNS = ("id", "row", "photo", "attributes", "text_fingerprint", "photo_fingerprint", "degraded", "detail")


@dataclass(frozen=True)
class Source:
    """The catalog row itself: its file, the row groups of its unit (first, and one past the last), and its number
    counted from the first row of these.
    """

    file: str
    row_groups: tuple[int, int]
    row: int


@dataclass(frozen=True)
class IndexedRow:
    """A product that can be found. Fingerprints are 32 hex digits; None: it has no such modality."""

    partition: str
    position: int  # in the index
    shard: str  # path of the file
    row_group: int
    row: int  # of that row group
    source: Source
    attributes: dict[str, Any]
    photo: str | None
    text_fingerprint: str | None
    photo_fingerprint: str | None
    degraded: str | None  # the reason, where it lost a modality
    photos_lost: int
    detail: str | None  # of what it lost
    fix: str  # for what it lost; empty where that is nothing


@dataclass(frozen=True)
class RejectedRow:
    """A row of the id that was left out."""

    partition: str
    reason: str
    detail: str | None
    fix: str
    source: Source


def position_of(files: CheckedFiles, partition: PartitionEntry, name: str, near: NearIds | None = None) -> int | None:
    """The position of an id in a partition's index; None where it is not there. `near` sees the others."""
    start = 0
    with pq.ParquetFile(files.path(partition.index.files["ids"]), page_checksum_verification=True) as file:
        for batch in file.iter_batches(_READ, columns=["id"], use_threads=False):
            beat()
            at: int = pc.index(batch.column(0), name).as_py()
            if at >= 0:
                return start + at
            if near is not None:
                near.see(batch.column(0))
            start += batch.num_rows
    return None


def indexed_row(files: CheckedFiles, manifest: Manifest, name: str, near: NearIds) -> IndexedRow | None:
    """The row of an id that can be found; IntegrityError where an index has it at another's place."""
    for partition in manifest.partitions:
        position = position_of(files, partition, name, near)
        if position is not None:
            return _row(files, manifest, partition, position, name)
    return None


def rejected_rows(files: CheckedFiles, manifest: Manifest, name: str, near: NearIds) -> Iterator[RejectedRow]:
    """The rows of an id that were rejected, in the order of the catalog."""
    table = manifest.shards.segments.table
    live = set(zip(table["shard"].to_pylist(), table["partition"].to_pylist(), strict=True))
    for number, shard in enumerate(manifest.shards.entries):
        if shard.rejects is None:
            continue
        rejects = pq.read_table(files.path(shard.rejects), page_checksum_verification=True, use_threads=False)
        ids = rejects["id"].combine_chunks()
        near.see(ids.drop_null())
        for one in rejects.filter(pc.fill_null(pc.equal(ids, name), False)).to_pylist():
            if (number, one["partition"]) in live:
                source = Source(shard.source, shard.row_groups, one["row"])
                yield RejectedRow(one["partition"], one["reason"], one["detail"], fix_of(one["reason"]), source)


def _row(files: CheckedFiles, manifest: Manifest, partition: PartitionEntry, position: int, name: str) -> IndexedRow:
    segments = manifest.shards.segments.of(partition.name)
    shard, row_group, row = locate(segments, manifest.shards.entries, position)
    file = file_of(shard)
    with pq.ParquetFile(files.path(file), page_checksum_verification=True) as opened:
        wanted = [one for one in (*_COLUMNS, "photos_lost") if one in opened.schema_arrow.names]
        table = opened.read_row_group(row_group, columns=wanted, use_threads=False).slice(row, 1)
    at = {column: table.column(column)[0] for column in table.column_names}
    found = at["id"].as_py()
    if found != name:
        raise of_other_rows(partition, f"{name!r} at position {position} of it, {found!r} in {file.path}")
    plain = {column: at[column].as_py() if column in at else None for column in (*_COLUMNS, "photos_lost")[4:]}
    lost = plain["photos_lost"] or 0
    return IndexedRow(
        partition=partition.name,
        position=position,
        shard=file.path,
        row_group=row_group,
        row=row,
        source=Source(shard.source, shard.row_groups, at["row"].as_py()),
        attributes={key: value_of(value) for key, value in at["attributes"].items()} if "attributes" in at else {},
        photo=at["photo"].as_py(),
        text_fingerprint=_hex(plain["text_fingerprint"]),
        photo_fingerprint=_hex(plain["photo_fingerprint"]),
        degraded=plain["degraded"],
        photos_lost=lost,
        detail=plain["detail"],
        fix=fix_of(plain["degraded"]) if plain["degraded"] else "",
    )


def _hex(fingerprint: bytes | None) -> str | None:
    return None if fingerprint is None else fingerprint.hex()
