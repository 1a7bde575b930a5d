"""The manifest: everything of a snapshot. Readers trust it and nothing else; nobody lists folders.

A manifest is `snapshots/<id>.json`; `<id>` is `<UTC time>-<first 16 hex digits of the blake3 of the file's bytes>`,
so an altered manifest no longer bears its own name. Beside it lies `<id>.segments`, an Arrow file with a row for each
segment, whose digest it has. All paths in it are relative to the store.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple

import pyarrow as pa
from blake3 import blake3
from pydantic import Field, ValidationError

from foundation.errors import IntegrityError
from foundation.identity import identity_of
from lookup.store.backends.backend import Backend
from lookup.store.entries.accepted import Accepted
from lookup.store.entries.drift import Drift
from lookup.store.entries.duplicates_record import DuplicatesRecord
from lookup.store.entries.figures import Agreement, GoldenCount, PartitionFigures
from lookup.store.entries.index_record import IndexRecord
from lookup.store.entries.lexical_record import LexicalEntry, LexicalRecord
from lookup.store.entries.missing_share import MissingShare
from lookup.store.entries.ranker_record import RankerRecord
from lookup.store.entries.understand_settings import UnderstandSettings, settings_of
from lookup.store.entries.understanding_record import UnderstandingRecord
from lookup.store.fields import FileRef, Grown, Record
from lookup.store.format_1 import upgraded
from lookup.store.segment_table import SegmentTable
from lookup.store.shard_record import DetailCount
from lookup.store.shards import Shards

FORMAT = 2
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}")
_REMEDY = (
    "restore the file from a backup, publish another file of snapshots/ (docs/how-to/operations.md, Rollback), or run "
    "the whole catalog with --no-parent: shards and indexes that validate are used again"
)


class Provenance(Record):
    """Which run read the rows of a partition, from which catalog (64 hex digits of its files), and when (UTC)."""

    run: str
    catalog: str
    read_at: datetime


class PartitionEntry(Grown):
    """A partition of the snapshot; its index positions run through its live segments in the order of the shards."""

    unsaid: ClassVar[frozenset[str]] = frozenset({"lexical", "duplicates"})

    name: str
    rows: int
    index: IndexRecord
    provenance: Provenance | None = None  # None: of an earlier version
    figures: PartitionFigures | None = None  # None: not measured, or of an earlier version
    lexical: LexicalRecord | None = None  # None: not searched by words
    duplicates: DuplicatesRecord | None = None  # None: not looked for

    def files(self) -> list[FileRef]:
        """The files of its indexes."""
        return [file for one in self.records() for _, file in sorted(one.files.items())]

    def records(self) -> list[IndexRecord | LexicalRecord | DuplicatesRecord]:
        """Its index of embeddings, and what else is kept like it: that of words, and its near-duplicates."""
        return [self.index, *(one for one in (self.lexical, self.duplicates) if one is not None)]


class EncoderEntry(Grown):
    """An encoder as a query needs it: the spec's fields, its identity, the length of its vectors, and of one that joins
    several the lengths of theirs, and whether some of these read a column by itself.

    `parts` are what the identity is a digest of, by name; `about` is where the model lay and which versions computed,
    which may differ. Both are empty in manifests of before they were kept.
    """

    unsaid: ClassVar[frozenset[str]] = frozenset({"members", "by_field"})

    fields: dict[str, Any]
    identity: str
    dim: int
    parts: dict[str, str] = Field(default_factory=dict)
    about: dict[str, str] = Field(default_factory=dict)
    members: tuple[int, ...] = ()
    by_field: bool = False


class CatalogEntry(Grown):
    """The catalog that a snapshot was made of, and how its photos are found again.

    `fields` are of a table whose files call columns otherwise than the table does: column -> the id of its field, or
    its name, and names in files that have no ids; of those that pages show something of.
    """

    unsaid: ClassVar[frozenset[str]] = frozenset({"fields"})

    path: str
    image_root: str | None
    image_column: str | None
    identity: str
    rows: int
    newest: datetime | None = None  # when the newest of its files was written (UTC); None: in a bucket, or not kept
    fields: dict[str, tuple[int | str, ...]] = Field({})


class Manifest(Grown):
    """One published snapshot."""

    unsaid: ClassVar[frozenset[str]] = frozenset({"ranker", "lexical", "understanding"})

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
    shards: Shards
    partitions: tuple[PartitionEntry, ...]
    unit_rows: int | None = None  # of a unit at most, as planned; None: of an earlier version
    missing: tuple[MissingShare, ...] | None = None  # None: not measured, or of an earlier version
    golden: GoldenCount | None = None  # None: no golden queries
    agreement: Agreement | None = None  # of texts and photos of all partitions; None: as above
    whole: Provenance | None = None  # the last run of the whole catalog that it stands on; None: none, or not known
    drift: Drift | None = None  # from the parent; None: a first one, or of an earlier version
    accepted: tuple[Accepted, ...] = ()  # what it was published in spite of
    ranker: RankerRecord | None = None  # None: none
    lexical: LexicalEntry | None = None  # None: not searched by words
    understanding: UnderstandingRecord | None = None  # None: all categories are searched

    @property
    def rows(self) -> int:
        """Products that can be found."""
        return self.rows_in()

    def rejects(self, scope: frozenset[str] | None = None) -> Counter[str]:
        """Reason -> rejected rows of the partitions in `scope`, by default of all."""
        return self.shards.segments.lost("rejected", scope)

    def degraded(self, scope: frozenset[str] | None = None) -> Counter[str]:
        """Reason -> rows indexed without one of their modalities, of the partitions in `scope`, by default of all."""
        return self.shards.segments.lost("degraded", scope)

    def unread(self, scope: frozenset[str] | None = None) -> Counter[str]:
        """Attribute -> rows whose text is no price, or no UTF-8 if it is none that is declared as one, of the
        partitions in `scope`, by default of all.
        """
        return self.shards.segments.lost("unread", scope)

    def photos(self, scope: frozenset[str] | None = None) -> tuple[int, int]:
        """(photos of the products that can be found, how many of them are lost), of the partitions in `scope`."""
        return self.shards.segments.photos(scope)

    def details(self, scope: frozenset[str] | None = None) -> list[DetailCount]:
        """What was lost, of the partitions in `scope`, summed over shards, the most frequent first."""
        return self.shards.segments.kinds(scope)

    def rows_in(self, scope: frozenset[str] | None = None) -> int:
        """Products of the partitions in `scope` that can be found, by default of all."""
        return sum(partition.rows for partition in self.partitions if scope is None or partition.name in scope)

    def files(self) -> list[FileRef]:
        """Every file that this snapshot names, but its own."""
        return [
            *self.shards.files(),
            *(file for partition in self.partitions for file in partition.files()),
            *(file for _, file in sorted(self.ranker.files.items() if self.ranker else ())),
            *(file for _, file in sorted(self.understanding.files.items() if self.understanding else ())),
        ]

    @property
    def made_from(self) -> str:
        """64 hex digits of what went in: of every unit, and of the models. Two snapshots of the same have one, also
        where vectors that were copied differ in their last bits, or indexes were trained another time.
        """
        models = [one and one.identity for one in (self.text, self.image)]
        fusion = self.fusion_identity or self.fusion
        return identity_of({"units": sorted(one.inputs for one in self.shards.entries), "models": [*models, fusion]})

    @property
    def built_from(self) -> str:
        """64 hex digits of that, and of what else the last run's config made of it: sections `index`, `lexical`, with
        the content of its synonyms, `duplicates` and `search.understand`, and of the re-ranker.
        """
        understand = (self.config.get("search") or {}).get("understand") or {}
        duplicates = self.config.get("duplicates")
        others = {
            "lexical": self.config.get("lexical"),
            "synonyms": (self.lexical and self.lexical.analysis.get("synonyms")) or None,
            "duplicates": duplicates and {name: one for name, one in duplicates.items() if name != "told"},
            # also where only queries that ask for it are understood: those are answered otherwise
            "understand": understand if settings_of(self.config) != UnderstandSettings() else None,
            "ranker": self.ranker and self.ranker.identity,
        }
        made = {name: one for name, one in others.items() if one is not None}  # a part that is not there is not told
        return identity_of({"made_from": self.made_from, "index": self.config.get("index"), **made})

    def written(self) -> Written:
        """The files of the manifest as it is published now, and its id."""
        segments = self.shards.segments.to_bytes()
        fields = {**self.model_dump(mode="json"), "format": FORMAT}
        fields["segments"] = {"bytes": len(segments), "blake3": blake3(segments).hexdigest()}
        raw = (json.dumps(fields, ensure_ascii=False, indent=1) + "\n").encode()
        name = f"{self.created_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{_digest(raw)}"
        return Written(name, raw, segments)


class Written(NamedTuple):
    """The id of a snapshot, and the bytes of its two files."""

    snapshot: str
    manifest: bytes
    segments: memoryview


def path_of(snapshot_id: str) -> str:
    """The manifest's path in the store."""
    return f"snapshots/{snapshot_id}.json"


def segments_path(snapshot_id: str) -> str:
    """The path of its segments."""
    return f"snapshots/{snapshot_id}.segments"


def is_id(name: str) -> bool:
    """Whether `name` may be a snapshot's id."""
    return _ID.fullmatch(name) is not None


def ids_in(backend: Backend) -> list[str]:
    """The ids of all snapshots that lie there, published or not, by time."""
    names = (name.removesuffix(".json") for name in backend.names("snapshots") if name.endswith(".json"))
    return [name for name in names if is_id(name)]


def read_manifest(backend: Backend, snapshot_id: str) -> Manifest:
    """The manifest of a snapshot, checked against its own id; IntegrityError when one of its files is altered or lost,
    or of a newer format; FileNotFoundError where there is no snapshot of that id.
    """
    path = path_of(snapshot_id)
    raw = backend.read(path)
    if snapshot_id.rpartition("-")[2] != _digest(raw):
        wanted = f"{path} with a blake3 that starts with {snapshot_id.rpartition('-')[2]}"
        raise IntegrityError(wanted, f"blake3 {_digest(raw)} ({len(raw)} bytes)", _REMEDY)
    fields = json.loads(raw)
    if fields.get("format") not in (1, FORMAT):
        raise IntegrityError(
            f"a store of format {FORMAT} or before",
            f"format {fields.get('format')} in {path}",
            "read it with the version of vitrine that wrote it, or a later one",
        )
    try:
        if fields["format"] == 1:
            return Manifest.model_validate(upgraded(fields))
        segments = _read_segments(backend, segments_path(snapshot_id), fields.pop("segments"))
        return Manifest.model_validate({**fields, "shards": {"entries": fields["shards"], "segments": segments}})
    except (ValidationError, LookupError, TypeError) as err:
        raise IntegrityError(f"a manifest of format {fields['format']} in {path}", str(err), _REMEDY) from err


def _read_segments(backend: Backend, path: str, named: dict[str, Any]) -> SegmentTable:
    wanted = f"{path} with {named['bytes']} bytes and blake3 {named['blake3']}"
    try:
        raw = backend.read(path)
    except FileNotFoundError as err:
        raise IntegrityError(wanted, "no such file", _REMEDY) from err
    found = blake3(raw).hexdigest()
    if found != named["blake3"]:
        raise IntegrityError(wanted, f"{len(raw)} bytes, blake3 {found}", _REMEDY)
    try:
        return SegmentTable.from_bytes(raw)
    except pa.ArrowInvalid as err:
        raise IntegrityError(f"segments of a snapshot in {path}", str(err), _REMEDY) from err


def _digest(raw: bytes) -> str:
    return blake3(raw).hexdigest()[:16]
