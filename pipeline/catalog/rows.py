"""One unit of the catalog as a clean batch of rows, and the ids and partitions that the plan needs.

A file's columns are renamed to canonical names (`catalog.columns`), made plain (columns.py) and cleaned. A bad row is
marked with a reason and kept to be counted; only a catalog that cannot be read at all is an error.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from foundation.reasons import Reason
from pipeline.catalog import columns
from pipeline.catalog import stage_columns as col
from pipeline.catalog.categories import partition_names, renamed
from pipeline.catalog.details import reject_details
from pipeline.catalog.names import clean_ids, names_of
from pipeline.catalog.null_words import spellings_of_nothing
from pipeline.catalog.number_columns import number_column
from pipeline.catalog.pieces import MOST_BYTES, PIECE_ROWS, Bounds, Decoded, joined, picked, pieces_of, unit_rows
from pipeline.catalog.price_columns import currency_column, price_column
from pipeline.catalog.schema import as_meant, file_columns
from pipeline.config.sections import CatalogConfig, ShardsConfig
from pipeline.files.catalog import part_of
from pipeline.files.discover import open_file
from pipeline.files.footers import chunks_of

ONE_PARTITION = "all"
NO_SPELLINGS: Mapping[str, str] = MappingProxyType({})


def read_unit(
    path: str,
    groups: Sequence[int],
    first_row: int,
    duplicates: Sequence[int],
    settings: CatalogConfig,
    max_bytes: int,
    spellings: Mapping[str, str] = NO_SPELLINGS,
) -> pa.Table:
    """One unit, canonical and clean: the rows of `groups` from `first_row` on, at most PIECE_ROWS.

    Its columns are those of READ, see stage_columns.py. Rows, also `duplicates`, whose id came before, are counted from
    the first of `groups`; `spellings` has categories that are called otherwise than their own names. InputError where
    they have more than `max_bytes` once read.
    """
    with open_file(path, part=part_of(settings, path)) as file:
        names = file_columns(file.schema_arrow, settings, path)
        bounds = Bounds(settings.max_row_bytes, max_bytes)
        found = unit_rows(path, file, groups, first_row, sorted(set(names.values())), bounds)
    return _clean(_Columns(found, names, settings), duplicates, settings, spellings)


def read_names(
    path: str,
    groups: Sequence[int],
    first_row: int,
    settings: CatalogConfig,
    max_bytes: int,
    spellings: Mapping[str, str] = NO_SPELLINGS,
) -> tuple[pa.Array, pa.Array]:
    """(ids, partitions), strings, of the rows that `read_unit` gives of the same; ids as the plan sees them."""
    with open_file(path, part=part_of(settings, path)) as file:
        names = file_columns(file.schema_arrow, settings, path)
        bounds = Bounds(settings.max_row_bytes, max_bytes)
        found = unit_rows(path, file, groups, first_row, _name_columns(names, settings), bounds)
    ids, categories, *_ = _names(found.table, names, settings)
    return ids, _partitions(categories, len(ids), settings, spellings)


def read_some(
    path: str, groups: Sequence[int], rows: Sequence[int], what: Sequence[str], settings: CatalogConfig
) -> pa.Table:
    """Some rows of a unit once more: those with the rising numbers `rows`, counted from the first of `groups`.

    Columns: id string; text string where `what` has `text`, photos list<struct<bytes, path>> where it has `photo`; as
    `read_unit` has them; title string, the first of the texts as it is written, where it has `title`. Only row groups
    with such rows are read, and no more of them held than is wanted.
    """
    with open_file(path, part=part_of(settings, path)) as file:
        names = file_columns(file.schema_arrow, settings, path)
        texts = settings.text if "text" in what else settings.text[:1] if "title" in what else ()
        photos = [name for name in (settings.image, settings.more_images) if name and "photo" in what]
        wanted = {name: names[name] for name in ("id", *texts, *photos)}
        found, start, bounds = [], 0, Bounds(settings.max_row_bytes, MOST_BYTES)
        for group in groups:
            size = file.metadata.row_group(group).num_rows
            inside = [row - start for row in rows if start <= row < start + size]
            if inside:
                found.append(picked(path, file, group, sorted(set(wanted.values())), inside, bounds))
            start += size
    unit = _Columns(joined(found), wanted, settings)
    made = {col.ID: clean_ids(unit.names("id"))}
    if "text" in what:
        made[col.TEXT] = columns.joined([unit.cleaned(name) for name in texts], unit.rows)
    if "title" in what:
        made["title"] = unit.strings(texts[0]) if texts else pa.nulls(unit.rows, pa.string())
    if "photo" in what:
        made[col.PHOTOS] = _photos(unit, settings)
    return pa.table(made)


class Piece(NamedTuple):
    """What the plan sees of at most PIECE_ROWS rows of a row group; an id that is null, blank or not UTF-8 is null."""

    group: int
    first_row: int  # of the row group
    span: int  # rows, deleted ones included
    at: pa.Array  # int32: where each row stands, counted from the first of the row group
    ids: pa.Array  # strings
    categories: pa.Array | None  # strings, as they are written; None: the catalog is one partition
    cleaned: int  # ids that are not as they are written
    nothing: Counter[str]  # ids that are words for nothing, as they are written -> rows
    numbers: dict[str, pa.Array]  # column of ids or categories -> its numbers that name nothing: see Names


def plan_pieces(path: str, settings: CatalogConfig, shards: ShardsConfig) -> Iterator[Piece]:
    """The pieces of every row group of a file, in order."""
    with open_file(path, part=part_of(settings, path)) as file:
        names = file_columns(file.schema_arrow, settings, path)
        wanted, bounds = _name_columns(names, settings), Bounds(settings.max_row_bytes, shards.max_unit_bytes)
        for group in chunks_of(path, file.metadata, range(file.num_row_groups), wanted):
            for number, found in enumerate(pieces_of(path, file, [group], wanted, bounds)):
                seen = _names(found.table, names, settings)
                yield Piece(group.number, number * PIECE_ROWS, found.span, found.at, *seen)


# --- inside ---


def _name_columns(names: dict[str, str], settings: CatalogConfig) -> list[str]:
    """The columns of a file that ids and partitions are read from."""
    return sorted({names[name] for name in ("id", settings.partition) if name})


def _names(
    table: pa.Table, names: dict[str, str], settings: CatalogConfig
) -> tuple[pa.Array, pa.Array | None, int, Counter[str], dict[str, pa.Array]]:
    """(ids, categories as they are written, ids that are not as they are written, ids that are words for nothing,
    numbers that name nothing) of `table`, strings.
    """
    found = {
        name: names_of(as_meant(table.column(names[name]), name, settings), name)
        for name in ("id", settings.partition)
        if name
    }
    ids = clean_ids(found["id"].values)
    changed = pc.sum(pc.not_equal(found["id"].values, ids)).as_py() or 0
    categories = found[settings.partition].values if settings.partition else None
    numbers = {name: one.numbers.drop_null() for name, one in found.items()}
    return ids, categories, changed, spellings_of_nothing(ids), numbers


def _partitions(categories: pa.Array | None, n: int, settings: CatalogConfig, spellings: Mapping[str, str]) -> pa.Array:
    if categories is None:
        return columns.repeat(ONE_PARTITION, n)
    return renamed(partition_names(categories, settings), spellings)


class _Columns:
    """The plain columns of a unit by canonical name; it notes in which rows a string that counts is no text."""

    def __init__(self, found: Decoded, names: dict[str, str], settings: CatalogConfig) -> None:
        table = found.table
        self.rows, self.too_large, self.at = table.num_rows, found.too_large, found.at
        self.wrong: dict[str, pa.Array] = {}  # by column, masks of the rows that are not UTF-8
        self.nested: dict[str, pa.Array] = {}  # by column, masks of the rows that cannot be cleaned
        self.numbers: dict[str, pa.Array] = {}  # by column, numbers that name nothing
        self.undecoded: dict[str, pa.Array] = {}  # by attribute, masks of the rows whose text could not be read
        self._settings = settings
        self._written = {name: as_meant(table.column(column), name, settings) for name, column in names.items()}
        self.plain = {name: columns.plain(column) for name, column in self._written.items()}

    def names(self, name: str) -> pa.Array:
        """The column as ids or categories."""
        values, self.wrong[name], self.numbers[name] = names_of(self._written[name], name)
        return values

    def strings(self, name: str) -> pa.Array:
        """The column as strings."""
        values, wrong = columns.strings(self.plain[name])
        self.wrong[name] = wrong
        return values

    def cleaned(self, name: str) -> pa.Array:
        """The column as texts that are searched, empty where there is none."""
        texts = columns.cleaned(self.strings(name), self._settings.max_text_chars)
        self.nested[name] = pc.is_null(texts)
        return pc.fill_null(texts, "")

    def any_of(self, faulty: Mapping[str, pa.Array]) -> pa.Array:
        """Mask of the rows that are in one of the masks."""
        return functools.reduce(pc.or_, faulty.values(), columns.repeat(False, self.rows))

    @property
    def odd_numbers(self) -> pa.Array:
        """Mask of the rows whose id or category is a number that names nothing."""
        return functools.reduce(pc.or_, map(pc.is_valid, self.numbers.values()), columns.repeat(False, self.rows))

    def attribute(self, name: str) -> pa.Array:
        """The column as hits carry it: of prices see `price_column`, of numbers `number_column`."""
        if name in self._settings.prices:
            beside, own = self.plain.get(currency_column(name)), self._settings.currency
            return price_column(self.plain[name], self._settings.decimal_mark, beside, own)
        if name in self._settings.numbers:
            values, self.undecoded[name] = number_column(self.plain[name], self._settings.decimal_mark)
            return values
        values, self.undecoded[name] = columns.attribute(self.plain[name])
        return values

    def not_utf8(self) -> pa.Array:
        """Names of the attributes of each row that are null because of their text, list<string>; null: none."""
        found = {name: mask for name, mask in self.undecoded.items() if pc.any(mask).as_py()}
        if not found:
            return pa.nulls(self.rows, pa.list_(pa.string()))
        rows = zip(*(mask.to_pylist() for mask in found.values()), strict=True)
        names = ([name for name, wrong in zip(found, row, strict=True) if wrong] or None for row in rows)
        return pa.array(names, pa.list_(pa.string()))


def _clean(
    unit: _Columns,
    duplicates: Sequence[int],
    settings: CatalogConfig,
    spellings: Mapping[str, str],
) -> pa.Table:
    n, ids = unit.rows, clean_ids(unit.names("id"))
    cleaned = {
        name: unit.cleaned(name) for name in dict.fromkeys([*settings.text, *settings.searched, *settings.text_fields])
    }
    carried = {name: unit.attribute(name) for name in settings.attributes}  # as written, also what is searched
    texts = columns.joined([cleaned[name] for name in settings.text], n)
    photos = _photos(unit, settings)
    version = unit.strings(settings.version_column) if settings.version_column else pa.nulls(n, pa.string())
    categories = unit.names(settings.partition) if settings.partition else None
    faults = {
        Reason.ROW_TOO_LARGE: pc.is_valid(unit.too_large),
        Reason.INVALID_TEXT: pc.or_(unit.any_of(unit.wrong), unit.any_of(unit.nested)),
        Reason.INVALID_NUMBER: unit.odd_numbers,
        Reason.MISSING_ID: pc.is_null(ids),
        Reason.DUPLICATE_ID: pc.is_in(unit.at, pa.array(duplicates, pa.int32())),
        Reason.NO_MODALITY: pc.and_(pc.is_null(texts), pc.is_null(photos)),
    }
    reject = _first_fault(faults, n)
    return pa.table(
        {
            col.ROW: unit.at,
            col.ID: ids,
            col.PARTITION: _partitions(categories, n, settings, spellings),
            col.TEXT: texts,
            col.TEXTS: _struct({name: columns.joined([cleaned[name]], n) for name in settings.searched}, n),
            col.FIELDS: _struct({name: columns.joined([cleaned[name]], n) for name in settings.text_fields}, n),
            col.PHOTOS: photos,
            col.VERSION: version,
            col.ATTRIBUTES: _struct(carried, n),
            col.NOT_UTF8: unit.not_utf8(),
            col.REJECT: reject,
            col.DETAIL: reject_details(reject, ids, unit.too_large, unit.wrong, unit.nested, unit.numbers),
        }
    )


def _photos(unit: _Columns, settings: CatalogConfig) -> pa.Array:
    first, more = (unit.plain[name] if name else None for name in (settings.image, settings.more_images))
    return columns.photos_of(first, more, unit.rows, settings.image_type == "base64")


def _struct(carried: dict[str, pa.Array], n: int) -> pa.StructArray:
    if not carried:
        return pa.array([{}] * n, pa.struct([]))
    fields = [pa.field(name, array.type) for name, array in carried.items()]
    return pa.StructArray.from_arrays(list(carried.values()), fields=fields)


def _first_fault(faults: dict[Reason, pa.Array], n: int) -> pa.Array:
    """The reason of each row, string: the first fault that it has; null where it has none."""
    return pc.case_when(pc.make_struct(*faults.values()), *(columns.repeat(reason.value, n) for reason in faults))
