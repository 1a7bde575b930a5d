"""The plan: which units a run will do, made of footers and two columns, before any work is done.

It finds every repeated id, every category, and everything that makes a run impossible.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from encoders.fusion.load import refuse_towers
from encoders.names import same_category
from foundation.errors import InputError
from foundation.identity import identity_of
from pipeline.catalog.attribute_types import Types, attribute_types, named, one_type, valued
from pipeline.catalog.categories import Categories, nearest_category
from pipeline.catalog.names import OddNumbers, id_hashes
from pipeline.catalog.null_words import null_words_notice
from pipeline.catalog.pieces import PIECE_ROWS, refuse_pages
from pipeline.catalog.price_columns import sampled
from pipeline.catalog.rows import ONE_PARTITION, Piece, plan_pieces
from pipeline.catalog.schema import file_columns, missing_columns, refuse_missing
from pipeline.config.encoding import encoding_identity, towers
from pipeline.config.sections import CatalogConfig, Embedding, GatesConfig, ShardsConfig
from pipeline.files.catalog import find_catalog, part_of
from pipeline.files.discover import CatalogFile, Found, open_file
from pipeline.files.footers import chunks_of
from pipeline.files.parts import Part
from pipeline.files.pinned import all_unchanged, another_catalog, refuse_other_files
from pipeline.photos.root import existing_root
from pipeline.plan.file_notices import cleaned_notice, file_notices
from pipeline.plan.folders import path_notices
from pipeline.plan.sameness import contents_of
from pipeline.plan.unit_sizes import NOTHING, Before, rows_of_unit
from pipeline.report.notices import Notice


class Unit(NamedTuple):
    """The unit of work, and the only thing of a catalog that crosses a shuffle: a few row groups of one file, or a
    piece of a large one: the PIECE_ROWS rows from `first_row` on.
    """

    number: int
    path: str
    first_group: int
    end_group: int
    first_row: int  # of the first row group; rows are counted from that group's first
    rows: int  # of the category, when the run has one
    size: int  # bytes of the columns in use as the footer has them: before dictionaries are spelled out
    category: str  # "": all
    pin: str  # of the file: see catalog/pinned.py
    duplicates: bytes  # int32 row numbers whose id came before, packed: a list of them would be an object each
    spellings: Mapping[str, str]  # name of a category -> what it is called, where that is another name


@dataclass(frozen=True)
class Plan:
    """What a run will do. `key` is equal for two runs that would do the same."""

    key: str
    encoding: str  # see config.encoding.encoding_identity
    catalog: str  # 64 hex digits of names, sizes and stamps of the files
    image_root: str  # where relative photo paths start
    units: tuple[Unit, ...]
    partitions: dict[str, int]  # rows, of the whole catalog
    duplicates: int
    size: int  # bytes of the files
    attribute_types: dict[str, str]  # of what the run reads, see lookup.filters.values.type_name
    category: str | None = None  # the partition that the run is about; None: all
    notices: tuple[Notice, ...] = ()
    files: tuple[CatalogFile, ...] = ()
    unit_rows: int = PIECE_ROWS  # of a unit at most, for the plans of later nights
    parts: Mapping[str, Part] = field(default_factory=dict)  # how files are read that are not plain, by path
    version: int | None = None  # of a table
    asked: str = ""  # of a table: what it was planned by, see earlier_plan.py

    @property
    def rows(self) -> int:
        """Rows that the run will read and account for."""
        return sum(unit.rows for unit in self.units)

    @property
    def newest(self) -> datetime | None:
        """When the newest of the files was written, UTC to the second; None where files are in a bucket."""
        if not self.files or any("://" in file.path or not file.stamp.isdigit() for file in self.files):
            return None
        return datetime.fromtimestamp(max(int(file.stamp) for file in self.files) // 10**9, UTC)

    def reading(self, embedding: Embedding) -> Embedding:
        """`embedding` of the catalog as it was planned: for everything that reads the rows of a unit."""
        return replace(embedding, catalog=embedding.catalog.planned(self.parts, self.version))

    def to_bytes(self) -> bytes:
        """The plan as a run keeps it: JSON, duplicates and deleted rows as a count."""
        units = [{**unit._asdict(), "duplicates": len(unit.duplicates) // 4} for unit in self.units]
        notices = [one.model_dump() for one in self.notices]
        kept = asdict(replace(self, notices=(), units=(), parts={}))
        deleted = sum(part.rows_deleted for part in self.parts.values())
        kept |= {"units": units, "rows": self.rows, "notices": notices, "parts": len(self.parts), "deleted": deleted}
        return json.dumps(kept, indent=1, ensure_ascii=False).encode()


def make_plan(
    embedding: Embedding,
    gates: GatesConfig,
    category: str | None = None,
    before: Before = NOTHING,
    found: Found | None = None,
) -> Plan:
    """Plan a run of the whole catalog, or of one category, which may be spelled in any way that means it; InputError
    lists what makes it impossible. `before` is of the snapshot that is replaced; `gates` bound what of ids and
    categories may be refused; `found` is the catalog, where that is known.
    """
    refuse_towers(embedding.fusion, *towers(embedding))
    found, shards = found or find_catalog(embedding.catalog), embedding.shards
    settings, files = embedding.catalog.planned(found.parts), list(found.files)
    root, seen = existing_root(settings.image_root, settings.path), _Seen(Categories(settings))
    with all_unchanged(files):
        seen.read(files, settings, shards)
        called = seen.categories.called(before.partitions, always=category is not None)
        groups = [_called(group, called) for group in seen.groups]
        partitions = _partitions(groups, settings.path)
        seen.refuse(settings, gates)
        if category is not None:
            category = _meant(category, partitions, settings.partition_separator)
        repeated = _duplicates(files, groups, seen.hashes, settings, shards)
        most = _most_rows(groups, shards, before)
        units = _units(groups, repeated, most, shards.max_unit_bytes, category)
        carried = _one_type({unit.path: seen.types[unit.path] for unit in units}, settings, shards)
        notices = _notices(found, seen, units, called, settings, shards)
        contents = contents_of(files, photos=embedding.encoders.image is not None, tables=bool(found.identity))
    encoding = encoding_identity(embedding)
    key = identity_of(
        {
            "contents": contents,
            "parts": {path: part.identity for path, part in found.parts.items()},
            "category": category,
            "encoding": encoding,
            "reading": settings.model_dump(mode="json"),
            "called": called,
            # A run that resumes another finds what is done by the number of the unit.
            "units": [[unit.path, unit.first_group, unit.end_group, unit.first_row] for unit in units],
        }
    )
    duplicates, size = sum(map(len, repeated.values())), sum(file.size for file in files)
    cut = most if category is None else before.unit_rows or most  # the other categories stay as they were cut
    known = named(carried), category, notices, found.files, cut, found.parts, found.version
    return Plan(key, encoding, found.digest, root, units, partitions, duplicates, size, *known)


def refuse_another_catalog(plan: Plan, catalog: CatalogConfig) -> None:
    """VitrineError when the catalog is not what was planned any more; what cannot be read by now was replaced. Of a
    table that was planned a later version changes nothing.
    """
    try:
        now = find_catalog(catalog).files
    except InputError as err:
        raise another_catalog(f"the files under {catalog.path}", err.came) from err
    refuse_other_files(plan.files, now)


@dataclass
class _Seen:
    """What the plan saw of all files: row groups, in pieces, and of each the hashes of its ids; types by file."""

    categories: Categories
    groups: list[_Group] = field(default_factory=list)
    hashes: list[np.ndarray[Any, Any]] = field(default_factory=list)
    types: dict[str, Types] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)  # column -> files that lack it
    cleaned: int = 0  # ids that are not as they are written
    nothing: Counter[str] = field(default_factory=Counter)  # ids that are words for nothing -> rows
    numbers: OddNumbers = field(default_factory=OddNumbers)

    def read(self, files: list[CatalogFile], settings: CatalogConfig, shards: ShardsConfig) -> None:
        """See all of the files."""
        self.missing = _missing(files, settings)
        for file in files:
            sizes, self.types[file.path] = _seen(file, settings, shards.max_unit_bytes)
            for piece in plan_pieces(file.path, settings, shards):
                self.groups.append(_group(file, piece, sizes[piece.group], self.categories))
                self.hashes.append(id_hashes(piece.ids))
                self.cleaned += piece.cleaned
                self.nothing += piece.nothing
                self.numbers.add(file.path, len(piece.ids), piece.numbers)

    def refuse(self, settings: CatalogConfig, gates: GatesConfig) -> None:
        """InputError where no row of any file has an id, or where too many ids or categories are odd numbers."""
        self.numbers.refuse(gates)
        if not any(map(len, self.hashes)):
            rows, column = sum(group.rows for group in self.groups), settings.columns.get("id", "id")
            raise InputError(
                "an id for each product",
                f"the column {column}: null, blank or not UTF-8 in each of {rows:,} rows",
                "name the column of the ids: catalog.columns.id=...",
            )


def _notices(
    found: Found,
    seen: _Seen,
    units: Sequence[Unit],
    called: Mapping[str, str],
    settings: CatalogConfig,
    shards: ShardsConfig,
) -> tuple[Notice, ...]:
    return (
        *file_notices(found, seen.missing, settings),
        *([] if found.identity else path_notices(found.files, settings)),
        *cleaned_notice(seen.cleaned),
        *null_words_notice("ids_null_words", "rows have ids", seen.nothing, settings),
        *seen.categories.notices(called),
        *sampled(units, settings, shards.max_unit_bytes),
    )


def _missing(files: list[CatalogFile], settings: CatalogConfig) -> dict[str, list[str]]:
    """Column in use -> the files that lack it; InputError for one that all of them lack."""
    found: dict[str, list[str]] = {}
    for file in files:
        with open_file(file.path, part=part_of(settings, file.path)) as opened:
            for name in sorted(missing_columns(opened.schema_arrow, settings, file.path)):
                found.setdefault(name, []).append(file.path)
    everywhere = [name for name, lacking in found.items() if len(lacking) == len(files)]
    if everywhere:
        with open_file(files[0].path, part=part_of(settings, files[0].path)) as opened:
            refuse_missing(opened.schema_arrow, settings, files[0].path, everywhere)
    return found


@dataclass(frozen=True)
class _Group:
    """A row group, or a piece of a large one."""

    path: str
    pin: str
    number: int
    first_row: int
    rows: int
    span: int  # rows, deleted ones included
    bytes: int
    partitions: Counter[str]
    spellings: Mapping[str, str] = field(default_factory=dict)  # categories that are called otherwise: name -> called


def _group(file: CatalogFile, piece: Piece, row_bytes: float, categories: Categories) -> _Group:
    rows = len(piece.ids)
    counts = Counter({ONE_PARTITION: rows} if rows else {})
    if piece.categories is not None:
        counts = categories.add(piece.categories)
    sizes = rows, piece.span, round(row_bytes * rows)
    return _Group(file.path, file.pin, piece.group, piece.first_row, *sizes, counts)


def _called(group: _Group, called: Mapping[str, str]) -> _Group:
    """`group` with its categories as they are called."""
    spellings = {name: called[name] for name in group.partitions if name in called}
    if not spellings:
        return group
    counts: Counter[str] = Counter()
    for name, rows in group.partitions.items():
        counts[spellings.get(name, name)] += rows
    return replace(group, partitions=counts, spellings=spellings)


def _seen(file: CatalogFile, settings: CatalogConfig, limit: int) -> tuple[list[float], Types]:
    """Bytes of a row of each row group, as the footer has them, and the types of attributes; InputError for a file
    whose columns or whose row groups do not fit.
    """
    with open_file(file.path, part=part_of(settings, file.path)) as opened:
        names = file_columns(opened.schema_arrow, settings, file.path)
        types = attribute_types(opened.schema_arrow, file.path, settings)
        groups = chunks_of(file.path, opened.metadata, range(opened.num_row_groups), {*names.values()})
        sizes = [sum(chunk.total_uncompressed_size for _, chunk in one.pairs) / max(1, one.rows) for one in groups]
        for group, size in zip(groups, sizes, strict=True):
            rows = min(group.rows, PIECE_ROWS)
            if size * rows > limit:
                raise InputError(
                    f"row groups of at most {limit:,} bytes, or so many in {PIECE_ROWS:,} rows of a larger one, "
                    "because a worker holds them in memory",
                    f"{file.path}: row group {group.number} has {round(size * rows):,} bytes in the columns used "
                    f"by {rows:,} of its {group.rows:,} rows",
                    "write the catalog with smaller row groups (row_group_size=...), or raise shards.max_unit_bytes",
                )
        refuse_pages(file.path, groups, limit)
    return sizes, types


def _one_type(types: Mapping[str, Types], settings: CatalogConfig, shards: ShardsConfig) -> Types:
    """The types of the attributes of some files, file -> types; each column is looked into once."""
    has_value = functools.cache(lambda path, name: valued(path, name, settings, shards.max_unit_bytes))
    return one_type(types, settings, has_value)


def _meant(category: str, partitions: Mapping[str, int], separators: Sequence[str]) -> str:
    """The partition that `category` means."""
    found = same_category(category, partitions, separators)
    if not found:
        raise nearest_category(category, list(partitions))
    return found[0]


def _partitions(groups: list[_Group], path: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for group in groups:
        counts.update(group.partitions)
    if not counts:
        raise InputError(
            "at least one row",
            f"none in catalog.path={path}",
            "check the export that writes the catalog",
        )
    return dict(sorted(counts.items()))


def _duplicates(
    files: list[CatalogFile],
    groups: list[_Group],
    hashes: list[np.ndarray[Any, Any]],
    settings: CatalogConfig,
    shards: ShardsConfig,
) -> dict[int, list[int]]:
    """Group index -> rows whose id came before. Hashes find the suspects in 8 bytes an id; only those are compared."""
    every = np.concatenate(hashes) if hashes else np.empty(0, np.uint64)
    every.sort()
    suspects = np.unique(every[1:][every[1:] == every[:-1]])
    if not len(suspects):
        return {}
    seen: set[str] = set()
    repeated: dict[int, list[int]] = {}
    position = -1
    for file in files:
        for piece in plan_pieces(file.path, settings, shards):
            position, ids = position + 1, piece.ids
            valid = np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False))
            rows = pa.array(valid[np.isin(hashes[position], suspects)])
            places = piece.at.take(rows).to_pylist()
            for row, name in zip(places, ids.take(rows).to_pylist(), strict=True):
                if name in seen:
                    repeated.setdefault(position, []).append(row)
                seen.add(name)
    return repeated


def _units(
    groups: list[_Group], repeated: dict[int, list[int]], most: int, most_bytes: int, category: str | None
) -> tuple[Unit, ...]:
    """Consecutive row groups of a file, together of at most so many rows and bytes (a row group that exceeds them is a
    unit of its own, and each piece of a cut one).
    """
    runs: list[list[int]] = []
    for index, group in enumerate(groups):
        open_run = runs[-1] if runs else []
        rows = sum(groups[i].span for i in open_run) + group.span  # a unit's rows are numbered within one piece
        size = sum(groups[i].bytes for i in open_run) + group.bytes
        fits = rows <= most and size <= most_bytes
        if open_run and groups[open_run[0]].path == group.path and fits:
            open_run.append(index)
        else:
            runs.append([index])
    units: list[Unit] = []
    for run in runs:
        rows = sum(groups[i].rows if category is None else groups[i].partitions[category] for i in run)
        if rows:
            first, end = groups[run[0]], groups[run[-1]].number + 1
            packed = _packed(run, groups, repeated)
            size = sum(groups[i].bytes for i in run)
            start = first.first_row
            called = {name: other for index in run for name, other in groups[index].spellings.items()}
            where = first.path, first.number, end, start
            units.append(Unit(len(units), *where, rows, size, category or "", first.pin, packed, called))
    return tuple(units)


def _most_rows(groups: list[_Group], limits: ShardsConfig, before: Before) -> int:
    """How many rows a unit has at most."""
    rows, partitions = sum(group.rows for group in groups), {name for group in groups for name in group.partitions}
    auto = rows_of_unit(rows, len(partitions), before.unit_rows)
    return min(PIECE_ROWS, auto if limits.unit_rows == "auto" else limits.unit_rows)


def _packed(run: list[int], groups: list[_Group], repeated: dict[int, list[int]]) -> bytes:
    rows, start = [], groups[run[0]].first_row
    for index in run:  # rows are counted from the first of their row group, in a unit from that of its first
        rows += [start - groups[index].first_row + row for row in repeated.get(index, [])]
        start += groups[index].span
    return np.array(rows, dtype=np.int32).tobytes()
