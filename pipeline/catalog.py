"""The catalog: which files, which columns, and one unit of it as a clean batch of rows.

A file's columns are renamed to canonical names (`catalog.columns`), made plain (columns.py) and cleaned. A bad row is
marked with a reason and kept to be counted; only a catalog that cannot be read at all is an error.
"""

from __future__ import annotations

import difflib
import glob
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encoders.errors import InputError, VitrineError
from pipeline import columns
from pipeline.config_sections import CatalogConfig, ShardsConfig
from pipeline.files import filesystem, is_local
from pipeline.reasons import Reason

ONE_PARTITION = "all"

# Rows of a unit at most. A larger row group is cut into pieces of so many, and each costs decoding what stands before
# it: pieces of half the size would cost twice the decoding, of twice the size twice the memory.
PIECE_ROWS = 32_768
_BATCH_ROWS = 4_096  # decoded at a time
_MOST_BYTES = 2**30  # whatever is allowed: Arrow's strings end at 2 GB, and cleaning can make text longer

_UNREADABLE = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError)


@dataclass(frozen=True)
class CatalogFile:
    """A Parquet file: `path` as fsspec opens it, and what tells that it changed."""

    path: str
    size: int
    stamp: str  # mtime in ns for local files, what the bucket knows of it (etag, generation) for remote ones


def list_files(path: str) -> list[CatalogFile]:
    """The catalog's Parquet files in name order: `path` is a file, a folder or a glob. InputError when there is
    none.

    In a folder, names that begin with `_` or `.` are left out, as Spark and pyarrow do: a writer is not done with them.
    """
    fs, root = filesystem(path, "catalog.path")
    if fs.isdir(root):  # before the glob: a folder can be named `feed [old]`
        found = sorted(name for name in fs.find(root) if _is_finished(name[len(root) :]))
    elif fs.exists(root):
        found = [root]
    elif glob.has_magic(root):
        found = sorted(name for name in fs.glob(root) if fs.isfile(name))
    else:
        raise InputError(
            "a Parquet file, a folder of them or a glob",
            f"catalog.path={path}, which does not exist",
            "correct catalog.path",
        )
    if not found:
        raise InputError("at least one .parquet file", f"none under catalog.path={path}", "correct catalog.path")
    return [_describe_file(fs, name) for name in found]


def open_file(path: str) -> pq.ParquetFile:
    """An open Parquet file; InputError when it is none."""
    fs, name = filesystem(path, "catalog.path")
    try:
        return pq.ParquetFile(name if is_local(fs) else fs.open(name), page_checksum_verification=True)
    except _UNREADABLE as err:
        raise InputError(
            "a Parquet file", f"{path}: {_first_line(err)}", "write the file again, or leave it out of catalog.path"
        ) from err


def file_columns(schema: pa.Schema, settings: CatalogConfig, path: str) -> dict[str, str]:
    """Canonical name -> column of this file, for every column in use; InputError lists all that are missing or
    mistyped.
    """
    wanted = _roles(settings)
    names = {name: settings.columns.get(name, name) for name, _ in wanted}
    problems = [problem for name, role in wanted if (problem := _problem(schema, names[name], role))]
    if problems:
        raise InputError(
            f"columns {', '.join(names.values())}",
            f"{path}: {'; '.join(dict.fromkeys(problems))}; it has {', '.join(schema.names)}",
            "correct the keys of catalog that ask for them, or rename: catalog.columns.title=name",
        )
    return names


def read_unit(
    path: str, groups: Sequence[int], first_row: int, duplicates: Sequence[int], settings: CatalogConfig, max_bytes: int
) -> pa.Table:
    """One unit, canonical and clean: the rows of `groups` from `first_row` on, at most PIECE_ROWS.

    Columns: row int32, id string, partition string, text string (null: none), photos list<struct<bytes, path>> (null:
    none), version string, attributes struct, reject string (null: a good row). Rows, also `duplicates`, whose id came
    before, are counted from the first of `groups`. InputError where they have more than `max_bytes` once read.
    """
    with open_file(path) as file:
        names = file_columns(file.schema_arrow, settings, path)
        table = _unit_table(file, path, groups, first_row, sorted(set(names.values())), max_bytes)
    return _clean(_Columns(table, names), first_row, duplicates, settings)


def read_names(
    path: str, groups: Sequence[int], first_row: int, settings: CatalogConfig, max_bytes: int
) -> tuple[pa.Array, pa.Array]:
    """(ids, partitions), strings, of the rows that `read_unit` gives of the same; ids as the plan sees them."""
    with open_file(path) as file:
        names = file_columns(file.schema_arrow, settings, path)
        table = _unit_table(file, path, groups, first_row, _name_columns(names, settings), max_bytes)
    return _names(table, names, settings)


class Piece(NamedTuple):
    """What the plan sees of at most PIECE_ROWS rows of a row group; an id that is null, blank or not UTF-8 is null."""

    group: int
    first_row: int  # of the row group
    ids: pa.Array  # strings
    partitions: pa.Array  # strings


def plan_pieces(path: str, settings: CatalogConfig, shards: ShardsConfig) -> Iterator[Piece]:
    """The pieces of every row group of a file, in order."""
    with open_file(path) as file:
        names = file_columns(file.schema_arrow, settings, path)
        wanted = _name_columns(names, settings)
        for group in range(file.num_row_groups):
            for number, table in enumerate(_pieces(file, path, [group], wanted, shards.max_unit_bytes)):
                yield Piece(group, number * PIECE_ROWS, *_names(table, names, settings))


def nearest_category(category: str, known: Sequence[str]) -> InputError:
    """The error for a category that the catalog or the snapshot does not have."""
    near = difflib.get_close_matches(category, known, n=3, cutoff=0.4)
    some = near or sorted(known)[:10]
    return InputError(
        f"a category that exists, such as {', '.join(map(repr, some))}", repr(category), "correct --category"
    )


# --- inside ---


def _name_columns(names: dict[str, str], settings: CatalogConfig) -> list[str]:
    """The columns of a file that ids and partitions are read from."""
    return sorted({names[name] for name in ("id", settings.partition) if name})


def _names(table: pa.Table, names: dict[str, str], settings: CatalogConfig) -> tuple[pa.Array, pa.Array]:
    """(ids, partitions) of `table`, strings; an id that is null, blank or not UTF-8 is null."""
    ids = _known_ids(columns.strings(columns.plain(table.column(names["id"])))[0])
    if not settings.partition:
        return ids, columns.repeat(ONE_PARTITION, len(ids))
    values = columns.strings(columns.plain(table.column(names[settings.partition])))[0]
    return ids, columns.partitions(values, settings.partition_levels)


def _unit_table(
    file: pq.ParquetFile, path: str, groups: Sequence[int], first_row: int, names: Sequence[str], max_bytes: int
) -> pa.Table:
    """Some columns of a unit: at most PIECE_ROWS rows of `groups` from `first_row` on."""
    pieces = _pieces(file, path, groups, names, max_bytes)
    table = next(itertools.islice(pieces, first_row // PIECE_ROWS, None), None)
    return file.schema_arrow.empty_table().select(names) if table is None else table


def _pieces(
    file: pq.ParquetFile, path: str, groups: Sequence[int], names: Sequence[str], max_bytes: int
) -> Iterator[pa.Table]:
    """Some columns of some row groups, PIECE_ROWS rows at a time; the last has what is left. No other piece is held."""
    limit = min(max_bytes, _MOST_BYTES)
    held: list[pa.RecordBatch] = []
    room, size, done = PIECE_ROWS, 0, 0
    for batch in _batches(file, path, groups, names):
        size += sum(map(columns.plain_bytes, batch.columns))
        if size > limit:
            rows = f"rows {done:,} to {done + PIECE_ROWS - room + batch.num_rows - 1:,}"
            raise InputError(
                f"at most {limit:,} bytes in the columns used by {PIECE_ROWS:,} rows, because a worker holds them",
                f"{path}: {rows} of row groups {groups[0]} to {groups[-1]} have {size:,} bytes once decoded",
                "write the catalog with smaller row groups (row_group_size=...), or raise shards.max_unit_bytes, "
                f"of which {_MOST_BYTES:,} count",
            )
        while batch.num_rows >= room:
            yield pa.Table.from_batches([*held, batch.slice(0, room)])
            batch, held, done = batch.slice(room), [], done + PIECE_ROWS
            room, size = PIECE_ROWS, sum(map(columns.plain_bytes, batch.columns))
        if batch.num_rows:
            held.append(batch)
            room -= batch.num_rows
    if held:
        yield pa.Table.from_batches(held)


def _batches(file: pq.ParquetFile, path: str, groups: Sequence[int], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of some row groups, decoded as they are asked for; VitrineError when the bytes cannot be read."""
    try:
        yield from file.iter_batches(_BATCH_ROWS, row_groups=list(groups), columns=list(names), use_threads=False)
    except _UNREADABLE as err:
        raise VitrineError(
            f"row groups {groups[0]} to {groups[-1]} of {path} to be readable",
            _first_line(err),
            "write this catalog file again; nothing was published, and the next run goes on from here",
        ) from err


class _Columns:
    """The plain columns of a unit by canonical name; it notes in which rows a string that counts was not UTF-8."""

    def __init__(self, table: pa.Table, names: dict[str, str]) -> None:
        self.rows = table.num_rows
        self.not_utf8 = columns.repeat(False, self.rows)
        self.plain = {name: columns.plain(table.column(column)) for name, column in names.items()}

    def strings(self, name: str) -> pa.Array:
        """The column as strings."""
        values, wrong = columns.strings(self.plain[name])
        self.not_utf8 = pc.or_(self.not_utf8, wrong)
        return values

    def attribute(self, name: str) -> pa.Array:
        """The column as hits carry it."""
        return columns.attribute(self.plain[name])


def _clean(unit: _Columns, first_row: int, duplicates: Sequence[int], settings: CatalogConfig) -> pa.Table:
    n, ids = unit.rows, unit.strings("id")
    cleaned = {name: columns.cleaned(unit.strings(name), settings.max_text_chars) for name in settings.text}
    # What is searched is carried as it was cleaned.
    carried = {name: cleaned[name] if name in cleaned else unit.attribute(name) for name in settings.attributes}
    texts = columns.joined(list(cleaned.values()), n)
    photos = columns.photo_lists([unit.plain[name] for name in (settings.image, settings.more_images) if name], n)
    version = unit.strings(settings.version_column) if settings.version_column else pa.nulls(n, pa.string())
    partition = (
        columns.partitions(unit.strings(settings.partition), settings.partition_levels)
        if settings.partition
        else columns.repeat(ONE_PARTITION, n)
    )
    rows = pa.array(np.arange(first_row, first_row + n, dtype=np.int32))
    faults = {
        Reason.INVALID_TEXT: unit.not_utf8,
        Reason.MISSING_ID: pc.is_null(_known_ids(ids)),
        Reason.DUPLICATE_ID: pc.is_in(rows, pa.array(duplicates, pa.int32())),
        Reason.NO_MODALITY: pc.and_(pc.is_null(texts), pc.is_null(photos)),
    }
    return pa.table(
        {
            "row": rows,
            "id": ids,
            "partition": partition,
            "text": texts,
            "photos": photos,
            "version": version,
            "attributes": _struct(carried, n),
            "reject": _first_fault(faults, n),
        }
    )


Role = tuple[str, Callable[[pa.DataType], bool]]  # what a column is for, and the test that its type must pass


def _roles(settings: CatalogConfig) -> list[tuple[str, Role]]:
    """(canonical name, role) of every column in use; a column can have several roles."""
    name, version = ("an id or a category", columns.is_name), ("a version", columns.is_version)
    text, photo, attribute = ("text", columns.is_text), ("a photo", columns.is_photo), columns.is_attribute
    given: list[tuple[str | None, Role]] = [
        ("id", name),
        *((column, text) for column in settings.text),
        *((column, photo) for column in (settings.image, settings.more_images)),
        (settings.partition, name),
        (settings.version_column, version),
        *((column, ("an attribute", attribute)) for column in settings.attributes),
    ]
    return [(column, role) for column, role in given if column is not None]


def _problem(schema: pa.Schema, column: str, role: Role) -> str | None:
    """What is wrong with a column in a role; None when it fits."""
    what, fits = role
    if column not in schema.names:
        near = difflib.get_close_matches(column, schema.names, n=1)
        return f"no column {column!r}" + (f" (nearest: {near[0]!r})" if near else "")
    if schema.names.count(column) > 1:
        return f"column {column!r} is there {schema.names.count(column)} times"
    kind = schema.field(column).type
    return None if fits(kind) else f"column {column!r} has the type {kind}, which cannot be {what}"


def _known_ids(ids: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(pc.utf8_trim_whitespace(ids), ""), None, ids)


def _struct(carried: dict[str, pa.Array], n: int) -> pa.StructArray:
    if not carried:
        return pa.array([{}] * n, pa.struct([]))
    fields = [pa.field(name, array.type) for name, array in carried.items()]
    return pa.StructArray.from_arrays(list(carried.values()), fields=fields)


def _first_fault(faults: dict[Reason, pa.Array], n: int) -> pa.Array:
    """The reason of each row, string: the first fault that it has; null where it has none."""
    return pc.case_when(pc.make_struct(*faults.values()), *(columns.repeat(reason.value, n) for reason in faults))


def _is_finished(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return name.endswith((".parquet", ".parq")) and not any(part.startswith(("_", ".")) for part in parts)


def _describe_file(fs: fsspec.AbstractFileSystem, name: str) -> CatalogFile:
    if is_local(fs):
        facts = os.stat(name)
        return CatalogFile(name, facts.st_size, str(facts.st_mtime_ns))
    return CatalogFile(fs.unstrip_protocol(name), int(fs.info(name)["size"]), fs.ukey(name))


def _first_line(err: BaseException) -> str:
    return (str(err).splitlines() or [type(err).__name__])[0]
