"""Which rows of each partition a filter keeps: attributes are read from the shards when a filter first asks for them.

An index holds no attributes, so that it is kept when a price changes. Its rows are those of its segments, in order.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lookup.errors import InputError
from lookup.only import Only
from lookup.recent import Recent
from lookup.segments import Partition, Segments
from lookup.where import Condition, common_type

_COLUMN_BYTES = 256 << 20  # of columns that stay in memory; 10 million prices are 80 MB
_KEPT_BYTES = 64 << 20  # of what filters keep


@dataclass(frozen=True)
class _Column:
    """An attribute of a partition: an array of each segment, strings as a dictionary; null where none has a value."""

    arrays: tuple[pa.Array, ...]
    kinds: tuple[pa.DataType, ...]  # each once

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


class Filters:
    """The filters of an open snapshot. Threads may share it."""

    def __init__(self, segments: Segments, attributes: Sequence[str]) -> None:
        """`attributes` are those of the snapshot."""
        self._segments = segments
        self._attributes = tuple(attributes)
        self._columns: Recent[tuple[str, str], _Column] = Recent(_COLUMN_BYTES, lambda column: column.nbytes)
        self._kept: Recent[tuple[object, ...], Only] = Recent(_KEPT_BYTES, lambda only: only.nbytes)
        # Of every column that was read, dropped or not: a filter that is kept must not read them again.
        self._kinds: dict[tuple[str, str], tuple[pa.DataType, ...]] = {}

    def kept(self, partitions: Sequence[Partition], where: Sequence[Condition]) -> list[Only]:
        """The rows of each of the partitions for which all conditions hold.

        InputError for an attribute that the snapshot does not have, or that these partitions have as types which do
        not compare, and for a value that is none of its type. Files are read where their attribute is not kept.
        """
        for one in where:
            self._check(one.attribute)
        kinds = tuple(self._kind(one.attribute, partitions) for one in where)
        return [self._of(part, tuple(where), kinds) for part in partitions]

    def _of(self, partition: Partition, where: tuple[Condition, ...], kinds: tuple[pa.DataType, ...]) -> Only:
        return self._kept.get((partition.name, where, kinds), lambda: self._only(partition, where, kinds))

    def _only(self, partition: Partition, where: Sequence[Condition], kinds: Sequence[pa.DataType]) -> Only:
        mask = np.ones(partition.index.rows, np.bool_)
        for one, kind in zip(where, kinds, strict=True):
            arrays = self._column(partition, one.attribute).arrays
            mask &= np.concatenate([one.mask(array, kind) for array in arrays])
        return partition.index.only(mask)

    def _check(self, name: str) -> None:
        if name in self._attributes:
            return
        near = difflib.get_close_matches(name, self._attributes, n=3, cutoff=0.4) or list(self._attributes)
        if not near:
            fix = "list it in catalog.attributes and run again"
            raise InputError("a snapshot with attributes to filter by", f"{name!r}, and it has none", fix)
        expected = f"an attribute of the snapshot, such as {', '.join(map(repr, near))}"
        raise InputError(expected, repr(name), "correct the condition, or list it in catalog.attributes and run again")

    def _kind(self, name: str, partitions: Sequence[Partition]) -> pa.DataType:
        """The type that an attribute is compared as in all of the partitions."""
        kinds = {part.name: self._kinds_of(part, name) for part in partitions}
        kind = common_type([kind for several in kinds.values() for kind in several])
        if kind is None:
            came = "; ".join(f"{part}: {', '.join(sorted(set(map(str, several))))}" for part, several in kinds.items())
            fix = "search one category, or give the column one type in all files of the catalog and run it all again"
            raise InputError(f"the attribute {name} of one type in all that is searched", came, fix)
        return kind

    def _kinds_of(self, partition: Partition, name: str) -> tuple[pa.DataType, ...]:
        key = partition.name, name
        if key not in self._kinds:
            self._kinds[key] = self._column(partition, name).kinds
        return self._kinds[key]

    def _column(self, partition: Partition, name: str) -> _Column:
        return self._columns.get((partition.name, name), lambda: self._read(partition, name))

    def _read(self, partition: Partition, name: str) -> _Column:
        arrays, kinds = list[pa.Array](), list[pa.DataType]()
        for shard, segment in partition.segments:
            assert shard.record.file is not None  # a live segment lies in a file
            array = self._segments.attribute(shard.record.file, segment, name)
            if array.null_count == len(array):  # a file without any value has no type of its own
                array = pa.nulls(len(array))
            kinds.append(array.type)
            arrays.append(array.dictionary_encode() if pa.types.is_string(array.type) else array)
        return _Column(tuple(arrays), tuple(dict.fromkeys(kinds)))
