"""The manifest: everything of a snapshot. Readers trust it and nothing else; nobody lists folders.

A manifest is `snapshots/<id>.json`; `<id>` is `<UTC time>-<first 16 hex digits of the blake3 of the file's bytes>`,
so an altered manifest no longer bears its own name. All paths in it are relative to the store.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any, ClassVar

from blake3 import blake3
from pydantic import Field, ValidationError

from foundation.errors import IntegrityError
from lookup.store.backend import Backend
from lookup.store.fields import FileRef, NamedRecord, Record
from lookup.store.index_record import IndexRecord
from lookup.store.missing_share import MissingShare

FORMAT = 1
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")
_REMEDY = (
    "restore the file from a backup, publish another file of snapshots/ (docs/how-to/operations.md, Rollback), or run "
    "the whole catalog with --no-parent: shards and indexes that validate are used again"
)


class Segment(Record):
    """One partition's rows inside one shard = one Parquet row group. `digest` covers ids and embeddings, in order."""

    partition: str
    row_group: int
    rows: int
    digest: str
    degraded: tuple[tuple[str, int], ...] = ()  # (reason, rows) that lost a modality but are indexed by the other
    unread: tuple[tuple[str, int], ...] = ()  # (attribute, rows) whose text is no price, or no UTF-8: null to filters
    photos: int = 0  # that its rows name; 0 also where an earlier version did not count
    photos_lost: int = 0  # of these, that could not be read or encoded


class RejectCount(Record):
    """How many rows of `partition` one shard's unit lost for `reason`."""

    partition: str
    reason: str
    rows: int


OTHERS = "others, each of them rarer"  # detail of rows of a reason whose details are too many to be told apart


class DetailCount(Record):
    """Rows of `partition` that one shard's unit lost something of, for the same reason and of the same kind.

    `outcome` is what became of them: `rejected`, `degraded`, or `photos_lost` for those that have others. `detail` is
    what their details have in common, or OTHERS, `example` the id of the first and what its detail says beside.
    """

    partition: str
    outcome: str
    reason: str
    detail: str
    rows: int
    example: str


class ShardRecord(NamedRecord):
    """What one unit became: written beside the shard as its last file, so its presence means the shard is whole."""

    later: ClassVar[frozenset[str]] = frozenset({"photo_state", "details", "inputs"})

    # What the unit was made of and how, 32 hex digits: a run that would make a shard of the same skips the unit.
    inputs: str = ""  # "": of a version that named shards by it
    rows_in: int
    file: FileRef | None  # None: every row was rejected
    rejects: FileRef | None  # None: no row was rejected
    segments: tuple[Segment, ...]
    rejected: tuple[RejectCount, ...]
    # Of rows that lost a photo: what was known of its file (`image_identity: version`), or that it changed meanwhile.
    photo_state: str = ""
    details: tuple[DetailCount, ...] = ()  # of the most frequent kinds, and of the others together


class ShardEntry(Record):
    """A shard as a snapshot uses it: `segments` and `rejected` are the ones that are live (a re-index replaces
    some).
    """

    record: ShardRecord
    source: str  # the catalog file, as the config names it
    row_groups: tuple[int, int]  # first, and one past the last
    segments: tuple[Segment, ...]
    rejected: tuple[RejectCount, ...]


class Provenance(Record):
    """Which run read the rows of a partition, from which catalog (64 hex digits of its files), and when (UTC)."""

    run: str
    catalog: str
    read_at: datetime


class PartitionEntry(Record):
    """A partition of the snapshot; its index positions run through its live segments in the order of the shards."""

    name: str
    rows: int
    index: IndexRecord
    provenance: Provenance | None = None  # None: of an earlier version


class EncoderEntry(Record):
    """An encoder as a query needs it: the spec's fields, its identity, the length of its vectors.

    `parts` are what the identity is a digest of, by name; `about` is where the model lay and which versions computed,
    which may differ. Both are empty in manifests of before they were kept.
    """

    fields: dict[str, Any]
    identity: str
    dim: int
    parts: dict[str, str] = Field(default_factory=dict)
    about: dict[str, str] = Field(default_factory=dict)


class CatalogEntry(Record):
    """The catalog that a snapshot was made of, and how its photos are found again."""

    path: str
    image_root: str | None
    image_column: str | None
    identity: str
    rows: int


class Manifest(Record):
    """One published snapshot."""

    format: int = FORMAT
    parent: str | None
    run: str
    created_at: datetime
    content: str  # 64 hex digits: equal when two snapshots hold the same shards and indexes under the same encoders
    catalog: CatalogEntry
    config: dict[str, Any]
    text: EncoderEntry | None
    image: EncoderEntry | None
    fusion: dict[str, Any]
    fusion_parts: dict[str, str] = Field(default_factory=dict)  # of `fusion_identity`; empty: of before they were kept
    fusion_identity: str | None = None  # None: of before there were learned fusions, which its fields alone decide
    dim: int
    metric: str
    attributes: tuple[str, ...]
    # See lookup.filters.values.type_name; empty: of before they were one over all shards.
    attribute_types: dict[str, str] = Field(default_factory=dict)
    shards: tuple[ShardEntry, ...]
    partitions: tuple[PartitionEntry, ...]
    missing: tuple[MissingShare, ...] | None = None  # None: not measured, or of an earlier version

    @property
    def rows(self) -> int:
        """Products that can be found."""
        return self.rows_in()

    def rejects(self, scope: frozenset[str] | None = None) -> Counter[str]:
        """Reason -> rejected rows of the partitions in `scope`, by default of all."""
        counts = Counter[str]()
        for shard in self.shards:
            for reject in shard.rejected:
                if scope is None or reject.partition in scope:
                    counts[reject.reason] += reject.rows
        return counts

    def degraded(self, scope: frozenset[str] | None = None) -> Counter[str]:
        """Reason -> rows indexed without one of their modalities, of the partitions in `scope`, by default of all."""
        counts = Counter[str]()
        for shard in self.shards:
            for segment in shard.segments:
                if scope is None or segment.partition in scope:
                    counts.update(dict(segment.degraded))
        return counts

    def unread(self, scope: frozenset[str] | None = None) -> Counter[str]:
        """Attribute -> rows whose text is no price, or no UTF-8 if it is none that is declared as one, of the
        partitions in `scope`, by default of all.
        """
        counts = Counter[str]()
        for shard in self.shards:
            for segment in shard.segments:
                if scope is None or segment.partition in scope:
                    counts.update(dict(segment.unread))
        return counts

    def photos(self, scope: frozenset[str] | None = None) -> tuple[int, int]:
        """(photos of the products that can be found, how many of them are lost), of the partitions in `scope`."""
        counted = [
            segment
            for shard in self.shards
            for segment in shard.segments
            if scope is None or segment.partition in scope
        ]
        return sum(segment.photos for segment in counted), sum(segment.photos_lost for segment in counted)

    def details(self, scope: frozenset[str] | None = None) -> list[DetailCount]:
        """What was lost, of the partitions in `scope`, summed over shards, the most frequent first."""
        summed: dict[tuple[str, str, str], DetailCount] = {}
        for shard in self.shards:
            live = {segment.partition for segment in shard.segments} | {reject.partition for reject in shard.rejected}
            for one in shard.record.details:
                if one.partition in live and (scope is None or one.partition in scope):
                    key = (one.outcome, one.reason, one.detail)
                    rows = one.rows + (summed[key].rows if key in summed else 0)
                    summed[key] = summed.get(key, one).model_copy(update={"rows": rows})
        return sorted(summed.values(), key=lambda one: (-one.rows, one.outcome, one.reason, one.detail))

    def rows_in(self, scope: frozenset[str] | None = None) -> int:
        """Products of the partitions in `scope` that can be found, by default of all."""
        return sum(partition.rows for partition in self.partitions if scope is None or partition.name in scope)

    def live(self) -> dict[str, list[tuple[ShardEntry, Segment]]]:
        """Partition -> its live segments, in the order of index positions."""
        found: dict[str, list[tuple[ShardEntry, Segment]]] = {}
        for shard in self.shards:
            for segment in shard.segments:
                found.setdefault(segment.partition, []).append((shard, segment))
        return found

    def files(self) -> list[FileRef]:
        """Every file that this snapshot names."""
        named = [
            file for shard in self.shards for file in (shard.record.file, shard.record.rejects) if file is not None
        ]
        return named + [file for partition in self.partitions for _, file in sorted(partition.index.files.items())]

    def to_bytes(self) -> bytes:
        """The manifest file: UTF-8 JSON."""
        return (self.model_dump_json(indent=1) + "\n").encode()

    def snapshot_id(self) -> str:
        """The id under which `to_bytes()` is published."""
        return f"{self.created_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{_digest(self.to_bytes())}"


def path_of(snapshot_id: str) -> str:
    """The manifest's path in the store."""
    return f"snapshots/{snapshot_id}.json"


def is_id(name: str) -> bool:
    """Whether `name` may be a snapshot's id."""
    return _ID.fullmatch(name) is not None


def ids_in(backend: Backend) -> list[str]:
    """The ids of all snapshots that lie there, published or not, by time."""
    names = (name.removesuffix(".json") for name in backend.names("snapshots") if name.endswith(".json"))
    return [name for name in names if is_id(name)]


def parse(raw: bytes, snapshot_id: str) -> Manifest:
    """The manifest in `raw`, checked against its own id; IntegrityError when altered or of a newer format."""
    if snapshot_id.rpartition("-")[2] != _digest(raw):
        raise IntegrityError(
            f"{path_of(snapshot_id)} with a blake3 that starts with {snapshot_id.rpartition('-')[2]}",
            f"blake3 {_digest(raw)} ({len(raw)} bytes)",
            _REMEDY,
        )
    fields = json.loads(raw)
    if fields.get("format") != FORMAT:
        raise IntegrityError(
            f"a store of format {FORMAT}",
            f"format {fields.get('format')} in {path_of(snapshot_id)}",
            "read it with the version of vitrine that wrote it, or a later one",
        )
    try:
        return Manifest.model_validate(fields)
    except ValidationError as err:
        raise IntegrityError(f"a manifest of format {FORMAT} in {path_of(snapshot_id)}", str(err), _REMEDY) from err


def _digest(raw: bytes) -> str:
    return blake3(raw).hexdigest()[:16]
