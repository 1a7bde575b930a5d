"""What is recorded of one shard: its files, its segments, and what its unit lost."""

from __future__ import annotations

from typing import ClassVar

from lookup.store.fields import FileRef, Grown, NamedRecord, Record


class Segment(Grown):
    """One partition's rows inside one shard = one Parquet row group. `digest` covers ids and embeddings, in order;
    `texts` what is searched by its words, 32 hex digits, empty where nothing is.
    """

    unsaid: ClassVar[frozenset[str]] = frozenset({"texts"})

    partition: str
    row_group: int
    rows: int
    digest: str
    degraded: tuple[tuple[str, int], ...] = ()  # (reason, rows) that lost a modality but are indexed by the other
    unread: tuple[tuple[str, int], ...] = ()  # (attribute, rows) whose text is no price, or no UTF-8: null to filters
    photos: int = 0  # that its rows name; 0 also where an earlier version did not count
    photos_lost: int = 0  # of these, that could not be read or encoded
    texts: str = ""


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
