"""The segments of a snapshot, in columns: what grows with units x partitions, and so is no JSON.

A row is what one shard has of one partition. Rows are sorted by partition, and within it by shard: a partition's are
beside one another, in the order of its index positions. One without embedded rows is there for what was lost.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from foundation.arrays import Mask, Positions
from lookup.store.shard_record import DetailCount, RejectCount, Segment

_DIGEST = 32  # bytes
_LOST = pa.struct([("outcome", pa.string()), ("reason", pa.string()), ("rows", pa.int32())])
_KINDS = pa.struct(
    [
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("rows", pa.int32()),
        ("example", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("partition", pa.dictionary(pa.int32(), pa.string())),
        ("shard", pa.int32()),  # its number in the snapshot
        ("row_group", pa.int32()),  # of the shard's file; -1: none, no row of it was embedded
        ("rows", pa.int32()),
        ("photos", pa.int32()),
        ("photos_lost", pa.int32()),
        ("digest", pa.binary(_DIGEST)),  # zeros where there are no rows
        ("lost", pa.list_(_LOST)),  # rows by outcome (rejected, degraded, unread) and reason, or attribute
        ("kinds", pa.list_(_KINDS)),  # see DetailCount
    ]
)
TEXTS = pa.field("texts", pa.binary(16))  # digest of what is searched by its words; a column of snapshots with such
_WITH_TEXTS = SCHEMA.append(TEXTS)
Numbers = npt.NDArray[np.int32]
_Counts = tuple[tuple[str, int], ...]


class Row(NamedTuple):
    """Where rows of a partition lie: the number of the shard, the row group, how many, and the digest of these."""

    shard: int
    row_group: int
    rows: int
    digest: str


@dataclass(frozen=True)
class PartitionSegments:
    """The segments of one partition that have rows, in the order of index positions: (s,) int32 each."""

    shards: Numbers
    row_groups: Numbers
    rows: Numbers
    _digests: bytes
    texts: tuple[str, ...] = ()  # digests of what is searched by its words, 32 hex digits each; none: nothing is

    @cached_property
    def ends(self) -> Positions:
        """(s,): one past the last position of each."""
        return np.cumsum(self.rows, dtype=np.int64)

    @cached_property
    def digests(self) -> list[str]:
        """64 hex digits each."""
        joined = self._digests.hex()
        return [joined[at : at + 2 * _DIGEST] for at in range(0, len(joined), 2 * _DIGEST)]

    @property
    def total(self) -> int:
        """Rows of all."""
        return int(self.rows.sum(dtype=np.int64))

    def __iter__(self) -> Iterator[Row]:
        columns = (self.shards.tolist(), self.row_groups.tolist(), self.rows.tolist(), self.digests)
        return map(Row._make, zip(*columns, strict=True))


class SegmentTable:
    """See above; `table` has SCHEMA, in that order and of one chunk."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()
        names = self._column("partition")
        self.names: list[str] = names.dictionary.to_pylist()
        self._codes: Numbers = names.indices.to_numpy()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SegmentTable) and self.table.equals(other.table)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def partitions(self) -> dict[str, slice]:
        """Partition -> its rows of the table."""
        starts = np.flatnonzero(np.diff(self._codes, prepend=-1)).tolist()
        ends = [*starts[1:], len(self)] if starts else []
        return {self.names[self._codes[a]]: slice(a, b) for a, b in zip(starts, ends, strict=True)}

    def of(self, partition: str) -> PartitionSegments:
        """The segments of a partition that have rows; none where there is no such partition."""
        at = self.partitions.get(partition, slice(0, 0))
        shards, groups, rows = (self.numbers(name)[at] for name in ("shard", "row_group", "rows"))
        there, raw = rows > 0, self._digests()[at]
        found = PartitionSegments(shards[there], groups[there], rows[there], raw[there].tobytes())
        if not self.has_texts:
            return found
        texts = self._column("texts").slice(at.start, at.stop - at.start).filter(pa.array(there))
        return replace(found, texts=tuple((one or b"").hex() for one in texts.to_pylist()))

    @property
    def has_texts(self) -> bool:
        """Whether the segments are searched by their words."""
        return TEXTS.name in self.table.column_names

    def row(self, number: int) -> Row:
        """A row of the table."""
        shard, row_group, rows = (int(self.numbers(name)[number]) for name in ("shard", "row_group", "rows"))
        return Row(shard, row_group, rows, self._digests()[number].tobytes().hex())

    def numbers(self, name: str) -> Numbers:
        """A column of numbers, (n,) int32."""
        found: Numbers = self._column(name).to_numpy()
        return found

    def rows_of(self) -> Counter[str]:
        """Partition -> rows that can be found."""
        sums = _sums(self._codes, self.numbers("rows"), len(self.names))
        return Counter({name: count for name, count in zip(self.names, sums.tolist(), strict=True) if count})

    def by_shard(self, shards: int) -> Positions:
        """How many rows each of so many shards has: (shards,) int64."""
        return _sums(self.numbers("shard"), self.numbers("rows"), shards)

    def lost_by_shard(self, outcome: str, shards: int) -> Positions:
        """How many rows of an outcome each of so many shards has: (shards,) int64."""
        owners, found = self._owned("lost")
        counted = pc.equal(found["outcome"], outcome).to_numpy()
        return _sums(self.numbers("shard")[owners[counted]], found["rows"].to_numpy()[counted], shards)

    def in_scope(self, scope: frozenset[str], shards: int) -> Mask:
        """Which of so many shards have anything of the partitions in `scope`: (shards,)."""
        found = np.zeros(shards, np.bool_)
        found[self.numbers("shard")[self._within(scope)]] = True
        return found

    def lost(self, outcome: str, scope: frozenset[str] | None = None) -> Counter[str]:
        """Reason (of `unread`: attribute) -> rows of an outcome, of the partitions in `scope`, by default of all."""
        found = self._flat("lost", scope, outcome)
        sums = found.group_by("reason", use_threads=False).aggregate([("rows", "sum")])
        return Counter(dict(zip(sums["reason"].to_pylist(), sums["rows_sum"].to_pylist(), strict=True)))

    def lost_of(self, outcome: str) -> Counter[str]:
        """Partition -> rows of an outcome."""
        found = self._flat("lost", None, outcome)
        sums = _sums(found["partition"].to_numpy(), found["rows"].to_numpy(), len(self.names))
        return Counter(dict(zip(self.names, sums.tolist(), strict=True)))

    def photos_of(self) -> dict[str, tuple[int, int]]:
        """Partition -> (photos of the rows that can be found, how many of them are lost)."""
        both = (_sums(self._codes, self.numbers(name), len(self.names)) for name in ("photos", "photos_lost"))
        return dict(zip(self.names, zip(*(one.tolist() for one in both), strict=True), strict=True))

    def kinds(self, scope: frozenset[str] | None = None) -> list[DetailCount]:
        """What was lost, of the partitions in `scope`, summed over shards, the most frequent first."""
        found, key = self._flat("kinds", scope), ["outcome", "reason", "detail"]
        wanted = [("rows", "sum"), ("example", "first"), ("partition", "first")]
        sums = found.group_by(key, use_threads=False).aggregate(wanted).to_pylist()
        counts = [
            DetailCount(
                partition=self.names[one["partition_first"]],
                rows=one["rows_sum"],
                example=one["example_first"],
                **{name: one[name] for name in key},
            )
            for one in sums
        ]
        return sorted(counts, key=lambda one: (-one.rows, one.outcome, one.reason, one.detail))

    def photos(self, scope: frozenset[str] | None = None) -> tuple[int, int]:
        """(photos of the rows that can be found, how many of them are lost), of the partitions in `scope`."""
        within = self._within(scope)
        all_of, lost = (self.numbers(name)[within].sum(dtype=np.int64) for name in ("photos", "photos_lost"))
        return int(all_of), int(lost)

    def only(self, scope: frozenset[str]) -> SegmentTable:
        """Those of the partitions in `scope`; numbers of shards stay."""
        return SegmentTable(self.table.filter(pa.array(self._within(scope))))

    def without(self, scope: frozenset[str]) -> SegmentTable:
        """The same but for the partitions in `scope`; numbers of shards stay."""
        return SegmentTable(self.table.filter(pa.array(~self._within(scope))))

    def numbered(self, numbers: npt.NDArray[np.integer[Any]]) -> SegmentTable:
        """The same with other numbers of shards, that rise with the old ones: of shard i, numbers[i]."""
        shards = pa.array(numbers[self.numbers("shard")].astype(np.int32))
        return SegmentTable(self.table.set_column(1, SCHEMA.field("shard"), shards))

    def renamed(self, codes: Mapping[str, int]) -> Numbers:
        """The partition of each row as a number, as `codes` has it: (n,)."""
        return np.array([codes.get(name, -1) for name in self.names], np.int32)[self._codes]

    def digest(self) -> str:
        """64 hex digits of which rows of which shards are there, whatever wrote the file."""
        digest = blake3("\0".join(self.names).encode())
        for column in (self._codes, self.numbers("shard"), self.numbers("rows"), self._digests()):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> memoryview:
        """An Arrow IPC file. Equal tables have equal bytes under one version of pyarrow."""
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
        with pa.ipc.new_file(sink, _WITH_TEXTS if self.has_texts else SCHEMA, options=options) as file:
            file.write_table(self.table)
        return memoryview(sink.getvalue())

    @classmethod
    def from_bytes(cls, raw: bytes | memoryview) -> SegmentTable:
        """What `to_bytes` gave; pa.ArrowInvalid where it is another kind of file."""
        with pa.ipc.open_file(pa.py_buffer(raw)) as file:
            if file.schema not in (SCHEMA, _WITH_TEXTS):
                raise pa.ArrowInvalid(f"a table of {', '.join(file.schema.names)}")
            return cls(file.read_all())

    def _column(self, name: str) -> pa.Array:
        column = self.table.column(name)
        return column.chunk(0) if column.num_chunks else pa.array([], column.type)

    def _digests(self) -> npt.NDArray[np.uint8]:
        digests = self._column("digest")
        raw = np.frombuffer(digests.buffers()[1] or b"", np.uint8, len(digests) * _DIGEST, digests.offset * _DIGEST)
        return raw.reshape(len(digests), _DIGEST)

    def _within(self, scope: frozenset[str] | None) -> Mask:
        if scope is None:
            return np.ones(len(self), np.bool_)
        return np.isin(self._codes, [code for code, name in enumerate(self.names) if name in scope])

    def _flat(self, name: str, scope: frozenset[str] | None, outcome: str | None = None) -> pa.Table:
        """The elements of a column of lists that are in scope, and of an outcome, with the code of their partition."""
        owners, found = self._owned(name)
        found = found.append_column("partition", pa.array(self._codes[owners], pa.int32()))
        if scope is not None:
            codes = [code for code, one in enumerate(self.names) if one in scope]
            found = found.filter(pc.is_in(found["partition"], pa.array(codes, pa.int32())))
        return found if outcome is None else found.filter(pc.equal(found["outcome"], outcome))

    def _owned(self, name: str) -> tuple[Positions, pa.Table]:
        """The elements of a column of lists, and the row of each."""
        lists = self._column(name)
        return pc.list_parent_indices(lists).to_numpy(), pa.Table.from_struct_array(lists.flatten())


class SegmentsBuilder:
    """Rows of a SegmentTable in any order, 45 bytes each and what was lost."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._numbers = {name: array("i") for name in ("partition", *SCHEMA.names[1:6])}
        self._digests, self._texts = bytearray(), bytearray()
        self._lost: dict[int, list[dict[str, Any]]] = {}
        self._kinds: dict[int, list[dict[str, Any]]] = {}

    def add(
        self,
        shard: int,
        segments: Iterable[Segment],
        rejected: Iterable[RejectCount],
        details: Sequence[DetailCount] = (),
    ) -> None:
        """What a shard has. Of `details` those of its partitions are taken."""
        rows: dict[str, int] = {}
        for segment in segments:
            rows[segment.partition] = self._row(shard, segment)
            self._count(rows[segment.partition], "degraded", segment.degraded)
            self._count(rows[segment.partition], "unread", segment.unread)
        for reject in rejected:
            if reject.partition not in rows:
                nothing = Segment(partition=reject.partition, row_group=-1, rows=0, digest="")
                rows[reject.partition] = self._row(shard, nothing)
            self._count(rows[reject.partition], "rejected", ((reject.reason, reject.rows),))
        for detail in details:
            if detail.partition in rows:
                at = self._kinds.setdefault(rows[detail.partition], [])
                at.append(detail.model_dump(exclude={"partition"}))

    def close(self) -> SegmentTable:
        """The table."""
        names = sorted(self._codes)
        rank = np.empty(len(names), np.int32)
        rank[[self._codes[name] for name in names]] = np.arange(len(names))
        columns = {name: np.frombuffer(numbers, np.int32) for name, numbers in self._numbers.items()}
        codes = rank[columns.pop("partition")]
        order = np.lexsort((columns["shard"], codes))
        digests = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(_DIGEST), len(codes), [None, pa.py_buffer(self._digests)]
        )
        arrays = [
            pa.DictionaryArray.from_arrays(pa.array(codes[order], pa.int32()), pa.array(names, pa.string())),
            *(pa.array(column[order]) for column in columns.values()),
            digests.take(pa.array(order)),
            _lists(self._lost, order, _LOST),
            _lists(self._kinds, order, _KINDS),
        ]
        if not any(self._texts):
            return SegmentTable(pa.Table.from_arrays(arrays, schema=SCHEMA))
        texts = pa.FixedSizeBinaryArray.from_buffers(TEXTS.type, len(codes), [None, pa.py_buffer(self._texts)])
        return SegmentTable(pa.Table.from_arrays([*arrays, texts.take(pa.array(order))], schema=_WITH_TEXTS))

    def _row(self, shard: int, one: Segment) -> int:
        code = self._codes.setdefault(one.partition, len(self._codes))
        values = (code, shard, one.row_group, one.rows, one.photos, one.photos_lost)
        for numbers, value in zip(self._numbers.values(), values, strict=True):
            numbers.append(value)
        self._digests += bytes.fromhex(one.digest) if one.digest else bytes(_DIGEST)
        self._texts += bytes.fromhex(one.texts) if one.texts else bytes(TEXTS.type.byte_width)
        return len(self._numbers["shard"]) - 1

    def _count(self, row: int, outcome: str, counts: _Counts) -> None:
        found = [{"outcome": outcome, "reason": reason, "rows": rows} for reason, rows in counts if rows]
        if found:
            self._lost.setdefault(row, []).extend(found)


def joined(tables: Sequence[SegmentTable]) -> SegmentTable:
    """Segments of several tables, whose shards are numbered as of one snapshot, in one."""
    names = sorted({name for one in tables for name in one.partitions})
    ranks = {name: rank for rank, name in enumerate(names)}
    codes = np.concatenate([one.renamed(ranks) for one in tables])
    # texts: those that have none are of snapshots that are not searched by words
    others = pa.concat_tables([one.table.drop_columns(["partition"]) for one in tables], promote_options="default")
    order = np.lexsort((others.column("shard").to_numpy(), codes))
    named = pa.DictionaryArray.from_arrays(pa.array(codes[order]), pa.array(names, pa.string()))
    return SegmentTable(others.take(pa.array(order)).add_column(0, SCHEMA.field("partition"), named))


def _sums(owners: npt.NDArray[np.integer[Any]], values: Numbers, length: int) -> Positions:
    """The sum of the values of each owner: (length,), exact below 2**53."""
    return np.bincount(owners, values, length).astype(np.int64)


def _lists(found: dict[int, list[dict[str, Any]]], order: Positions, kind: pa.DataType) -> pa.Array:
    """A column of lists in that order, empty ones where nothing was found."""
    lengths = np.zeros(len(order), np.int32)
    lengths[list(found)] = [len(one) for one in found.values()]
    ends = np.cumsum(lengths[order], dtype=np.int32)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    values = [one for row in sorted(found, key=place.__getitem__) for one in found[row]]
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], ends]), pa.int32()), pa.array(values, kind))
