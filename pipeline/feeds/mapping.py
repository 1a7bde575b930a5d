"""A map followed: raw columns of a batch of items into the typed columns of a catalog, and what could not be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from foundation.errors import InputError
from pipeline.feeds import conversions, separators
from pipeline.feeds.conversions import spelled_plainly
from pipeline.feeds.feed_map import Column, FeedMap, Group
from pipeline.feeds.prices import AMOUNT, is_currency, mark_of, price_columns

CURRENCY = "_currency"  # behind the name of a price: the column of its currency
_TYPES = {
    "text": pa.string(),
    "list": conversions.TEXTS,
    "number": pa.float64(),
    "whole": pa.int64(),
    "price": AMOUNT,
    "availability": pa.string(),
    "boolean": pa.bool_(),
}
_EXAMPLES = 5  # of each column of a batch


@dataclass(frozen=True)
class MapOptions:
    """What the command says of values: languages in the order of preference, and the decimal mark; None: find it."""

    languages: tuple[str, ...] = ()
    decimal_mark: str | None = None


@dataclass(frozen=True)
class Unparsed:
    """A value that its column's type has no reading for: the batch's row, the canonical column, the value."""

    row: int
    column: str
    value: str


@dataclass
class Mapped:
    """Items as the catalog has them; of the batch's rows those without an id are missing."""

    table: pa.RecordBatch
    unparsed: Mapping[str, int]  # values of each column that could not be read
    examples: Sequence[Unparsed]  # some of them
    without_id: Sequence[int]


class CatalogMapping:
    """A map beside the raw columns of one feed. InputError where the feed lacks the id, or has a column twice."""

    def __init__(self, feed_map: FeedMap, columns: Sequence[str], open_ended: bool, options: MapOptions) -> None:
        self._map, self._options = feed_map, options
        self._price_mark = self._number_mark = options.decimal_mark
        self._raw = RawNames(columns)
        named = {name: self._raw.found_for(one) for name, one in feed_map.columns.items()}
        self.sources = {
            name: found for name, found in named.items() if found or open_ended or _constant(feed_map, name)
        }
        if "id" not in self.sources:
            wanted = " or ".join(feed_map.columns["id"].sources)
            raise InputError(
                f"a column of ids, {wanted}, as the map {feed_map.name} has it",
                _listed(columns),
                "name the right map with --as, or the right --delimiter; docs/feeds.md shows a map of your own",
            )
        self._refuse_twice()
        if not open_ended:
            self._refuse_unfollowed(columns)
        used = {raw for names in named.values() for raw in names} | self._raw.beside(feed_map)
        left = [raw for raw in columns if raw not in used]
        dropped = {raw for name in feed_map.drop for raw in self._raw.all_of(name)}
        carried = [raw for raw in left if raw not in dropped and feed_map.others == "text"]
        self.dropped = tuple(raw for raw in left if raw not in carried)
        taken = {*self.sources, *(f"{name}{CURRENCY}" for name in self.sources if self._is_price(name))}
        self.carried = {raw if raw not in taken else f"{raw} (feed)": raw for raw in carried}

    @property
    def schema(self) -> pa.Schema:
        """Columns of the catalog, in the map's order, a price's currency beside it; then those that are carried."""
        fields = []
        for name in self.sources:
            fields.append(pa.field(name, _TYPES[self._map.columns[name].type]))
            if self._is_price(name):
                fields.append(pa.field(f"{name}{CURRENCY}", pa.string()))
        return pa.schema([*fields, *(pa.field(name, pa.string()) for name in self.carried)])

    @property
    def decimal_mark(self) -> str | None:
        """The one that prices have, else the one of numbers; None where neither tell."""
        return self._price_mark or self._number_mark

    def look_at(self, batch: pa.RecordBatch) -> None:
        """Find the decimal marks in the first items, where nobody said it: ratings are 4.5 also where prices are
        1.299 EUR, so these are read by prices alone.
        """
        if self._options.decimal_mark is None:
            self._price_mark = self._mark_in(batch, ("price",))
            self._number_mark = self._mark_in(batch, ("number", "whole")) or self._price_mark

    def map(self, batch: pa.RecordBatch) -> Mapped:
        """The catalog's columns of a batch of raw ones."""
        columns, unparsed, examples = dict[str, pa.Array](), dict[str, int](), list[Unparsed]()
        for name in self.sources:
            taken = self._taken(batch, name)
            if taken is None:
                taken = pa.nulls(batch.num_rows, pa.string())
            made = self._typed(batch, name, taken)
            columns |= made
            lost = pc.and_(pc.is_valid(taken), pc.is_null(made[name]))
            rows = pc.indices_nonzero(lost)
            if len(rows):
                unparsed[name] = len(rows)
                examples += [Unparsed(row, name, _shown(taken[row].as_py())) for row in rows[:_EXAMPLES].to_pylist()]
        for name in self.sources:
            other = self._map.columns[name].without
            if other in columns:
                columns[name] = conversions.without(columns[name], columns[other])
        for name, raw in self.carried.items():
            columns[name] = _carried(batch, raw)
        there = columns["id"].is_valid()
        table = pa.record_batch([columns[one.name] for one in self.schema], self.schema)
        without = pc.indices_nonzero(pc.invert(there)).to_pylist()
        return Mapped(table.filter(there) if without else table, unparsed, examples, without)

    def key_of(self, group: Group | None) -> str | None:
        """The raw column whose value the rows of an item share; None where each row is an item."""
        if group is None:
            return None
        found = self._raw.all_of(group.by)
        if not found:
            fix = "name the right map with --as"
            raise InputError(f"a column {group.by}, by which the map {self._map.name} puts rows together", "none", fix)
        return found[0]

    def unnamed(self, batch: pa.RecordBatch) -> list[str]:
        """Raw columns of a batch that came too late to be carried."""
        late = [name for name in batch.schema.names if name not in self._raw.names]
        if not late:
            return []
        taken = {name for one in self._map.columns.values() for name in self._raw.late(batch, one)}
        return [name for name in late if name not in taken]

    # --- inside ---

    def _mark_in(self, batch: pa.RecordBatch, kinds: Sequence[str]) -> str | None:
        marked = [name for name in self.sources if self._map.columns[name].type in kinds]
        texts = (self._taken(batch, name) for name in marked)
        values = (one for column in texts if column is not None for one in _flat(column).to_pylist())
        return mark_of(one for one in values if one is not None)

    def _is_price(self, name: str) -> bool:
        return self._map.columns[name].type == "price"

    def _taken(self, batch: pa.RecordBatch, name: str) -> pa.Array | None:
        """A column's raw values as texts or lists of them, through all conversions but that of its type."""
        column = self._map.columns[name]
        if column.constant is not None:
            return pa.repeat(pa.scalar(column.constant), batch.num_rows)
        raw = [conversions.filled(one) for one in self._values(batch, column, self.sources[name])]
        if not raw:
            return None
        if column.escaped:
            raw = [separators.escaped(one) for one in raw]
        if column.split:
            raw = [one if pa.types.is_list(one.type) else separators.split(one, column.split) for one in raw]
        if column.escaped:
            raw = [separators.unescaped(one) for one in raw]
        several = len(raw) > 1 and column.where is None and (column.join is not None or column.type == "list")
        values = conversions.concatenated(raw) if several else conversions.coalesced(raw)
        values = conversions.unique(values) if column.unique else values
        if column.join is not None:
            values = conversions.joined(values, column.join)
        elif column.first or column.type not in ("list", "availability"):
            values = conversions.first(values)
        values = conversions.without_html(values) if column.strip_html else values
        values = conversions.replaced(values, column.replace) if column.replace else values
        return conversions.lowered(values) if column.lower else values

    def _values(self, batch: pa.RecordBatch, column: Column, names: Iterable[str]) -> Iterable[pa.Array]:
        for name in names or self._raw.late(batch, column):
            found = self._raw.values(batch, name)
            if found is None:
                continue
            if column.where is not None:
                found = self._where(batch, found, column, name)
            if column.language is not None:
                found = conversions.in_language(
                    found, *column.language, self._options.languages, column.type == "list" or column.join is not None
                )
            yield conversions.as_text(found)

    def _where(self, batch: pa.RecordBatch, values: pa.Array, column: Column, name: str) -> pa.Array:
        """The values of `name`, one of those that the column comes from, where its condition holds."""
        assert column.where is not None
        names = column.where.names
        at = next((at for at, one in enumerate(column.sources) if name in (self._raw.all_of(one) or (one,))), 0)
        given = names[min(at, len(names) - 1)]
        named = self._raw.values(batch, next(iter(self._raw.all_of(given)), given))
        if named is None:
            return pa.nulls(len(values), values.type)
        return conversions.where(values, named, column.where.are)

    def _typed(self, batch: pa.RecordBatch, name: str, values: pa.Array) -> dict[str, pa.Array]:
        kind = self._map.columns[name].type
        if kind == "price":
            amounts, currencies = price_columns(values, self._price_mark, self._currency(batch, name))
            return {name: amounts, f"{name}{CURRENCY}": currencies}
        if kind in ("number", "whole"):
            return {name: conversions.number(values, self._number_mark, kind == "whole")}
        if kind == "availability":
            return {name: conversions.availability(values)}
        if kind == "boolean":
            return {name: conversions.boolean(values)}
        return {name: conversions.as_list(values) if kind == "list" else values}

    def _currency(self, batch: pa.RecordBatch, name: str) -> pa.Array | None:
        for given in self._map.columns[name].currency:
            found = next((self._raw.values(batch, one) for one in self._raw.all_of(given) or [given]), None)
            if found is not None:
                return conversions.first(conversions.filled(conversions.as_text(found)))
            if is_currency(given):
                return pa.repeat(pa.scalar(given), batch.num_rows)
        return None

    def _refuse_unfollowed(self, columns: Sequence[str]) -> None:
        """A map of one's own names columns of this feed: of one that is not there its column would be empty."""
        missing = list[str]()
        for name in self._map.own:
            column = self._map.columns[name]
            wanted = {"from": column.sources, "currency": column.currency}
            wanted["where.names"] = () if column.where is None else column.where.names
            for key, raw in wanted.items():
                if raw and not any(self._raw.has(one) or (key == "currency" and is_currency(one)) for one in raw):
                    missing.append(f"columns.{name}.{key}: {' or '.join(raw)}")
        if missing:
            expected = f"a feed with the columns that the map {self._map.name} names"
            fix = "correct the map, or leave out of it what the feed does not have: docs/feeds.md"
            raise InputError(expected, f"none for {'; '.join(missing)}; {_listed(columns)}", fix)

    def _refuse_twice(self) -> None:
        for name in self.sources:
            column = self._map.columns[name]
            if column.type == "list" or column.join is not None:
                continue
            for source in column.sources:
                if len(found := self._raw.all_of(source)) > 1:
                    came = f"{', '.join(found)}, for {name}"
                    fix = "leave one of them out of the export, or name the one that counts in a map of your own"
                    raise InputError(f"a column {source} once", came, fix)


class RawNames:
    """The raw columns of a feed by name, as the feed spells them, or nearly: `Image Link`, `g:image_link`."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = frozenset(names)
        self._exact: dict[str, list[str]] = {}
        self._near: dict[str, list[str]] = {}
        for name in names:
            plain = _first_of(name, self.names)
            self._exact.setdefault(plain, []).append(name)
            self._near.setdefault(spelled_plainly(plain), []).append(name)

    def all_of(self, wanted: str) -> list[str]:
        """The columns of a name: several where the feed has it several times."""
        return self._exact.get(wanted) or self._near.get(spelled_plainly(wanted), [])

    def has(self, wanted: str) -> bool:
        """Whether there is such a column, or one that a path begins with."""
        return bool(self.all_of(wanted) or self.all_of(wanted.partition(".")[0]))

    def found_for(self, column: Column) -> tuple[str, ...]:
        """Those that a column of a map comes from, in the order of its alternatives; paths as they are written."""
        found = list[str]()
        for source in column.sources:
            found += self.all_of(source) or ([source] if self.has(source) else [])
        return tuple(dict.fromkeys(found))

    def late(self, batch: pa.RecordBatch, column: Column) -> list[str]:
        """The same of a batch that has columns which came later than the first."""
        return list(RawNames(batch.schema.names).found_for(column))

    def values(self, batch: pa.RecordBatch, name: str) -> pa.Array | None:
        """The values of a raw column or of a path into one; None where this batch has no such."""
        at = batch.schema.get_field_index(name)
        if at >= 0:
            return batch.column(at)
        known = RawNames(batch.schema.names)
        if near := known.all_of(name):  # this file spells it otherwise than another one
            return batch.column(batch.schema.get_field_index(near[0]))
        start, _, path = name.partition(".")
        within = known.all_of(start) if path else []
        return conversions.at_path(batch.column(within[0]), path.split(".")) if within else None

    def beside(self, feed_map: FeedMap) -> set[str]:
        """The columns that the map looks at without taking their values: currencies, and conditions."""
        names = [name for one in feed_map.columns.values() for name in one.currency]
        names += [name for one in feed_map.columns.values() if one.where is not None for name in one.where.names]
        return {raw for name in names for raw in self.all_of(name)}


# --- inside ---


def _listed(columns: Sequence[str]) -> str:
    return f"columns {', '.join(map(_shown, columns[:30]))}{' ...' if len(columns) > 30 else ''}"


def _constant(feed_map: FeedMap, name: str) -> bool:
    return feed_map.columns[name].constant is not None


def _first_of(name: str, names: frozenset[str]) -> str:
    """`image_link` of `image_link (2)`, the second column of one name."""
    start, bracket, number = name.rpartition(" (")
    return start if bracket and number[:-1].isdigit() and number.endswith(")") and start in names else name


def _flat(values: pa.Array) -> pa.Array:
    return values.flatten() if pa.types.is_list(values.type) else values


def _carried(batch: pa.RecordBatch, raw: str) -> pa.Array:
    at = batch.schema.get_field_index(raw)
    if at < 0:
        return pa.nulls(batch.num_rows, pa.string())
    return conversions.joined(conversions.as_text(batch.column(at)), ", ")


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def found_columns(maps: Mapping[str, FeedMap], columns: Sequence[str], syntax: str) -> FeedMap | None:
    """The map whose `recognise` columns a feed of that syntax has all: of several the one that asks for most."""
    names = RawNames(columns)
    fits = [
        one
        for one in maps.values()
        if syntax in one.syntax
        and one.recognise
        and all(names.all_of(name.partition(".")[0]) for name in one.recognise)
    ]
    return max(fits, key=lambda one: (len(one.recognise), one.name), default=None)
