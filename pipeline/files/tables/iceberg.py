"""Iceberg tables: the live files of a snapshot, by the table's own metadata (the extra `iceberg`).

Columns are known by the ids of their fields, so that renamed ones are found in older files, and a new column of an old
name is not taken for the old one. Rows that position deletes and deletion vectors take away do not count.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foundation.errors import InputError
from pipeline.files.discover import CatalogFile, Found, one_line
from pipeline.files.parts import Part, packed
from pipeline.files.pinned import table_pin
from pipeline.files.storage import filesystem, plain_path
from pipeline.files.versions import EMPTY, moment

_NS = 10**6  # metadata has milliseconds
_ENDING = ".metadata.json"
_EXPORT = "rewrite the table's files (Spark: CALL ...rewrite_data_files), or export its rows to plain Parquet"


def find_files(path: str, version: int | str | None) -> Found:
    """The files of the table at `path`: a metadata file, the table's folder, or catalog.namespace.table of a catalog
    that pyiceberg is configured for. Of the current snapshot, or of that with an id, of a branch or a tag, or of the
    last before a time (ISO 8601). InputError where there is none, or one that cannot be read.
    """
    try:
        table = _opened(path)
        snapshot = _snapshot(table, version)
        if snapshot is None:
            raise ValueError("no such snapshot" if version is not None else "the table has no snapshot")
        scan = table.scan(snapshot_id=None if version is None else snapshot.snapshot_id)
        tasks = sorted(scan.plan_files(), key=lambda task: str(task.file.file_path))
        gone = _deleted(table.io, {file for task in tasks for file in task.delete_files})
    except InputError:
        raise
    except Exception as err:  # the library raises what its readers and catalogs raise
        if isinstance(err, ModuleNotFoundError):
            raise
        fix = "correct catalog.path and catalog.version"
        raise InputError(
            "an Iceberg table that can be read",
            f"{path}{'' if version is None else f', catalog.version={version}'}: {one_line(err)}",
            _EXPORT if "equality deletes" in str(err) else fix,
        ) from err
    return _found(path, table, snapshot, scan.projection(), tasks, gone)


# --- inside ---


def _found(path: str, table: Any, snapshot: Any, schema: Any, tasks: list[Any], gone: dict[str, bytes]) -> Found:
    fields, names = {field.name: field.field_id for field in schema.fields}, _names(table, schema)
    defaults, inner = _defaults(schema), dict(_inner(schema.fields))
    files: list[CatalogFile] = []
    parts: dict[str, Part] = {}
    for task in tasks:
        file = task.file
        if file.file_format.value != "PARQUET":
            raise InputError("data files of Parquet", f"{file.file_path}: {file.file_format.value}", _EXPORT)
        where = plain_path(file.file_path)
        stamp = str(snapshot.timestamp_ms * _NS)
        files.append(CatalogFile(where, file.file_size_in_bytes, stamp, table_pin(where)))
        constants = defaults | _constants(table, schema, file)
        parts[where] = Part(constants, fields, gone.get(file.file_path, b""), named=names, inner=inner)
    if not files:
        raise InputError("a table with rows", f"{path}, snapshot {snapshot.snapshot_id}: no file", EMPTY)
    taken = sum(part.rows_deleted for part in parts.values())
    told = f"the Iceberg table {path}, snapshot {snapshot.snapshot_id}: {len(files):,} files"
    told += f", without {taken:,} rows that are deleted in it" if taken else ""
    identity = f"iceberg {table.metadata.table_uuid} {snapshot.snapshot_id} {schema.schema_id}"
    return Found(tuple(files), (), parts, told, identity, snapshot.snapshot_id)


def _opened(path: str) -> Any:
    from pyiceberg.catalog import load_catalog
    from pyiceberg.table import StaticTable

    if path.endswith(_ENDING):
        return StaticTable.from_metadata(plain_path(path))
    fs, root = filesystem(path, "catalog.path")
    if fs.isdir(root):
        return StaticTable.from_metadata(_newest_metadata(path))
    catalog, _, name = path.partition(".")
    if "/" in path or "." not in name:
        raise InputError(
            "an Iceberg table: a folder, a *.metadata.json, or catalog.namespace.table",
            f"catalog.path={path}, which is none",
            "correct catalog.path; catalogs are those of pyiceberg's own config (~/.pyiceberg.yaml)",
        )
    return load_catalog(catalog).load_table(name)


def _newest_metadata(folder: str) -> str:
    """The metadata file of the highest number, as `v3.metadata.json` and `00003-<uuid>.metadata.json`."""
    fs, root = filesystem(folder, "catalog.path")
    inside = posixpath.join(root, "metadata")
    names = [posixpath.basename(name) for name in fs.ls(inside, detail=False)] if fs.isdir(inside) else []
    numbers = {name: found for name in names if name.endswith(_ENDING) and (found := re.match(r"v?([0-9]+)", name))}
    if not numbers:
        raise InputError(
            "an Iceberg table: a folder `metadata` with *.metadata.json",
            f"catalog.path={folder}, which has none",
            "correct catalog.path, or leave out catalog.table=iceberg where these are plain Parquet files",
        )
    newest = max(numbers, key=lambda name: (int(numbers[name].group(1)), name))
    return plain_path(posixpath.join(folder.rstrip("/"), "metadata", newest))


def _snapshot(table: Any, version: int | str | None) -> Any:
    if version is None:
        return table.metadata.current_snapshot()
    if isinstance(version, int):
        return table.metadata.snapshot_by_id(version)
    if version in table.metadata.refs:
        return table.metadata.snapshot_by_name(version)
    if version.isdecimal():
        return table.metadata.snapshot_by_id(int(version))
    when = moment(version)
    return None if when is None else table.snapshot_as_of_timestamp(int(when.timestamp() * 1000))


def _names(table: Any, schema: Any) -> dict[str, tuple[str, ...]]:
    """Column -> its names in files that have no ids of fields, such as were added to the table as they were."""
    mapping = table.name_mapping()
    known = {} if mapping is None else {one.field_id: tuple(one.names) for one in mapping.root}
    return {field.name: known.get(field.field_id, ()) for field in schema.fields}


def _inner(fields: Iterable[Any], name: str = "", ids: tuple[int, ...] = ()) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name with those of the columns and fields that hold it, ids below the column) of each field of a struct."""
    for field in fields:
        if ids:
            yield f"{name}{field.name}", (*ids[1:], field.field_id)
        if field.field_type.is_struct:
            yield from _inner(field.field_type.fields, f"{name}{field.name}.", (*ids, field.field_id))


def _defaults(schema: Any) -> dict[str, pa.Scalar]:
    """The values that columns added later have in files of before."""
    return {
        field.name: _scalar(field, field.initial_default)
        for field in schema.fields
        if field.initial_default is not None
    }


def _constants(table: Any, schema: Any, file: Any) -> dict[str, pa.Scalar]:
    """Values of the columns by which the table is partitioned as they are: files that were added may lack them."""
    from pyiceberg.transforms import IdentityTransform

    by_id = {field.field_id: field for field in schema.fields}
    found = {}
    for place, one in enumerate(table.metadata.specs()[file.spec_id].fields):
        if isinstance(one.transform, IdentityTransform) and one.source_id in by_id:
            field = by_id[one.source_id]
            found[field.name] = _scalar(field, file.partition[place])
    return found


def _scalar(field: Any, value: Any) -> pa.Scalar:
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    kind = schema_to_pyarrow(field.field_type)
    if pa.types.is_temporal(kind) and isinstance(value, int):  # days or microseconds since 1970
        return pa.scalar(value, pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)
    return pa.scalar(value, kind)


def _deleted(io: Any, files: Iterable[Any]) -> dict[str, bytes]:
    """Data file -> the rows of it that some delete files take away."""
    rows: dict[str, list[np.ndarray[Any, Any]]] = {}
    for file in files:
        for name, positions in _positions(io, file):
            rows.setdefault(name, []).append(positions)
    return {name: packed(np.concatenate(several)) for name, several in rows.items()}


def _positions(io: Any, file: Any) -> Iterable[tuple[str, np.ndarray[Any, Any]]]:
    """(data file, positions in it) of a delete file."""
    from pyiceberg.table.deletion_vector import deletion_vectors_from_puffin_file
    from pyiceberg.table.puffin import PuffinFile

    with io.new_input(file.file_path).open() as opened:
        if file.file_format.value == "PUFFIN":
            for vector in deletion_vectors_from_puffin_file(PuffinFile(opened.read())):
                yield vector.referenced_data_file, vector.to_vector().to_numpy()
            return
        if file.file_format.value != "PARQUET":
            raise InputError(
                "delete files of Parquet or Puffin", f"{file.file_path}: {file.file_format.value}", _EXPORT
            )
        table = pq.read_table(opened, columns=["file_path", "pos"])
    for name in table["file_path"].unique().to_pylist():
        yield name, table.filter(pc.equal(table["file_path"], name))["pos"].to_numpy()
