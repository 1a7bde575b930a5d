"""The shards that a snapshot uses, and which of their segments are live: a re-index of a category replaces some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import repeat
from typing import NamedTuple

import numpy as np
from pydantic import ConfigDict, Field, model_serializer

from foundation.errors import IntegrityError
from lookup.store.fields import FileRef, Record
from lookup.store.segment_table import Row, SegmentsBuilder, SegmentTable, joined
from lookup.store.shard_record import ShardRecord


class ShardEntry(Record):
    """A shard as a snapshot uses it: its record in short, and where in the catalog its unit lay."""

    name: str  # of its record
    inputs: str  # see ShardRecord
    rows_in: int
    file: FileRef | None  # None: every row was rejected
    rejects: FileRef | None  # None: no row was rejected
    source: str  # the catalog file, as the config names it
    row_groups: tuple[int, int]  # first, and one past the last

    @classmethod
    def of(cls, record: ShardRecord, source: str, row_groups: tuple[int, int]) -> ShardEntry:
        """The entry of a shard by its record."""
        return cls(
            name=record.name,
            inputs=record.inputs or record.name,
            rows_in=record.rows_in,
            file=record.file,
            rejects=record.rejects,
            source=source,
            row_groups=row_groups,
        )


class Located(NamedTuple):
    """A live segment: its shard and that one's file, the row group, its rows, and the digest of these."""

    shard: ShardEntry
    file: FileRef
    row_group: int
    rows: int
    digest: str


class Shards(Record):
    """Shards in the order of index positions, and their live segments. The numbers of the table are places here."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    entries: tuple[ShardEntry, ...] = ()
    segments: SegmentTable = Field(default_factory=lambda: SegmentsBuilder().close(), repr=False)

    @model_serializer
    def _listed(self) -> tuple[ShardEntry, ...]:
        """In JSON the shards alone."""
        return self.entries

    @classmethod
    def of(cls, records: Iterable[tuple[ShardRecord, str, tuple[int, int]]]) -> Shards:
        """Shards that are used whole: (record, source, row groups) each; records are not kept."""
        builder, entries = SegmentsBuilder(), list[ShardEntry]()
        for record, source, row_groups in records:
            builder.add(len(entries), record.segments, record.rejected, record.details)
            entries.append(ShardEntry.of(record, source, row_groups))
        return cls(entries=tuple(entries), segments=builder.close())

    def located(self, partition: str) -> Iterator[Located]:
        """The live segments of a partition, in the order of index positions."""
        return map(self._located, self.segments.of(partition))

    def shard_by_shard(self, partitions: Sequence[str]) -> Iterator[tuple[str, Located]]:
        """(partition, live segment) of some partitions; those of one shard are beside one another, those of one
        partition in the order of index positions.
        """
        several = (zip(repeat(name), self.segments.of(name), strict=False) for name in partitions)
        for name, row in merge(*several, key=lambda one: one[1].shard):
            yield name, self._located(row)

    def at(self, number: int) -> Located | None:
        """The live segment in row `number` of the table; None where there is none, but for what was lost."""
        row = self.segments.row(number)
        return self._located(row) if row.rows else None

    def only(self, scope: frozenset[str]) -> Shards:
        """The same without partitions but those in `scope`, and without shards that have none of these."""
        return self._left(self.segments.only(scope))

    def without(self, scope: frozenset[str]) -> Shards:
        """The same without the partitions in `scope`, and without shards that have no other."""
        return self._left(self.segments.without(scope))

    def _left(self, left: SegmentTable) -> Shards:
        live = np.unique(left.numbers("shard"))
        numbers = np.zeros(len(self.entries), np.int32)
        numbers[live] = np.arange(len(live))
        return Shards(entries=tuple(self.entries[at] for at in live.tolist()), segments=left.numbered(numbers))

    def _located(self, row: Row) -> Located:
        shard = self.entries[row.shard]
        return Located(shard, file_of(shard), row.row_group, row.rows, row.digest)

    def files(self) -> Iterator[FileRef]:
        """Every file of theirs."""
        return (file for one in self.entries for file in (one.file, one.rejects) if file is not None)


def chained(several: Sequence[Shards]) -> Shards:
    """Shards of several, one after another."""
    entries, tables = list[ShardEntry](), list[SegmentTable]()
    for one in several:
        tables.append(one.segments.numbered(np.arange(len(one.entries)) + len(entries)))
        entries += one.entries
    return Shards(entries=tuple(entries), segments=joined(tables)) if tables else Shards()


def file_of(shard: ShardEntry) -> FileRef:
    """The file of a shard with a live segment; IntegrityError where it has none."""
    if shard.file is None:
        raise IntegrityError(
            f"a file of shard {shard.name}, of which rows are live",
            "none",
            "run the whole catalog with --no-parent: shards and indexes that validate are used again",
        )
    return shard.file
