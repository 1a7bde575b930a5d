"""Which rows of each partition a filter keeps: attributes are read from the shards when a filter first asks for them.

An index holds no attributes, so that it is kept when a price changes. Its rows are those of its segments, in order.
The column that makes the partitions can be asked for too: an attribute where it is one, else the partitions' names.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from encoders.names import NO_CATEGORY, SEPARATOR, same_category
from foundation.errors import InputError
from lookup.filters.prices import PRICE
from lookup.filters.values import type_name
from lookup.filters.where import APART, Condition, Operator, as_compared, common_type, is_joined, squashed
from lookup.index.subset import RowSubset, subset_of
from lookup.lru import Recent
from lookup.segments import Partition, Segments

_COLUMN_BYTES = 256 << 20  # of columns that stay in memory; 10 million prices are 80 MB
_KEPT_BYTES = 64 << 20  # of what filters keep
_LIST = "list it in catalog.attributes and run again"


@dataclass(frozen=True)
class _Column:
    """An attribute of a partition: an array of each segment, as it is compared; null where none has a value."""

    arrays: tuple[pa.Array, ...]
    kinds: tuple[pa.DataType, ...]  # each once
    currencies: frozenset[str]  # of prices

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays)


class Filters:
    """The filters of an open snapshot. Threads may share it."""

    def __init__(self, segments: Segments, attributes: Sequence[str], catalog: Mapping[str, Any]) -> None:
        """`attributes` are those of the snapshot, `catalog` is that section of its config."""
        self._segments = segments
        self._attributes = tuple(attributes)
        self._catalog = catalog
        self._partition = catalog.get("partition") if catalog.get("partition") not in attributes else None
        self._columns: Recent[tuple[str, str], _Column] = Recent(_COLUMN_BYTES, lambda column: column.nbytes)
        self._subsets: Recent[tuple[object, ...], RowSubset] = Recent(_KEPT_BYTES, lambda subset: subset.nbytes)
        # Of every column that was read, dropped or not: a filter that is kept must not read them again.
        self._kinds: dict[tuple[str, str], tuple[pa.DataType, ...]] = {}
        self._currencies: dict[tuple[str, str], frozenset[str]] = {}

    def matching(
        self, partitions: Sequence[Partition], where: Sequence[Condition]
    ) -> list[tuple[Partition, RowSubset | None]]:
        """Those of the partitions that may have rows for which all conditions hold, and these rows; None: all.

        InputError for an attribute that the snapshot does not have, or that these partitions have as types which do
        not compare, for a value that is none of its type, and for a price without a currency where they have several.
        Files are read where their attribute is not kept.
        """
        for one in where:
            self._check(one.attribute)
        inside = self._inside(partitions, where)
        rest = tuple(one for one in where if one.attribute != self._partition)
        kinds = tuple(self._kind(one.attribute, inside or partitions) for one in rest)
        if not inside:  # there are no rows to read values for, but what is none of its type is told all the same
            for one, kind in zip(rest, kinds, strict=True):
                one.mask(pa.nulls(0), kind)
        self._refuse_mixed(inside, rest, kinds)
        return [(part, self._of(part, rest, kinds) if rest else None) for part in inside]

    def value_counts(self, partitions: Sequence[Partition], name: str, mean: int = 0) -> Counter[str]:
        """Each value of an attribute of texts, or of lists of texts, and how many rows of the partitions have it; none
        where values have fewer than `mean` rows on average, as identifiers do: of those no string is made.
        """
        found, there = Counter[str](), list[tuple[pa.Array, pa.Array]]()
        for array in (array for part in partitions for array in self._column(part, name).arrays):
            flat = array.flatten() if pa.types.is_list(array.type) else array
            if pa.types.is_dictionary(flat.type):
                counts = pc.value_counts(flat.indices.drop_null())
                there.append((flat.dictionary.take(counts.field("values")), counts.field("counts")))
        rows = sum(int(counts.to_numpy().sum()) for _, counts in there)
        if (
            mean
            and rows < mean * pc.count_distinct(pa.chunked_array([names for names, _ in there], pa.string())).as_py()
        ):
            return found
        for names, counts in there:
            for value, count in zip(names.to_pylist(), counts.to_pylist(), strict=True):
                found[value] += count
        return found

    def currencies(self, partitions: Sequence[Partition], name: str) -> frozenset[str]:
        """The currencies that prices of an attribute have; none of numbers."""
        return frozenset(code for part in partitions for code in self._column(part, name).currencies)

    def _refuse_mixed(
        self, inside: Sequence[Partition], where: Sequence[Condition], kinds: Sequence[pa.DataType]
    ) -> None:
        """InputError for a price without a currency where what is searched has prices in several: their numbers do not
        compare.
        """
        for one, kind in zip(where, kinds, strict=True):
            if kind != PRICE:
                continue
            one.mask(pa.nulls(0), kind)  # what is no price is told as that
            if not one.of_any_currency():
                continue
            found = sorted({code for part in inside for code in self._currencies[part.name, one.attribute]})
            if len(found) > 1:
                own = self._catalog.get("currency")
                instead = one.in_currency(own if own in found else found[0])
                raise InputError(
                    f"a currency for {one.attribute}, whose numbers do not compare: it is in {', '.join(found)}",
                    f"`{one}`",
                    f"name one, as in `{instead}`: prices in others do not meet it",
                )

    def explain_filter(self, partitions: Sequence[Partition], where: Sequence[Condition]) -> str:
        """How many products a filter keeps, and each of its conditions alone, on an attribute in the categories that
        the filter names; of one that keeps none what may have been meant.
        """
        each, inside = [], self._inside(partitions, where)
        for one in where:
            if among := partitions if one.attribute == self._partition else inside:
                count = self._count(among, [one])
                hint = "" if count else self._hint(among, one)
                each.append(f"{one}: {count:,}{hint and f', {hint}'}")
        rows = sum(part.index.rows for part in partitions)
        return f"{self._count(partitions, where):,} of {rows:,} products meet the filter ({'; '.join(each)})"

    def _inside(self, partitions: Sequence[Partition], where: Sequence[Condition]) -> list[Partition]:
        """The partitions whose names meet the conditions on them."""
        named = [one for one in where if one.attribute == self._partition]
        return [part for part in partitions if all(self._meets(part, one) for one in named)]

    def _meets(self, partition: Partition, where: Condition) -> bool:
        """Whether the name of a partition meets a condition, in any spelling that means a category; products without
        one have none, unless it is asked for by the name that stands for it.
        """
        nameless = partition.name == NO_CATEGORY and NO_CATEGORY not in where.values
        if nameless or where.operator not in (Operator.EQUAL, Operator.NOT_EQUAL, Operator.IN):
            name = None if nameless else partition.name
            return bool(where.mask(as_compared(pa.array([name], pa.string())), pa.string())[0])
        separators = self._catalog.get("partition_separator", (SEPARATOR,))
        same = any(same_category(value, [partition.name], separators) for value in where.values)
        return same != (where.operator is Operator.NOT_EQUAL)

    def _count(self, partitions: Sequence[Partition], where: Sequence[Condition]) -> int:
        return sum(
            part.index.rows if subset is None else len(subset) for part, subset in self.matching(partitions, where)
        )

    def _hint(self, partitions: Sequence[Partition], where: Condition) -> str:
        """What may have been meant by a condition that keeps nothing: values that are there and differ from its own in
        case and marks only (`in Smith, Jones` may be one value with a comma), or several conditions. Else empty.
        """
        if where.operator not in (Operator.EQUAL, Operator.IN):
            return ""
        wanted = {*map(squashed, where.values), squashed("".join(where.values))} - {""}
        there = sorted(value for value in self._strings(partitions, where.attribute) if squashed(value) in wanted)
        if there:
            operator = Operator.IN if len(there) > 1 else Operator.EQUAL
            return f"did you mean {Condition(where.attribute, operator, tuple(there))}?"
        if where.attribute == self._partition and len(where.values) == 1:
            names = {part.name.casefold(): part.name for part in partitions}
            if near := difflib.get_close_matches(where.values[0].casefold(), names, n=1):
                return f"did you mean {Condition(where.attribute, Operator.EQUAL, (names[near[0]],))}?"
        return APART if any(map(is_joined, where.values)) else ""

    def _strings(self, partitions: Sequence[Partition], name: str) -> set[str]:
        """Every value of an attribute of strings."""
        if name == self._partition:
            return {part.name for part in partitions}
        arrays = [array for part in partitions for array in self._column(part, name).arrays]
        values = [array.values if pa.types.is_list(array.type) else array for array in arrays]
        return {one for array in values if pa.types.is_dictionary(array.type) for one in array.dictionary.to_pylist()}

    def _of(self, partition: Partition, where: tuple[Condition, ...], kinds: tuple[pa.DataType, ...]) -> RowSubset:
        return self._subsets.get((partition.name, where, kinds), lambda: self._row_subset(partition, where, kinds))

    def _row_subset(self, partition: Partition, where: Sequence[Condition], kinds: Sequence[pa.DataType]) -> RowSubset:
        mask = np.ones(partition.index.rows, np.bool_)
        for one, kind in zip(where, kinds, strict=True):
            arrays = self._column(partition, one.attribute).arrays
            mask &= np.concatenate([one.mask(array, kind) for array in arrays])
        return subset_of(partition.index, mask)

    def _check(self, name: str) -> None:
        if self._has(name):
            return
        renamed = {theirs: mine for mine, theirs in self._catalog.get("columns", {}).items()}
        if self._has(renamed.get(name, name)):
            raise InputError("a column as the config calls it", repr(name), f"call it {renamed[name]}")
        if name in {*self._roles(), *renamed, *renamed.values()}:
            came = f"{name!r}, a column of the catalog that the snapshot does not carry"
            raise InputError("an attribute of the snapshot", came, _LIST)
        known = [*self._attributes, *filter(None, [self._partition])]
        fix = f"correct the condition, or {_LIST}" if known else _LIST
        if name in ("category", "partition"):
            fix = "search one by --category" + (f", or several by {self._partition} in ..." if self._partition else "")
        if not known:
            raise InputError("a snapshot with attributes to filter by", f"{name!r}, and it has none", fix)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise InputError(f"an attribute of the snapshot, such as {', '.join(map(repr, near))}", repr(name), fix)

    def _has(self, name: str) -> bool:
        """Whether there is something to compare: an attribute, or the partitions' names."""
        return name in self._attributes or name == self._partition

    def _roles(self) -> set[str]:
        """The columns that the catalog is known to have: those that the config uses."""
        one = [self._catalog.get(role) for role in ("image", "more_images", "version_column")]
        return {"id", *self._catalog.get("text", ()), *filter(None, one)}

    def _kind(self, name: str, partitions: Sequence[Partition]) -> pa.DataType:
        """The type that an attribute is compared as in all of the partitions."""
        kinds = {part.name: self._kinds_of(part, name) for part in partitions}
        kind = common_type([kind for several in kinds.values() for kind in several])
        if kind is None:
            came = "; ".join(
                f"{part}: {', '.join(sorted(set(map(type_name, several))))}" for part, several in kinds.items()
            )
            fix = "search one category, or give the column one type in all files of the catalog and run it all again"
            raise InputError(f"the attribute {name} of one type in all that is searched", came, fix)
        return kind

    def _kinds_of(self, partition: Partition, name: str) -> tuple[pa.DataType, ...]:
        key = partition.name, name
        if key not in self._kinds:
            column = self._column(partition, name)
            self._currencies[key], self._kinds[key] = column.currencies, column.kinds
        return self._kinds[key]

    def _column(self, partition: Partition, name: str) -> _Column:
        return self._columns.get((partition.name, name), lambda: self._read(partition, name))

    def _read(self, partition: Partition, name: str) -> _Column:
        arrays, kinds = list[pa.Array](), list[pa.DataType]()
        for file, row_group, rows in partition.located():
            array = self._segments.attribute(file, row_group, rows, name)
            if array.null_count == len(array):  # a file without any value has no type of its own
                array = pa.nulls(len(array))
            kinds.append(array.type)
            arrays.append(as_compared(array))
        prices = [array.field("currency") for array in arrays if pa.types.is_struct(array.type)]
        currencies = frozenset(one for array in prices for one in array.unique().to_pylist() if one)
        return _Column(tuple(arrays), tuple(dict.fromkeys(kinds)), currencies)
