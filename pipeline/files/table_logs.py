"""Folders that are tables of other systems, or lie in one: the table's own log says which of its files count."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import PurePosixPath

import fsspec

from foundation.errors import InputError
from pipeline.files.storage import is_local

ICEBERG_METADATA = ".metadata.json"  # what the names of an Iceberg table's end in, in its folder `metadata`
_METADATA = "metadata"
# A folder with one of these is such a table: what it is, and the keys that read it.
_LOGS = {
    "_delta_log": ("a Delta table", "catalog.table=delta, which reads it by its log (the extra `delta`)"),
    ".hoodie": ("a Hudi table", ""),
    _METADATA: ("an Iceberg table", "catalog.table=iceberg, which reads it by its metadata (the extra `iceberg`)"),
}
_IN_LOG = re.compile(rf"(?P<folder>.*?)/(?P<mark>{'|'.join(map(re.escape, _LOGS))})/")


def refuse_table(fs: fsspec.AbstractFileSystem, folder: str) -> None:
    """InputError where `folder` is a table."""
    mark = _log_in(fs, folder)
    if mark is not None:
        raise _is_table(folder, mark)


def refuse_tables_among(names: Iterable[str]) -> None:
    """InputError where some objects of these names, at any depth of a bucket, are those of a table."""
    for name in names:
        found = _IN_LOG.match(name)
        if found is not None and (found["mark"] != _METADATA or name.endswith(ICEBERG_METADATA)):
            raise _is_table(found["folder"], found["mark"])


def refuse_part_of_table(fs: fsspec.AbstractFileSystem, folder: str) -> None:
    """InputError where `folder` lies in a table, as its `data` or `kind=Shoes`: rows that were deleted are in it."""
    real = os.path.realpath(folder) if is_local(fs) else folder
    for parent in map(str, PurePosixPath(real).parents):
        mark = None
        with suppress(OSError):  # what may not be looked into
            mark = _log_in(fs, parent)
        if mark is not None:
            what, keys = _LOGS[mark]
            table = parent if is_local(fs) else str(fs.unstrip_protocol(parent))
            fix = keys and f"set catalog.path={table} and {keys}"
            raise _refused(folder, f"{folder}, a folder of {what}, {table}", fix)


# --- inside ---


def _log_in(fs: fsspec.AbstractFileSystem, folder: str) -> str | None:
    for mark in _LOGS:
        place = f"{folder.rstrip('/')}/{mark}"
        if fs.isdir(place) and (mark != _METADATA or _has_any(fs, place)):
            return mark
    return None


def _has_any(fs: fsspec.AbstractFileSystem, metadata: str) -> bool:
    return any(name.endswith(ICEBERG_METADATA) for name in fs.ls(metadata, detail=False))


def _is_table(folder: str, mark: str) -> InputError:
    what, keys = _LOGS[mark]
    return _refused(folder, f"{folder}, {what}", keys and f"set {keys}")


def _refused(folder: str, came: str, fix: str) -> InputError:
    return InputError(
        "a folder whose Parquet files are all of the catalog",
        f"{came}: its own log says which of its files count",
        f"{fix or 'export its rows to Parquet'}; or name files on purpose by a glob: {folder.rstrip('/')}/*.parquet",
    )
