"""The catalog: which files, which columns, and one unit of it as a clean batch of rows.

A file's columns are renamed to canonical names (`catalog.columns`), cast to plain types and cleaned. A bad row is
marked with a reason and kept to be counted; only a catalog that cannot be read at all is an error.
"""

from __future__ import annotations

import difflib
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from encoders.errors import InputError, VitrineError
from encoders.text import clean_texts
from pipeline.config import CatalogConfig
from pipeline.reasons import Reason

NO_PARTITION = "_none"
ONE_PARTITION = "all"
LEVEL_SEPARATOR = ">"

PHOTO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@dataclass(frozen=True)
class CatalogFile:
    """A Parquet file: `path` as fsspec opens it, and what tells that it changed."""

    path: str
    size: int
    stamp: str  # mtime in ns for local files, etag or mtime for remote ones


def list_files(path: str) -> list[CatalogFile]:
    """The catalog's Parquet files in name order: `path` is a file, a folder or a glob. InputError when there is
    none.
    """
    fs, root = fsspec.core.url_to_fs(path)
    if glob.has_magic(root):
        found = sorted(name for name in fs.glob(root) if fs.isfile(name))
    elif fs.isdir(root):
        found = sorted(name for name in fs.find(root) if name.endswith((".parquet", ".parq")))
    elif fs.exists(root):
        found = [root]
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
    fs, name = fsspec.core.url_to_fs(path)
    try:
        source = name if fs.protocol in ("file", ("file", "local")) else fs.open(name)
        return pq.ParquetFile(source, page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as err:
        raise InputError(
            "a Parquet file", f"{path}: {_first_line(err)}", "write the file again, or leave it out of catalog.path"
        ) from err


def file_columns(schema: pa.Schema, settings: CatalogConfig, path: str) -> dict[str, str]:
    """Canonical name -> column of this file, for every column in use; InputError lists all that are missing or
    mistyped.
    """
    wanted = _checks_by_column(settings)
    columns = {name: settings.columns.get(name, name) for name in wanted}
    problems = []
    for name, column in columns.items():
        if column not in schema.names:
            near = difflib.get_close_matches(column, schema.names, n=1)
            hint = f" (nearest: {near[0]!r})" if near else ""
            problems.append(f"no column {column!r}{hint}")
        elif not wanted[name](schema.field(column).type):
            problems.append(
                f"column {column!r} has the type {schema.field(column).type}, which cannot be {_ROLES[wanted[name]]}"
            )
    if problems:
        raise InputError(
            f"columns {', '.join(columns.values())}",
            f"{path}: {'; '.join(problems)}; it has {', '.join(schema.names)}",
            "name the file's columns in catalog.columns, for example catalog.columns.title=name",
        )
    return columns


def read_row_groups(path: str, groups: Sequence[int], columns: Sequence[str]) -> pa.Table:
    """Some columns of some row groups; VitrineError when the bytes cannot be read."""
    with open_file(path) as file:
        try:
            return file.read_row_groups(list(groups), columns=list(columns), use_threads=False)
        except (pa.ArrowInvalid, OSError) as err:
            raise VitrineError(
                f"row groups {groups[0]} to {groups[-1]} of {path} to be readable",
                _first_line(err),
                "write this catalog file again; nothing was published, and the next run goes on from here",
            ) from err


def read_unit(path: str, groups: Sequence[int], duplicates: Sequence[int], settings: CatalogConfig) -> pa.Table:
    """One unit, canonical and clean.

    Columns: row int32, id string, partition string, text string (null: none), photos list<struct<bytes, path>> (null:
    none), version string, attributes struct, reject string (null: a good row). `duplicates` are rows whose id came
    before.
    """
    with open_file(path) as file:
        columns = file_columns(file.schema_arrow, settings, path)
    table = read_row_groups(path, groups, sorted(set(columns.values()))).combine_chunks()
    n = table.num_rows

    def column(name: str) -> pa.Array:
        return _one_chunk(table.column(columns[name]))

    ids, invalid = _strings(column("id"))
    cleaned: dict[str, pa.Array] = {}
    for name in settings.text:
        strings, wrong = _strings(column(name))
        invalid = pc.or_(invalid, wrong)
        cleaned[name] = pa.array(clean_texts(strings.to_pylist(), settings.max_text_chars), pa.string())
    attributes, wrong = _attributes(settings, column, cleaned)
    texts = _joined(list(cleaned.values()), n)
    photos = _photos(settings, n, column)
    faults = {
        Reason.INVALID_TEXT: pc.or_(invalid, wrong),
        Reason.MISSING_ID: pc.equal(pc.fill_null(pc.utf8_trim_whitespace(ids), ""), ""),
        Reason.DUPLICATE_ID: pc.is_in(_row_numbers(n), pa.array(duplicates, pa.int32())),
        Reason.NO_MODALITY: pc.and_(pc.is_null(texts), pc.is_null(photos)),
    }
    reject = pc.case_when(pc.make_struct(*faults.values()), *(_repeat(reason.value, n) for reason in faults))
    version = _strings(column(settings.version_column))[0] if settings.version_column else pa.nulls(n, pa.string())
    partition = (
        partitions(column(settings.partition), settings.partition_levels)
        if settings.partition
        else _repeat(ONE_PARTITION, n)
    )
    return pa.table(
        {
            "row": _row_numbers(n),
            "id": ids,
            "partition": partition,
            "text": texts,
            "photos": photos,
            "version": version,
            "attributes": attributes,
            "reject": reject,
        }
    )


def partitions(values: pa.Array, levels: int) -> pa.Array:
    """The partition of each row, string: the first `levels` of a path like `Fruit > Apple`; nulls and blanks are
    `_none`.
    """
    encoded = pc.dictionary_encode(_strings(values)[0])
    names = [_levels(value, levels) for value in encoded.dictionary.to_pylist()]
    return pc.fill_null(pc.take(pa.array(names, pa.string()), encoded.indices), NO_PARTITION)


def id_and_partition(path: str, settings: CatalogConfig) -> Iterator[tuple[pa.Array, pa.Array]]:
    """(ids, partitions) of each row group of a file, both string arrays; an id that is null or not UTF-8 is null."""
    with open_file(path) as file:
        columns = file_columns(file.schema_arrow, settings, path)
        groups = file.num_row_groups
    wanted = [columns[name] for name in ("id", settings.partition) if name]
    for group in range(groups):
        table = read_row_groups(path, [group], wanted).combine_chunks()
        ids = _strings(_one_chunk(table.column(columns["id"])))[0]
        if settings.partition:
            yield ids, partitions(_one_chunk(table.column(columns[settings.partition])), settings.partition_levels)
        else:
            yield ids, _repeat(ONE_PARTITION, len(ids))


def nearest_category(category: str, known: Sequence[str]) -> InputError:
    """The error for a category that the catalog or the snapshot does not have."""
    near = difflib.get_close_matches(category, known, n=3, cutoff=0.4)
    some = near or sorted(known)[:10]
    return InputError(
        f"a category that exists, such as {', '.join(map(repr, some))}", repr(category), "correct --category"
    )


# --- columns ---


def _joined(columns: list[pa.Array], n: int) -> pa.Array:
    """The non-empty texts of a row joined by new lines; null where there is none."""
    if not columns:
        return pa.nulls(n, pa.string())
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    return pa.array(["\n".join(filter(None, row)) or None for row in rows], pa.string())


def _photos(settings: CatalogConfig, n: int, column: Any) -> pa.Array:
    """list<struct<bytes, path>> of each row's photos, main one first; null where there is none."""
    names = [name for name in (settings.image, settings.more_images) if name]
    if not names:
        return pa.nulls(n, pa.list_(PHOTO))
    if len(names) == 1 and not pa.types.is_list(column(names[0]).type):
        values = _photo_structs(column(names[0]))
        present = pc.or_(pc.is_valid(values.field("bytes")), pc.is_valid(values.field("path")))
        offsets = pc.if_else(present, pa.array(range(n), pa.int32()), None)
        return pa.ListArray.from_arrays(pa.concat_arrays([offsets, pa.array([n], pa.int32())]), values)
    rows: list[list[dict[str, Any]]] = [[] for _ in range(n)]
    for name in names:
        values = column(name)
        flat = values.flatten() if pa.types.is_list(values.type) else values
        parents = pc.list_parent_indices(values).to_pylist() if pa.types.is_list(values.type) else range(n)
        for parent, photo in zip(parents, _photo_structs(flat).to_pylist(), strict=True):
            if photo["bytes"] is not None or photo["path"] is not None:
                rows[parent].append(photo)
    return pa.array([row or None for row in rows], pa.list_(PHOTO))


def _photo_structs(values: pa.Array) -> pa.StructArray:
    if pa.types.is_struct(values.type):
        raw = pc.cast(values.field("bytes"), pa.binary())
        names = {field.name for field in values.type}
        path = _blank_to_null(values.field("path")) if "path" in names else pa.nulls(len(values), pa.string())
    elif _is_bytes(values.type):
        raw, path = pc.cast(values, pa.binary()), pa.nulls(len(values), pa.string())
    else:
        raw, path = pa.nulls(len(values), pa.binary()), _blank_to_null(values)
    return pa.StructArray.from_arrays([raw, path], fields=list(PHOTO))


def _attributes(settings: CatalogConfig, column: Any, cleaned: dict[str, pa.Array]) -> tuple[pa.StructArray, pa.Array]:
    """(struct of plain values, mask of rows with a value that is not UTF-8); what is searched is carried as it was
    cleaned.
    """
    n = len(column("id"))
    values, bad = [], _repeat(False, n)
    for name in settings.attributes:
        array = cleaned[name] if name in cleaned else column(name)
        if _is_text(array.type):
            array, wrong = _strings(array)
            bad = pc.or_(bad, wrong)
        elif pa.types.is_decimal(array.type):
            array = pc.cast(array, pa.float64())
        values.append(array)
    if not values:
        return pa.array([{}] * n, pa.struct([])), bad
    fields = [pa.field(name, array.type) for name, array in zip(settings.attributes, values, strict=True)]
    return pa.StructArray.from_arrays(values, fields=fields), bad


def _strings(values: pa.Array) -> tuple[pa.Array, pa.Array]:
    """(string array in which what is not UTF-8 is null, mask of those rows)."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    strings = values if pa.types.is_string(values.type) else pc.cast(values, pa.string(), safe=False)
    try:
        strings.validate(full=True)
    except pa.ArrowInvalid:
        decoded = [_utf8(raw) for raw in pc.cast(strings, pa.binary()).to_pylist()]
        good = pa.array(decoded, pa.string())
        return good, pc.and_(pc.is_null(good), pc.is_valid(strings))
    return strings, _repeat(False, len(strings))


def _utf8(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _blank_to_null(values: pa.Array) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(_strings(values)[0])
    return pc.if_else(pc.equal(trimmed, ""), None, trimmed)


def _levels(value: str | None, levels: int) -> str:
    parts = [" ".join(part.split()) for part in (value or "").split(LEVEL_SEPARATOR)]
    return f" {LEVEL_SEPARATOR} ".join(part for part in parts[:levels] if part) or NO_PARTITION


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; `combine_chunks` of none gives a chunked array again."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _repeat(value: Any, n: int) -> pa.Array:
    return pa.repeat(pa.scalar(value), n)


def _row_numbers(n: int) -> pa.Array:
    return pa.array(range(n), pa.int32())


# --- types ---


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_name(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pa.types.is_integer(kind))


def _is_bytes(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_binary, pa.types.is_large_binary))


def _is_photo(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_bytes(field.type) for field in kind)
    return _is_text(kind) or _is_bytes(kind)


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return bool(pa.types.is_string(kind.value_type))
    checks = (_is_text, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(check(kind) for check in (*checks, pa.types.is_timestamp, pa.types.is_date))


_ROLES = {_is_text: "text", _is_name: "an id or a category", _is_photo: "a photo", _is_plain: "an attribute"}


def _checks_by_column(settings: CatalogConfig) -> dict[str, Any]:
    """Canonical name -> the test that its column's type must pass."""
    checks: dict[str, Any] = dict.fromkeys(settings.attributes, _is_plain)
    checks.update(dict.fromkeys(settings.text, _is_text))
    checks.update(dict.fromkeys([name for name in (settings.image, settings.more_images) if name], _is_photo))
    checks.update(
        dict.fromkeys([name for name in (settings.partition, settings.version_column, "id") if name], _is_name)
    )
    return checks


def _describe_file(fs: fsspec.AbstractFileSystem, name: str) -> CatalogFile:
    facts = fs.info(name)
    local = Path(name)
    stamp = (
        str(local.stat().st_mtime_ns)
        if local.exists()
        else str(facts.get("ETag") or facts.get("etag") or facts.get("mtime") or facts.get("updated"))
    )
    return CatalogFile(fs.unstrip_protocol(name) if not local.exists() else name, int(facts["size"]), stamp)


def _first_line(err: BaseException) -> str:
    return (str(err).splitlines() or [type(err).__name__])[0]
