"""The manifest: everything of a snapshot. Readers trust it and nothing else; nobody lists folders.

A manifest is `snapshots/<id>.json`; `<id>` is `<UTC time>-<first 16 hex digits of the blake3 of the file's bytes>`,
so an altered manifest no longer bears its own name. All paths in it are relative to the store.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from blake3 import blake3
from pydantic import BaseModel, ConfigDict, ValidationError

from lookup.errors import IntegrityError
from lookup.identity import identity_of
from lookup.missing import MissingShare

FORMAT = 1
_REMEDY = (
    "restore the file from a backup, point CURRENT at another file of snapshots/, or run the whole catalog with "
    "--no-parent: shards and indexes that validate are used again"
)


class Record(BaseModel):
    """A frozen piece of a manifest that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    later: ClassVar[frozenset[str]] = frozenset()  # fields that a record of an earlier version may lack


class NamedRecord(Record):
    """A record in a file of its own, which is believed under its own name alone: see records.py."""

    name: str


class FileRef(Record):
    """A file of the store: `path` relative to it, `bytes`, `rows`, and its blake3 (64 hex digits)."""

    path: str
    bytes: int
    rows: int
    blake3: str


class Segment(Record):
    """One partition's rows inside one shard = one Parquet row group. `digest` covers ids and embeddings, in order."""

    partition: str
    row_group: int
    rows: int
    digest: str
    degraded: tuple[tuple[str, int], ...] = ()  # (reason, rows) that lost a modality but are indexed by the other
    unread: tuple[tuple[str, int], ...] = ()  # (declared price, rows) whose text is no price, and null to filters
    photos: int = 0  # that its rows name; 0 also where an earlier version did not count
    photos_lost: int = 0  # of these, that could not be read or encoded


class RejectCount(Record):
    """How many rows of `partition` one shard's unit lost for `reason`."""

    partition: str
    reason: str
    rows: int


class DetailCount(Record):
    """Rows of `partition` that one shard's unit lost something of, for the same reason and of the same kind.

    `outcome` is what became of them: `rejected`, `degraded`, or `photos_lost` for those that have others. `detail` is
    what their details have in common, `example` the id of the first and what its detail says beside.
    """

    partition: str
    outcome: str
    reason: str
    detail: str
    rows: int
    example: str


class ShardRecord(NamedRecord):
    """What one unit became: written beside the shard as its last file, so its presence means the shard is whole."""

    later: ClassVar[frozenset[str]] = frozenset({"photo_state", "details"})

    rows_in: int
    file: FileRef | None  # None: every row was rejected
    rejects: FileRef | None  # None: no row was rejected
    segments: tuple[Segment, ...]
    rejected: tuple[RejectCount, ...]
    # Of rows that lost a photo: what was known of its file (`image_identity: version`), or that it changed meanwhile.
    photo_state: str = ""
    details: tuple[DetailCount, ...] = ()  # the most frequent


class ShardEntry(Record):
    """A shard as a snapshot uses it: `segments` and `rejected` are the ones that are live (a re-index replaces
    some).
    """

    record: ShardRecord
    source: str  # the catalog file, as the config names it
    row_groups: tuple[int, int]  # first, and one past the last
    segments: tuple[Segment, ...]
    rejected: tuple[RejectCount, ...]


class CurvePoint(Record):
    """One measured setting of an index: recall@k in 0..1, what it costs by count (see index_builders/cost.py), and
    milliseconds per query with one thread.
    """

    nprobe: int
    refine_factor: int = 0
    recall: float
    cost_us: float = 0.0
    ms: float


class Considered(Record):
    """An index that was weighed for a partition: its cheapest setting that reaches the target recall, or its best.

    `rows` is how many rows it was built of: all of the partition's, or of a sample. Bytes are per vector: of the FAISS
    file, and of that with the refine vectors. `verdict` says why it was taken or passed over.
    """

    type: str
    parameters: dict[str, Any]
    rows: int
    nprobe: int
    refine_factor: int
    recall: float
    cost_us: float
    memory_bytes: float
    disk_bytes: float
    verdict: str


class Proof(Record):
    """What was looked at in the files as readers open them, after every count was found right."""

    recall_low: float  # the 95% bootstrap interval of recall@k over the held-out queries
    recall_high: float
    found_itself: int  # sampled rows that were asked for, and found
    imbalance: float | None  # of the lists: nlist * sum(size^2) / rows^2, 1 when all are equal; None: no lists
    score_error: float  # root mean square of (the score by which candidates are found - the true score)
    reconstruction_error: float | None  # mean |x - decoded x|^2 / |x|^2; None: FAISS does not decode this type
    memory_bytes: float  # per vector: the FAISS file
    disk_bytes: float  # per vector: the FAISS file and the refine vectors


class KindRecall(Record):
    """recall@k of one kind of queries, `row` or `text`, with the 95% bootstrap interval of its mean."""

    kind: str
    queries: int
    recall: float
    low: float
    high: float


class TrainingFigures(Record):
    """How well centroids and codes that were learned fit the rows of an index."""

    rows: int
    assignment_error: float  # mean |x - c|^2 of rows drawn from all, c the centroid of the list that x is in
    imbalance: float  # of the lists, see Proof
    nprobe: int  # the setting that the index was tuned to when it was trained, at which `recall` is measured
    refine_factor: int
    recall: float


UNDECIDED = "index.retrain: always"  # the `reason` of a training where nothing was to be decided


class Training(Record):
    """Whose rows an index was learned from, and why: see index_builders/retrain.py."""

    content: str  # the name that the index of these rows and settings has when it is trained on its own rows
    settings: str  # 64 hex digits: of what decides a training, and under `type: auto` the choice
    trained_by: str  # the name of the index whose rows it was learned from; its own, unless `reused`
    reused: bool
    reason: str  # the bound that decided, or that there was nothing to decide
    then: TrainingFigures | None  # of `trained_by` when it was trained; None: nothing is learned
    now: TrainingFigures | None  # of this index; those of `then`, unless `reused`


class IndexRecord(NamedRecord):
    """One partition's index and its measured quality: written beside the index as its last file."""

    # Fields that came later: a record without them is one of an index that is kept.
    later: ClassVar[frozenset[str]] = frozenset({"recalls", "training", "made_of", "note", "faiss"})

    type: str
    parameters: dict[str, Any]
    metric: str
    dim: int
    rows: int
    files: dict[str, FileRef]  # role (index, ids, refine, refine_range) -> file
    nprobe: int  # how widely to search, see lookup.index.PartitionIndex.widest; 0: the index is exact
    refine_factor: int  # candidates per hit that are re-ranked with the refine vectors; 0: none
    k: int  # the k of recall@k
    recall: float  # where more than one kind of queries was asked, of the kind that has the least
    recall_queries: int
    curve: tuple[CurvePoint, ...]
    p50_ms: float
    p99_ms: float
    train_rows: int
    build_seconds: float  # to build, check and measure it; of one built as parts the sum over all steps
    proof: Proof | None = None  # None: an index of an earlier version
    considered: tuple[Considered, ...] = ()
    recalls: tuple[KindRecall, ...] = ()  # of every kind of queries, the least first; empty: of rows alone
    training: Training | None = None  # None: an index of an earlier version
    made_of: str | None = None  # see `made_of`; None: an index of an earlier version
    note: str = ""  # why it is not of the type, or has not the lists, that the settings ask for
    faiss: str = ""  # the version that built it, for people: another may give other bytes; empty: of an earlier version

    @property
    def exact(self) -> bool:
        """Whether a search compares every row: its recall is 1 by construction, and nothing of it is measured."""
        return not self.nprobe and self.recall >= 1


class PartitionEntry(Record):
    """A partition of the snapshot; its index positions run through its live segments in the order of the shards."""

    name: str
    rows: int
    index: IndexRecord


class EncoderEntry(Record):
    """An encoder as a query needs it: the spec's fields, its identity, the length of its vectors.

    `parts` are what the identity is a digest of, by name; `about` is where the model lay and which versions computed,
    which may differ. Both are empty in manifests of before they were kept.
    """

    fields: dict[str, Any]
    identity: str
    dim: int
    parts: dict[str, str] = {}
    about: dict[str, str] = {}


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
    fusion_parts: dict[str, str] = {}  # of `fusion_identity`; empty: of before they were kept
    fusion_identity: str | None = None  # None: of before there were learned fusions, which its fields alone decide
    dim: int
    metric: str
    attributes: tuple[str, ...]
    attribute_types: dict[str, str] = {}  # see lookup.values.type_name; empty: of before they were one over all shards
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
        """Declared price -> rows whose text is no price, of the partitions in `scope`, by default of all."""
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


def made_of(segments: Sequence[str]) -> str:
    """64 hex digits of the digests of segments, in order: what an index was made of."""
    return identity_of({"segments": list(segments)})


def path_of(snapshot_id: str) -> str:
    """The manifest's path in the store."""
    return f"snapshots/{snapshot_id}.json"


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
