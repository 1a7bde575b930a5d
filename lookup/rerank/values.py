"""What features read of products: their titles, and attributes as numbers, of many candidates at once.

Rows lie in segments. Each segment that has candidates is read once, only the columns that features need, and stays in
memory: a query then takes rows of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lookup.candidates import Candidates
from lookup.filters.prices import PRICE
from lookup.filters.values import Sort, sort_of, type_named
from lookup.lru import Recent
from lookup.opened import Opened
from lookup.rerank.features import Feature, Kind
from lookup.store.shards import file_of

_KEPT_BYTES = 256 << 20
_DAY = 86_400.0
_CODE = "<U3"  # ISO 4217, or a sign of several


def kind_of(type_name: str) -> str | None:
    """What an attribute of this type, as the manifest names it, counts as: one of `Kind`; None for texts and lists."""
    sort = sort_of(type_named(type_name))
    numbers = {Sort.NUMBER: Kind.NUMBER, Sort.BOOLEAN: Kind.NUMBER, Sort.PRICE: Kind.PRICE}
    return numbers.get(sort) or (Kind.TIME if sort in (Sort.TIME, Sort.INSTANT) else None)


@dataclass(frozen=True)
class _Columns:
    """Columns of a segment."""

    titles: pa.Array | None
    values: dict[str, Feature]
    currencies: dict[str, npt.NDArray[np.str_]]  # of prices, empty where one has none

    @property
    def nbytes(self) -> int:
        each = (self.titles, *self.values.values(), *self.currencies.values())
        return sum(one.nbytes for one in each if one is not None)


class Values:
    """Titles and attributes of the rows of an open snapshot. Threads may share it."""

    def __init__(self, opened: Opened, title: str | None, attributes: Sequence[str]) -> None:
        """`title` is the attribute that names a product, None for none; `attributes` are those of numbers."""
        self._opened, self.title, self._attributes = opened, title, tuple(attributes)
        self._kept: Recent[tuple[str, int], _Columns] = Recent(_KEPT_BYTES, lambda columns: columns.nbytes)

    def of(self, candidates: Candidates) -> tuple[list[str | None], dict[str, Feature]]:
        """(titles (n), attributes (n,) float64 by name) of candidates. Of prices in several currencies those in the one
        that most are in, of as many the first by name: other numbers do not compare with them.
        """
        titles: list[str | None] = [None] * len(candidates)
        values = {name: np.full(len(candidates), np.nan) for name in self._attributes}
        currencies = dict[str, npt.NDArray[np.str_]]()
        if not self._names:
            return titles, values
        for part, name in enumerate(candidates.partitions):
            here = np.flatnonzero(candidates.part == part)
            if not len(here):
                continue
            partition = self._opened.partitions[name]
            ends, rows = partition.segments.ends, partition.segments.rows
            positions = candidates.positions[here]
            segments = np.searchsorted(ends, positions, side="right")
            inside = positions - (ends[segments] - rows[segments])
            for segment in np.unique(segments).tolist():
                columns = self._columns(name, segment)
                chosen = segments == segment
                at, row = here[chosen], inside[chosen]
                for attribute, numbers in columns.values.items():
                    values[attribute][at] = numbers[row]
                for attribute, codes in columns.currencies.items():
                    currencies.setdefault(attribute, np.full(len(candidates), "", _CODE))[at] = codes[row]
                if columns.titles is not None:
                    for one, number in zip(at.tolist(), row.tolist(), strict=True):
                        titles[one] = columns.titles[number].as_py()
        for attribute, codes in currencies.items():
            values[attribute][_in_others(codes)] = np.nan
        return titles, values

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return (*self._attributes, *(() if self.title is None else (self.title,)))

    def _columns(self, name: str, segment: int) -> _Columns:
        return self._kept.get((name, segment), lambda: self._read(name, segment))

    def _read(self, name: str, segment: int) -> _Columns:
        partition = self._opened.partitions[name]
        found = partition.segments
        shard, group, rows = (int(one[segment]) for one in (found.shards, found.row_groups, found.rows))
        arrays = self._opened.segments.attributes(file_of(partition.shards[shard]), group, rows, self._names)
        numbers = {one: as_numbers(arrays[one]) for one in self._attributes}
        codes = {one: _codes(arrays[one]) for one in self._attributes if arrays[one].type == PRICE}
        title = None if self.title is None else arrays[self.title]
        return _Columns(title if title is not None and pa.types.is_string(title.type) else None, numbers, codes)


def _codes(prices: pa.Array) -> npt.NDArray[np.str_]:
    codes = pc.fill_null(pc.struct_field(prices, "currency"), "")
    return np.asarray(codes.to_numpy(zero_copy_only=False), _CODE)


def _in_others(codes: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """(n,) bool: which prices are not in the currency that most are in; none where they are in one at most."""
    known, counts = np.unique(codes[codes != ""], return_counts=True)
    if len(known) <= 1:
        return np.zeros(len(codes), np.bool_)
    return np.asarray(codes != known[counts.argmax()])


def as_numbers(column: pa.Array) -> npt.NDArray[np.float64]:
    """(n,) float64 of an attribute: amounts of prices, days since 1970 of dates and times, 0 and 1 of booleans; NaN
    where it has no value, and of what is no number.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    sort = sort_of(kind)
    if sort is Sort.PRICE:
        return as_numbers(pc.struct_field(column, "amount"))
    if sort in (Sort.TIME, Sort.INSTANT):
        instants = column.cast(pa.timestamp("s", getattr(kind, "tz", None)), safe=False)
        return as_numbers(instants.cast(pa.int64())) / _DAY
    if sort is Sort.BOOLEAN:
        column = column.cast(pa.int8())
    elif sort is not Sort.NUMBER:
        return np.full(len(column), np.nan)
    elif pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    numbers = np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False))
    return np.where(np.isfinite(numbers), numbers, np.nan)
