"""Delta tables: the live files of a version, by the table's own log (the extra `delta`).

What the log says counts: values of partition columns, physical names of columns (column mapping), and rows that
deletion vectors take away.
"""

from __future__ import annotations

import datetime
import json
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa

from foundation.errors import InputError
from pipeline.files.discover import CatalogFile, Found, one_line
from pipeline.files.parts import Part, packed
from pipeline.files.pinned import table_pin
from pipeline.files.storage import filesystem, is_local, plain_path
from pipeline.files.versions import EMPTY, moment

_MAPPING = "delta.columnMapping."
# What tells of a field what it is called in files, by the mode of the mapping; "": its own name.
_KEYS = {"none": "", "name": f"{_MAPPING}physicalName", "id": f"{_MAPPING}id"}
_NS = 10**6  # the log has milliseconds
_VERSION = "a version of the Delta table: its number, or a time such as 2026-11-30T02:00:00Z"
_FIX = "correct catalog.version, or leave it out for the latest"
_EXPORT = "what the library deltalake does not know yet can be exported to plain Parquet"
_REACHED = "see whether it can be reached, with the credentials of the environment, and correct catalog.path if not"


def find_files(path: str, version: int | str | None) -> Found:
    """The files of the table at `path`: of its latest version, of the version with a number, or of the last one before
    a time (ISO 8601). InputError where there is no such table or version, or one that cannot be read.
    """
    with _readable(path, version):
        table = _opened(path, version)
        # where the library found it: it reads %20 in a path as a space
        root = unquote(table.table_uri.removeprefix("file://")) if table.table_uri.startswith("file://") else path
        actions = pa.table(table.get_add_actions(flatten=True))
        schema = json.loads(table.schema().to_json())["fields"]
        key = _KEYS[table.metadata().configuration.get(f"{_MAPPING}mode", "none")]
        partitions, deleted = table.metadata().partition_columns, _deleted(table, root)
    fields, inner = {one["name"]: _called(one, key) for one in schema}, dict(_inner(schema, key)) if key else None
    found: list[CatalogFile] = []
    parts: dict[str, Part] = {}
    for number, row in enumerate(actions.select(["path", "size_bytes", "modification_time"]).to_pylist()):
        where = _where(root, row["path"])
        constants = {name: _scalar(actions, name, number) for name in partitions}
        found.append(CatalogFile(where, row["size_bytes"], str(row["modification_time"] * _NS), table_pin(where)))
        parts[where] = Part(constants, fields, deleted.get(where, b""), table_first=True, inner=inner)
    if not found:
        raise InputError("a table with rows", f"{path}, version {table.version()}: no file", EMPTY)
    found.sort(key=lambda file: (int(file.stamp), file.path))  # the oldest first: what is appended comes last
    told = f"the Delta table {path}, version {table.version()}: {len(found):,} files"
    gone = sum(part.rows_deleted for part in parts.values())
    told += f", without {gone:,} rows that deletion vectors take away" if gone else ""
    return Found(tuple(found), (), parts, told, f"delta {table.metadata().id} {table.version()}", table.version())


# --- inside ---


@contextmanager
def _readable(path: str, version: int | str | None) -> Iterator[None]:
    """InputError for what the library raises: for logs, deletion vectors and features of tables that it cannot read."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, ValueError, OSError, OverflowError) as err:
        raise InputError(
            "a Delta table that can be read",
            f"{path}{'' if version is None else f', catalog.version={version}'}: {one_line(err)}",
            _REACHED if isinstance(err, OSError) else f"{_FIX}; {_EXPORT}",
        ) from err


def _opened(path: str, version: int | str | None) -> Any:
    from deltalake import DeltaTable

    fs, root = filesystem(path, "catalog.path")
    where = root if is_local(fs) else path
    wanted = None if version is None else _named(version)
    if not DeltaTable.is_deltatable(where):
        raise InputError(
            "a Delta table: a folder with a _delta_log",
            f"catalog.path={path}, which has none",
            "correct catalog.path, or leave out catalog.table=delta where these are plain Parquet files",
        )
    if isinstance(wanted, int):
        return _of_number(where, wanted)
    table = DeltaTable(where)
    if wanted is not None:
        table.load_as_version(wanted)
        _refuse_later(table, f"{where.rstrip('/')}/_delta_log", wanted)
    return table


def _of_number(where: str, number: int) -> Any:
    """The table's version of a number; InputError for one beyond the latest, where this can be read."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        return DeltaTable(where, version=number)
    except (DeltaError, ValueError, OverflowError):
        latest = DeltaTable(where).version()
        if number > latest:
            raise InputError(_VERSION, f"catalog.version={number}; the latest is {latest}", _FIX) from None
        raise


def _named(version: int | str) -> int | datetime.datetime:
    """The number or the time that `catalog.version` says."""
    wanted = int(version) if str(version).isdecimal() else moment(str(version))
    if wanted is None:
        raise InputError(_VERSION, f"catalog.version={version}", _FIX)
    return wanted


def _refuse_later(table: Any, log: str, when: datetime.datetime) -> None:
    """InputError where the table is younger than `when`: the library takes its first version then. A version is as old
    as its file in the log, for the library as well.
    """
    fs, name = filesystem(f"{log}/{table.version():020}.json", "catalog.path")
    try:
        made = fs.modified(name)
    except FileNotFoundError:  # a checkpoint has it alone
        return
    if made > when:
        first = f"version {table.version()} of {made.isoformat(timespec='seconds')}, the first that is kept"
        raise InputError(
            "a time at which the Delta table was there", f"catalog.version={when.isoformat()}, before {first}", _FIX
        )


def _called(field: dict[str, Any], key: str) -> int | str:
    """The id of a field in files, or its name there."""
    called: int | str = field["metadata"][key] if key else field["name"]
    return called


def _inner(
    fields: list[dict[str, Any]], key: str, name: str = "", steps: tuple[int | str, ...] = ()
) -> Iterator[tuple[str, tuple[int | str, ...]]]:
    """(name with those of the columns and fields that hold it, what each is called below the column) of each field of a
    struct.
    """
    for one in fields:
        called = (*steps, _called(one, key))
        if steps:
            yield f"{name}{one['name']}", called[1:]
        if isinstance(one["type"], dict) and one["type"]["type"] == "struct":
            yield from _inner(one["type"]["fields"], key, f"{name}{one['name']}.", called)


def _scalar(actions: pa.Table, name: str, number: int) -> pa.Scalar:
    """The value that a partition column has in a file."""
    column = actions.column(f"partition.{name}")
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return column[number].cast(kind)


def _where(path: str, name: str) -> str:
    """Where a file of the table at `path` is that its log calls `name`: a URI, relative to the table or not."""
    if "://" in name or name.startswith("/"):
        return plain_path(unquote(name) if name.startswith(("file:", "/")) else name)
    return posixpath.join(path, unquote(name))


def _deleted(table: Any, path: str) -> dict[str, bytes]:
    """Path -> the rows that its deletion vector takes away. The library is asked where there can be some alone: it
    refuses tables by features that have nothing to do with them.
    """
    if "deletionVectors" not in (table.protocol().reader_features or ()):
        return {}
    found = pa.table(table.deletion_vectors().read_all())
    vectors = zip(found["filepath"].to_pylist(), found["selection_vector"], strict=True)
    return {
        _where(path, uri.removeprefix(table.table_uri)): packed(
            np.flatnonzero(~kept.values.to_numpy(zero_copy_only=False).astype(bool))
        )
        for uri, kept in vectors
    }
